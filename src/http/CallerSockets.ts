/**
 * The WebSockets of a server with keys: which key each belongs to, and how long it may last. A browser cannot set
 * headers when it opens one, so its key comes with the first request; until then the connection costs memory for an
 * unknown caller, so the number and the age of those are bounded. The number per key is bounded too. A socket is
 * closed soon after its key is no longer accepted.
 */
import { Context, Deferred, Duration, Effect, Layer, Option } from "effect"
import type { Scope } from "effect"
import { randomUUID } from "node:crypto"
import type { KnownKey } from "../services/KeyDirectory.ts"

/** A page of a browser sends its first request within a round trip; this allows for the slowest network. */
export const authenticationTimeout = Duration.seconds(10)

/** Clients that all reconnect after a restart pass through within a second. */
export const unauthenticatedMax = 200

/** One carries any number of calls and streams, so a key needs one for each of its programs and browsers. */
export const socketsPerKeyMax = 200

/**
 * How long a socket outlives its key. A call that ends its own key, such as a rotation, is answered by the same
 * socket. No other call is: each request is checked with its own key, and streams end with theirs.
 */
const lastAnswerTime = Duration.seconds(1)

/**
 * The server adds it to the request that opens the socket, and the RPC protocol copies it to each request on the
 * socket, so a request identifies its socket. A value that a client sends itself matches no socket.
 */
export const socketHeader = "x-columba-socket"

export interface CallerSocket {
  readonly id: string
  /**
   * Returns when the socket must be closed: the time for the first authenticated request is over, its key has too many
   * sockets, or is no longer accepted.
   */
  readonly over: Effect.Effect<void>
}

export class CallerSockets extends Context.Service<CallerSockets, {
  /** Takes a place of the key, or one for unauthenticated sockets, until the scope closes; null if all are taken. */
  readonly admit: (key: KnownKey | null) => Effect.Effect<CallerSocket | null, never, Scope.Scope>
  /** Whether no request with a key has arrived by this socket. */
  readonly isWaiting: (id: string | undefined) => boolean
  /** A request with this key arrived by the socket. */
  readonly authenticated: (id: string | undefined, key: KnownKey) => void
}>()("columba/http/CallerSockets") {
  static readonly layer = Layer.sync(CallerSockets, () => {
    const waiting = new Map<string, Deferred.Deferred<Effect.Effect<void>>>()
    /** The sockets of each key, by its id. */
    const keyed = new Map<string, Set<string>>()

    /** The end of a socket of this key; null if the key has no place left. */
    const take = (id: string, key: KnownKey): Effect.Effect<void> | null => {
      const own = keyed.get(key.id) ?? new Set()
      if (own.size >= socketsPerKeyMax) return null
      keyed.set(key.id, own.add(id))
      return Effect.andThen(key.ended, Effect.sleep(lastAnswerTime))
    }
    const leave = (id: string): void => {
      waiting.delete(id)
      for (const [key, own] of keyed) if (own.delete(id) && own.size === 0) keyed.delete(key)
    }
    const admitKeyed = (id: string, key: KnownKey) =>
      Effect.sync(() => {
        const over = take(id, key)
        return over === null ? null : { id, over }
      })
    const admitWaiting = (id: string) =>
      Effect.sync(() => {
        if (waiting.size >= unauthenticatedMax) return null
        const authenticated = Deferred.makeUnsafe<Effect.Effect<void>>()
        waiting.set(id, authenticated)
        const over = Deferred.await(authenticated).pipe(
          Effect.timeoutOption(authenticationTimeout),
          Effect.flatMap(Option.getOrElse(() => Effect.void))
        )
        return { id, over }
      })
    return CallerSockets.of({
      admit: (key) =>
        Effect.acquireRelease(
          Effect.suspend(() => key === null ? admitWaiting(randomUUID()) : admitKeyed(randomUUID(), key)),
          (socket) => Effect.sync(() => socket !== null && leave(socket.id))
        ),
      isWaiting: (id) => id !== undefined && waiting.has(id),
      authenticated: (id, key) => {
        const authenticated = id === undefined ? undefined : waiting.get(id)
        if (id === undefined || authenticated === undefined) return
        waiting.delete(id)
        Deferred.doneUnsafe(authenticated, Effect.succeed(take(id, key) ?? Effect.void))
      }
    })
  })
}
