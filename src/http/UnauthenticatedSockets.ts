/**
 * WebSockets on which no valid key was presented yet. A browser cannot set headers when it opens one, so the key comes
 * with the first request; until then the connection costs memory for an unknown caller. There is a bound on their
 * number and on their age. Only for servers with keys. A socket whose key is revoked is closed.
 */
import { Context, Deferred, Duration, Effect, Layer, Option } from "effect"
import type { Scope } from "effect"
import { randomUUID } from "node:crypto"

/** A page of a browser sends its first request within a round trip; this allows for the slowest network. */
export const authenticationTimeout = Duration.seconds(10)

/** Clients that reconnect after a restart all at once pass through within a second. */
export const unauthenticatedMax = 200

/**
 * The server adds it to the request that opens the socket, and the RPC protocol copies it to each request on it: so a
 * request says which socket it came by. A value that a client sends itself names no socket.
 */
export const socketHeader = "x-columba-socket"

export interface UnauthenticatedSocket {
  readonly id: string
  /** Returns when the time for the first authenticated request is over; once there was one, when its key is ended. */
  readonly expired: Effect.Effect<void>
}

export class UnauthenticatedSockets extends Context.Service<UnauthenticatedSockets, {
  /** Takes a place until a key is presented or the scope closes; null where all places are taken. */
  readonly admit: Effect.Effect<UnauthenticatedSocket | null, never, Scope.Scope>
  /** A request with a valid key came by this socket, which stays until the key is ended. */
  readonly authenticated: (id: string | undefined, ended: Effect.Effect<void>) => void
}>()("columba/http/UnauthenticatedSockets") {
  static readonly layer = Layer.sync(UnauthenticatedSockets, () => {
    const waiting = new Map<string, Deferred.Deferred<Effect.Effect<void>>>()
    const take = Effect.sync(() => {
      if (waiting.size >= unauthenticatedMax) return null
      const id = randomUUID()
      const authenticated = Deferred.makeUnsafe<Effect.Effect<void>>()
      waiting.set(id, authenticated)
      const expired = Deferred.await(authenticated).pipe(
        Effect.timeoutOption(authenticationTimeout),
        Effect.flatMap(Option.getOrElse(() => Effect.void))
      )
      return { id, expired }
    })
    return UnauthenticatedSockets.of({
      admit: Effect.acquireRelease(take, (socket) => Effect.sync(() => socket !== null && waiting.delete(socket.id))),
      authenticated: (id, ended) => {
        const authenticated = id === undefined ? undefined : waiting.get(id)
        if (id === undefined || authenticated === undefined) return
        waiting.delete(id)
        Deferred.doneUnsafe(authenticated, Effect.succeed(ended))
      }
    })
  })
}
