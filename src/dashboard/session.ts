/**
 * Who uses the dashboard, and the client that calls the server. A key is held in the memory of this page alone: it is
 * in no URL, no cookie and no storage, and is gone when the page is closed.
 */
import { Context, Effect, Layer } from "effect"
import { AsyncResult, Atom } from "effect/reactivity"
import { ColumbaClient } from "../client/ColumbaClient.ts"
import type { Scope } from "../contracts/Authorization.ts"
import type { Caller } from "../contracts/ServerPayloads.ts"

export interface Session {
  /** Undefined on a server without keys. */
  readonly apiKey: string | undefined
  readonly caller: Caller
}

/** The page itself shows the failure, and has a button to try again. */
const server = { url: location.origin, retryFor: 0 }

/** Maximum wait before the page reports that the server does not answer. */
const signInTimeout = "10 seconds"

/** With plain requests: a WebSocket without a valid key would be closed and opened again and again. */
export const signIn = (apiKey: string | undefined) =>
  Effect.flatMap(ColumbaClient, ({ server }) => server.caller()).pipe(
    Effect.map((caller): Session => ({ apiKey, caller })),
    Effect.timeout(signInTimeout),
    Effect.provide(ColumbaClient.layerHttp({ ...server, apiKey }))
  )

/** Null before the sign-in and after the sign-out. */
export const sessionAtom = Atom.make<Session | null>(null).pipe(Atom.keepAlive)

/** Set once the server requires a key; the text explains why the last one was not enough. */
export const keyWantedAtom = Atom.make<string | null>(null).pipe(Atom.keepAlive)

/** Only pages behind the sign-in read it, so without a session it is not requested. */
export const client = Atom.runtime((get) =>
  get(sessionAtom) === null
    ? Layer.effectContext<ColumbaClient, never, never>(Effect.never)
    : ColumbaClient.layer({ ...server, apiKey: get(sessionAtom)?.apiKey })
)

export const clientContext = (
  result: AsyncResult.AsyncResult<Context.Context<ColumbaClient>, never>
): Context.Context<ColumbaClient> | null => AsyncResult.isSuccess(result) ? result.value : null

/** The permissions of the caller. A limited key may do nothing that concerns the whole fleet. */
export const mayAtom = Atom.make((get) => {
  const session = get(sessionAtom)
  const caller = session?.caller
  const has = (scope: Scope): boolean => caller?.scopes.includes(scope) === true
  const limited = caller !== undefined && caller.devices !== null
  return {
    send: has("send"),
    manage: has("manage"),
    manageFleet: has("manage") && !limited,
    readFleet: has("read") && !limited,
    /** A server without keys has none to show, and does not record who changes what. */
    keys: has("read") && has("admin") && !limited && session?.apiKey !== undefined
  }
})
