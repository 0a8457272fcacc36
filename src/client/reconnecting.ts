/**
 * What the client does about a server that is away for a while: streams are opened again, and calls that are safe to
 * repeat are repeated, after a growing and scattered wait.
 */
import { Cause, Duration, Effect, Random, Schedule, Stream } from "effect"
import { RpcClientError } from "effect/rpc"
import type { TooManyRequests } from "../contracts/Authorization.ts"
import type { TooManyStreams } from "../contracts/Failures.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { LogReset } from "../domain/MessageErrors.ts"

/** After a connection was lost, the first attempt is made at once: at some moment within this time. */
const firstWithin = Duration.millis(250)

/** The wait for the attempt after that. Each wait is this much longer than the one before it. */
const reconnectDelayMin = Duration.millis(500)
const reconnectDelayFactor = 1.5

/** Long enough that a server that is down is not flooded. */
const reconnectDelayMax = Duration.seconds(10)

/**
 * A connection that lasted this long, and no less than was waited for it, was a good one: what follows begins with an
 * attempt at once. So a server that is started again and again is asked about once a second at most by each client.
 */
const stableAfter = Duration.seconds(1)

/**
 * A connection on which nothing comes for so long was lost unnoticed. A WebSocket notices by its pings; a response over
 * HTTP would be waited for without end. It is three heartbeats of a stream, and longer than the server takes to answer a
 * call.
 */
export const silenceMax = Duration.seconds(45)

/**
 * The waits of one connection: none at first, then growing ones. Of a wait half is left to chance, and so is the moment of the
 * first attempt, so that a thousand clients of one server come back over a time that is as long as it was away. What the
 * server itself refused is not asked again at once.
 */
const makeWaits = () => {
  let attempts = 0
  return (reached: boolean, lasted: number): Effect.Effect<number> =>
    Effect.map(Random.next, (chance) => {
      const stood = lasted >= Math.max(waitBefore(attempts), Duration.toMillis(stableAfter))
      attempts = Math.max(reached ? 2 : 1, stood ? 1 : attempts + 1)
      return attempts === 1 ? chance * Duration.toMillis(firstWithin) : waitBefore(attempts) * (1 + chance) / 2
    })
}

/** The longest, before an attempt after the first. */
const waitBefore = (attempt: number): number =>
  attempt < 2 ? 0 : Math.min(
    Duration.toMillis(reconnectDelayMin) * reconnectDelayFactor ** (attempt - 2),
    Duration.toMillis(reconnectDelayMax)
  )

/** A failure by which a server that was reached says that it cannot, for now. */
const isAnswer = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error &&
  typeof error._tag === "string" && answers.has(error._tag)

/** By the time between attempts: growing, scattered, and none for the first. */
export const reconnectPolicy = Schedule.fromStepWithMetadata(Effect.sync(() => {
  const next = makeWaits()
  let waited = 0
  return ({ elapsedSincePrevious, input }: Schedule.InputMetadata<unknown>) =>
    Effect.map(next(isAnswer(input), elapsedSincePrevious - waited), (wait): [number, Duration.Duration] => {
      waited = wait
      return [wait, Duration.millis(wait)]
    })
}))

/** The longest wait before a repeat of a call: somebody waits for it, and not for long. */
const repeatDelayMax = Duration.seconds(2)

export const repeatPolicy = Schedule.min([reconnectPolicy, Schedule.spaced(repeatDelayMax)])

/** Failures that end one connection of a stream but not the stream. */
export type Interruption = RpcClientError.RpcClientError | StorageUnavailable | TooManyStreams | TooManyRequests

/** Whether the same request may succeed a little later, without anybody's help. */
export const mayPass = (error: { readonly _tag: string }): boolean => passing.has(error._tag)

const answers: ReadonlySet<string> = new Set(
  ["StorageUnavailable", "TooManyStreams", "TooManyRequests"] satisfies ReadonlyArray<Interruption["_tag"]>
)

const passing: ReadonlySet<string> = new Set([...answers, "RpcClientError" satisfies Interruption["_tag"]])

/** A request whose outcome is not known, because no answer of Columba came. */
export const lost = (message: string, cause: unknown): RpcClientError.RpcClientError =>
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
  /** Returns once there is a new connection; never where each request has one of its own. */
  readonly connected: Effect.Effect<void>
}

/**
 * Opens the stream again, whenever it ends or fails for a reason that may pass or that `passes` accepts: after a wait, or as
 * soon as there is a new connection. Once the client is closed nothing can be opened: the stream is interrupted.
 */
export const resuming = <A, E extends { readonly _tag: string }>(
  open: () => Stream.Stream<A, E | Interruption>,
  passes: (error: { readonly _tag: string }) => boolean,
  connection: Connection
): Stream.Stream<A, Exclude<E, Interruption>> =>
  Stream.suspend(open).pipe(
    Stream.concat(Stream.fail(serverStopped(Cause.empty))),
    Stream.catchCauseIf(
      (cause) => Cause.hasInterruptsOnly(cause) && !connection.isClosed(),
      (cause) => Stream.fail(serverStopped(cause))
    ),
    Stream.retry(reopening(passes, connection))
  ) as Stream.Stream<A, Exclude<E, Interruption>>

/** Waits itself, because a new connection ends the wait. A stream that has handed out something begins anew with it. */
const reopening = (passes: (error: { readonly _tag: string }) => boolean, { connected, onReconnect }: Connection) =>
  Schedule.fromStep(Effect.sync(() => {
    const next = makeWaits()
    return (_now: number, error: { readonly _tag: string }) =>
      Effect.gen(function*() {
        if (!mayPass(error) && !passes(error)) return yield* Cause.done(0)
        onReconnect?.(error as Interruption | LogReset)
        const wait = yield* next(isAnswer(error), 0)
        yield* Effect.raceFirst(Effect.sleep(wait), connected)
        return [wait, Duration.zero] satisfies [number, Duration.Duration]
      })
  }))
