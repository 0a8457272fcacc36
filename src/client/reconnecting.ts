/**
 * What the client does about a server that is away for a while: streams are opened again, and calls that are safe to
 * repeat are repeated, after a growing and scattered wait.
 */
import { Cause, Duration, Effect, Schedule, Stream } from "effect"
import { RpcClientError } from "effect/rpc"
import type { TooManyRequests } from "../contracts/Authorization.ts"
import type { TooManyStreams } from "../contracts/Failures.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { LogReset } from "../domain/MessageErrors.ts"

/** Short, so that a restart of the server is hardly noticed. */
const reconnectDelayMin = Duration.millis(250)

/** Long enough that a server that is down is not flooded. */
const reconnectDelayMax = Duration.seconds(10)

/**
 * After a connection that lasted this long the wait starts anew. With less, a server that fails again and again would
 * be flooded.
 */
const stableAfter = Duration.seconds(10)

/**
 * A connection on which nothing comes for so long was lost unnoticed. A WebSocket notices by its pings; a response over
 * HTTP would be waited for without end. It is three heartbeats of a stream, and longer than the server takes to answer a
 * call.
 */
export const silenceMax = Duration.seconds(45)

/** A growing wait with jitter, so that a thousand clients of one server do not reconnect at the same moment. */
export const reconnectPolicy = Schedule.fromStepWithMetadata(Effect.sync(() => {
  let wait = 0
  return ({ elapsedSincePrevious }: Schedule.InputMetadata<unknown>) => {
    const stood = elapsedSincePrevious - wait > Duration.toMillis(stableAfter)
    wait = stood || wait === 0
      ? Duration.toMillis(reconnectDelayMin)
      : Math.min(wait * 1.7, Duration.toMillis(reconnectDelayMax))
    return Effect.succeed<[number, Duration.Duration]>([wait, Duration.millis(wait)])
  }
})).pipe(Schedule.jittered)

/** The longest wait before a repeat of a call: somebody waits for it, and not for long. */
const repeatDelayMax = Duration.seconds(2)

export const repeatPolicy = Schedule.min([reconnectPolicy, Schedule.spaced(repeatDelayMax)])

/** Failures that end one connection of a stream but not the stream. */
export type Interruption = RpcClientError.RpcClientError | StorageUnavailable | TooManyStreams | TooManyRequests

/** Whether the same request may succeed a little later, without anybody's help. */
export const mayPass = (error: { readonly _tag: string }): boolean => passing.includes(error._tag)

const passing: ReadonlyArray<string> = [
  "RpcClientError",
  "StorageUnavailable",
  "TooManyStreams",
  "TooManyRequests"
] satisfies ReadonlyArray<Interruption["_tag"]>

const lost = (message: string, cause: unknown): RpcClientError.RpcClientError =>
  new RpcClientError.RpcClientError({ reason: new RpcClientError.RpcClientDefect({ message, cause }) })

/** A server that stops interrupts what it works on, which arrives as an interruption that is not the caller's. */
export const serverStopped = (cause: Cause.Cause<unknown>): RpcClientError.RpcClientError =>
  lost("The server stopped before it was done", cause)

/** Fails a call whose answer does not come. */
export const endWaiting = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E | RpcClientError.RpcClientError> =>
  Effect.timeoutOrElse(call, {
    duration: silenceMax,
    orElse: () => Effect.fail(lost(`No answer came within ${Duration.format(silenceMax)}`, Cause.empty))
  })

/** Fails a stream when nothing comes for too long. It may read ahead: what is to be known of items handed out is noted after it. */
export const endSilence = <A, E>(stream: Stream.Stream<A, E>): Stream.Stream<A, E | RpcClientError.RpcClientError> =>
  Stream.timeoutOrElse(stream, {
    duration: silenceMax,
    orElse: () => Stream.fail(lost("Nothing came, not even a heartbeat", Cause.empty))
  })

/** What a stream knows of its client. */
export interface Connection {
  readonly isClosed: () => boolean
  readonly onReconnect: ((reason: Interruption | LogReset) => void) | undefined
}

/**
 * Opens the stream again, whenever it ends or fails for a reason that may pass or that `passes` accepts. Once the client
 * is closed nothing can be opened: the stream is interrupted.
 */
export const resuming = <A, E extends { readonly _tag: string }>(
  open: () => Stream.Stream<A, E | Interruption>,
  passes: (error: { readonly _tag: string }) => boolean,
  { isClosed, onReconnect }: Connection
): Stream.Stream<A, Exclude<E, Interruption>> =>
  Stream.suspend(open).pipe(
    Stream.concat(Stream.fail(serverStopped(Cause.empty))),
    Stream.catchCauseIf(
      (cause) => Cause.hasInterruptsOnly(cause) && !isClosed(),
      (cause) => Stream.fail(serverStopped(cause))
    ),
    Stream.retry(Schedule.while(reconnectPolicy, ({ input }) => {
      const error = input as Interruption | LogReset
      const again = mayPass(error) || passes(error)
      if (again) onReconnect?.(error)
      return again
    }))
  ) as Stream.Stream<A, Exclude<E, Interruption>>
