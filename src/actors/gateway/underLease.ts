/**
 * A gateway for the actors of a node: requests that change something (a message, a login, a slot, a webhook, a connection)
 * are started only while the node's lease is certainly held. Questions are not restricted: their answers are recorded under
 * epochs.
 */
import { Effect } from "effect"
import { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { Login, Send } from "../../services/GatewayParts.ts"
import type { NodeLease } from "../../services/NodeLease.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"

const why = "this node's lease of the device may be over, so the gateway was not asked"

export const underLease = (gateway: WhatsAppGateway, lease: NodeLease): WhatsAppGateway => {
  const { ensureSlot, link, login, name, open, send, start, webhook } = gateway
  const act = <A, E, R>(operation: string, call: Effect.Effect<A, E, R>): Effect.Effect<A, E | GatewayUnavailable, R> =>
    Effect.suspend((): Effect.Effect<A, E | GatewayUnavailable, R> =>
      lease.held() ? call : Effect.fail(GatewayUnavailable.of(name, operation, why))
    )
  return {
    ...gateway,
    ensureSlot: (upstreamId) => act("create a slot", ensureSlot(upstreamId)),
    // A session that is opened late is harmless: if the lease is not renewed, the actor is stopped.
    ...(open === undefined ? {} : { open: (...asked) => Effect.andThen(lease.whenHeld, open(...asked)) }),
    ...(link === undefined ? {} : { link: (listener) => Effect.andThen(lease.whenHeld, link(listener)) }),
    ...(start === undefined ? {} : { start: (target) => act("start a slot", start(target)) }),
    ...(webhook === undefined ? {} : {
      webhook: { ...webhook, ensure: (...asked) => act("set a webhook", webhook.ensure(...asked)) }
    }),
    ...(send === undefined ? {} : { send: sendUnderLease(send, act) }),
    ...(login === undefined ? {} : { login: loginUnderLease(login, act) })
  }
}

type Act = <A, E, R>(operation: string, call: Effect.Effect<A, E, R>) => Effect.Effect<A, E | GatewayUnavailable, R>

const sendUnderLease = (send: Send, act: Act): Send => {
  const { message, read, typing } = send
  return {
    contents: send.contents,
    message: (...asked) => act("take a message", message(...asked)),
    ...(read === undefined ? {} : { read: (...asked) => act("mark a message as read", read(...asked)) }),
    ...(typing === undefined ? {} : { typing: (...asked) => act("show a typing indicator", typing(...asked)) })
  }
}

const loginUnderLease = (login: Login, act: Act): Login => {
  const { begin, logOut, look, methods, passkey } = login
  return {
    methods,
    look,
    begin: (...asked) => act("begin a login", begin(...asked)),
    logOut: (target) => act("log an account out", logOut(target)),
    ...(passkey === undefined ? {} : {
      passkey: {
        answer: (...asked) => act("answer a passkey", passkey.answer(...asked)),
        confirm: (target) => act("confirm a passkey", passkey.confirm(target))
      }
    })
  }
}
