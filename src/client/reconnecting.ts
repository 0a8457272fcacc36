/**
 * The client's reaction to an unavailable server: streams are reopened, and calls that are safe to repeat are
 * repeated, after a growing and randomised wait.
 */
import { Cause, Duration, Effect, Random, Schedule, Stream } from "effect"
import { RpcClientError } from "effect/rpc"
import type { TooManyRequests } from "../contracts/Authorization.ts"
import type { TooManyStreams } from "../contracts/Failures.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { LogReset } from "../domain/MessageErrors.ts"

/** After a connection was lost, the first attempt is made at a random moment within this time. */
const firstWithin = Duration.millis(250)

/** The first wait after that attempt. Each further wait grows by this amount. */
const reconnectDelayMin = Duration.millis(500)
const reconnectDelayFactor = 1.5

/** Long enough that a server that is down is not flooded. */
const reconnectDelayMax = Duration.seconds(10)

/**
 * Minimum duration of a connection that counts as stable, unless the wait for it was longer. After a stable connection
 * the first attempt is made at once. A server that restarts again and again thus gets at most about one attempt per
 * second from each client.
 */
const stableAfter = Duration.seconds(1)

/**
 * Maximum silence of a connection before it counts as lost. A WebSocket detects a loss by its pings; a response over
 * HTTP would be awaited forever. It is three heartbeats of a stream, and longer than the server takes to answer a
 * call.
 */
export const silenceMax = Duration.seconds(45)

/**
 * The waits of one connection: none at first, then growing ones. Half of a wait is random, and so is the moment of the
 * first attempt, so that a thousand clients of one server reconnect over a time as long as its outage. A request that
 * the server itself refused is not repeated at once.
 */
const makeWaits = () => {
  let attempts = 0
  return (reached: boolean, lasted: number): Effect.Effect<number> =>
    Effect.map(Random.next, (chance) => {
      const wasStable = lasted >= Math.max(waitBefore(attempts), Duration.toMillis(stableAfter))
      attempts = Math.max(reached ? 2 : 1, wasStable ? 1 : attempts + 1)
      return attempts === 1 ? chance * Duration.toMillis(firstWithin) : waitBefore(attempts) * (1 + chance) / 2
    })
}

/** The longest wait before an attempt after the first. */
const waitBefore = (attempt: number): number =>
  attempt < 2 ? 0 : Math.min(
    Duration.toMillis(reconnectDelayMin) * reconnectDelayFactor ** (attempt - 2),
    Duration.toMillis(reconnectDelayMax)
  )

/** A failure by which a reachable server reports that it cannot serve the request for now. */
const isAnswer = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error &&
  typeof error._tag === "string" && answers.has(error._tag)

/** Depends on the time between attempts: growing and randomised waits, and none for the first. */
export const reconnectPolicy = Schedule.fromStepWithMetadata(Effect.sync(() => {
  const next = makeWaits()
  let waited = 0
  return ({ elapsedSincePrevious, input }: Schedule.InputMetadata<unknown>) =>
    Effect.map(next(isAnswer(input), elapsedSincePrevious - waited), (wait): [number, Duration.Duration] => {
      waited = wait
      return [wait, Duration.millis(wait)]
    })
}))

/** Maximum wait before a repeat of a call, because its caller is waiting. */
const repeatDelayMax = Duration.seconds(2)

export const repeatPolicy = Schedule.min([reconnectPolicy, Schedule.spaced(repeatDelayMax)])

/** Failures that end one connection of a stream but not the stream. */
export type Interruption = RpcClientError.RpcClientError | StorageUnavailable | TooManyStreams | TooManyRequests

/** Whether the same request may succeed a little later without intervention. */
export const mayPass = (error: { readonly _tag: string }): boolean => passing.has(error._tag)

const answers: ReadonlySet<string> = new Set(
  ["StorageUnavailable", "TooManyStreams", "TooManyRequests"] satisfies ReadonlyArray<Interruption["_tag"]>
)

const passing: ReadonlySet<string> = new Set([...answers, "RpcClientError" satisfies Interruption["_tag"]])

/** A request whose outcome is not known, because no answer of Columba came. */
export const lost = (message: string, cause: unknown): RpcClientError.RpcClientError =>
  new RpcClientError.RpcClientError({ reason: new RpcClientError.RpcClientDefect({ message, cause }) })

/**
 * A server that stops interrupts its work in progress, which arrives as an interruption that the caller did not cause.
 */
export const serverStopped = (cause: Cause.Cause<unknown>): RpcClientError.RpcClientError =>
  lost("The server stopped before it was done", cause)

/** Fails a call whose answer does not come. */
export const endWaiting = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E | RpcClientError.RpcClientError> =>
  Effect.timeoutOrElse(call, {
    duration: silenceMax,
    orElse: () => Effect.fail(lost(`No answer came within ${Duration.format(silenceMax)}`, Cause.empty))
  })

/**
 * Fails a stream that is silent for too long. It may read ahead, so anything that must follow the consumer is recorded
 * downstream of it.
 */
export const endSilence = <A, E>(stream: Stream.Stream<A, E>): Stream.Stream<A, E | RpcClientError.RpcClientError> =>
  Stream.timeoutOrElse(stream, {
    duration: silenceMax,
    orElse: () => Stream.fail(lost("Nothing came, not even a heartbeat", Cause.empty))
  })

/** A stream's view of its client. */
export interface Connection {
  readonly isClosed: () => boolean
  readonly onReconnect: ((reason: Interruption | LogReset) => void) | undefined
  /** Returns once there is a new connection; never if each request has one of its own. */
  readonly connected: Effect.Effect<void>
}

/**
 * Reopens the stream whenever it ends or fails for a reason that may pass or that `passes` accepts: after a wait, or
 * as soon as there is a new connection. Once the client is closed nothing can be opened: the stream is interrupted.
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

/** Waits itself, because a new connection ends the wait. After a stream has returned an item, the waits begin anew. */
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
