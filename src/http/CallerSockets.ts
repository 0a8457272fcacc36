/**
 * The WebSockets of a server with keys: whose they are, and how long they may last. A browser cannot set headers when it
 * opens one, so its key comes with the first request; until then the connection costs memory for an unknown caller, so
 * there is a bound on the number and on the age of those. Of each key there is a bound on the number. A socket is
 * closed soon after its key is not accepted any more.
 */
import { Context, Deferred, Duration, Effect, Layer, Option } from "effect"
import type { Scope } from "effect"
import { randomUUID } from "node:crypto"
import type { KnownKey } from "../services/KeyDirectory.ts"

/** A page of a browser sends its first request within a round trip; this allows for the slowest network. */
export const authenticationTimeout = Duration.seconds(10)

/** Clients that reconnect after a restart all at once pass through within a second. */
export const unauthenticatedMax = 200

/** One carries any number of calls and streams, so a key needs one for each of its programs and browsers. */
export const socketsPerKeyMax = 200

/**
 * How long a socket outlives its key. A call that ends the key it came with, such as its rotation, is answered by the same
 * socket. Nothing else is: each request is judged by its own key, and streams end with theirs.
 */
const lastAnswerTime = Duration.seconds(1)

/**
 * The server adds it to the request that opens the socket, and the RPC protocol copies it to each request on it: so a
 * request says which socket it came by. A value that a client sends itself names no socket.
 */
export const socketHeader = "x-columba-socket"

export interface CallerSocket {
  readonly id: string
  /**
   * Returns when the socket must be closed: the time for the first authenticated request is over, its key has too many
   * sockets, or is not accepted any more.
   */
  readonly over: Effect.Effect<void>
}

export class CallerSockets extends Context.Service<CallerSockets, {
  /** Takes a place of the key, or of those that wait for one, until the scope closes; null where all are taken. */
  readonly admit: (key: KnownKey | null) => Effect.Effect<CallerSocket | null, never, Scope.Scope>
  /** Whether no request with a key has come by this socket. */
  readonly isWaiting: (id: string | undefined) => boolean
  /** A request with this key came by the socket. */
  readonly authenticated: (id: string | undefined, key: KnownKey) => void
}>()("columba/http/CallerSockets") {
  static readonly layer = Layer.sync(CallerSockets, () => {
    const waiting = new Map<string, Deferred.Deferred<Effect.Effect<void>>>()
    /** The sockets of each key, by its id. */
    const keyed = new Map<string, Set<string>>()

    /** What ends a socket of this key; null where the key has no place left. */
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
