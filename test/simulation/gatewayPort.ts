/**
 * A simulated gateway as one process sees it: the port, with the parts of its dialect. Questions fail, are never answered or
 * are answered late, and connections are refused, within the bounds that callers of real adapters rely on.
 */
import { Effect, Redacted } from "effect"
import type { Scope } from "effect"
import { GatewayUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { Failure } from "../../src/domain/DeviceState.ts"
import type { UpstreamId } from "../../src/domain/Ids.ts"
import { SessionRefused } from "../../src/services/GatewayParts.ts"
import type { ConnectLink, History, OpenSession, SessionListener, Webhook } from "../../src/services/GatewayParts.ts"
import type { WhatsAppGateway } from "../../src/services/WhatsAppGateway.ts"
import type { SimulatedGateway } from "./SimulatedGateway.ts"
import { SimulatedLink } from "./SimulatedLink.ts"
import { toDraft } from "./SimulatedPhone.ts"
import type { SimulatedPhone } from "./SimulatedPhone.ts"
import { SimulatedSession } from "./SimulatedSession.ts"
import { ingest } from "./SimulatedWebhooks.ts"
import type { Machine } from "./VirtualTime.ts"

/** The maximum wait of a request before it fails; no longer than callers wait for pages of a history. */
const requestMax = 5000
const handshakeMax = 10_000

export const openGateway = (gateway: SimulatedGateway, machine: Machine): WhatsAppGateway => {
  const { shape } = gateway
  const ask = <A>(operation: string, answer: () => A, most = requestMax): Effect.Effect<A, GatewayUnavailable> =>
    request(gateway, machine, most, answer, () => GatewayUnavailable.of(gateway.name, operation, "simulated"))
  const find = (upstreamId: UpstreamId) => gateway.phones.find((phone) => phone.upstreamId === upstreamId)
  const readStatus = (phone: SimulatedPhone) => ({
    isConnected: phone.connected && phone.loggedIn,
    isLoggedIn: phone.loggedIn,
    jid: phone.loggedIn ? phone.jid : null
  })
  const listStatuses = () =>
    new Map(gateway.phones.map((phone) => [phone.upstreamId, { status: readStatus(phone), proven: true }]))

  const history: History = {
    covers: new Set(["messages", "other-messages"]),
    read: (target, window, page) =>
      ask("read a history", () => {
        const phone = find(target.upstreamId)
        const [from, to] = [Date.parse(window.from), Date.parse(window.to)]
        const after = Number(page ?? 0)
        const rows = (phone?.history ?? []).filter(({ fact: { at }, number }) =>
          number > after && at >= from - 1000 && at <= to
        )
        const some = rows.slice(0, shape.pageSize)
        return {
          drafts: some.map(({ fact }) => toDraft(fact, target.deviceId, "backfill", gateway.time.wall)),
          next: rows.length > some.length ? String(some.at(-1)!.number) : null
        }
      })
  }

  const webhook: Webhook = {
    events: ["*"],
    instructions: (url) => url,
    ensure: ({ upstreamId }, { secret, url }) =>
      ask(
        "set a webhook",
        () => gateway.webhooks.set(upstreamId, url, Redacted.value(secret)) ? "set" : "unchanged"
      )
  }

  return {
    name: gateway.name,
    dialect: shape.liveEvents === "webhook" ? "gowa" : shape.posts ? "waha" : "bridge",
    description: "simulated",
    capabilities: {
      liveEvents: shape.liveEvents,
      history: shape.history ? "time" : null,
      ackLevels: ["delivered", "read"],
      qrRefresh: false,
      passkey: false,
      overlap: true
    },
    status: ({ upstreamId }) =>
      ask("read a status", () => {
        const phone = find(upstreamId)
        return phone === undefined ? { isConnected: false, isLoggedIn: false, jid: null } : readStatus(phone)
      }),
    ensureSlot: () => ask("create a slot", () => {}),
    probe: ask("answer a probe", () => {}, 3000),
    ...(shape.lists ? { statuses: ask("list slots", listStatuses) } : undefined),
    ...(shape.liveEvents === "session"
      ? {
        open: ((target, listener) => openSession(gateway, machine, find(target.upstreamId), listener)) as OpenSession
      }
      : { link: openLink(gateway, machine) }),
    ...(shape.history ? { history } : undefined),
    ...(shape.liveEvents === "webhook" || shape.posts ? { ingest, webhook } : undefined)
  } satisfies WhatsAppGateway
}

/** Answers when the question has arrived; fails, or does so late, by the faults of the world. */
const request = <A, E>(
  gateway: SimulatedGateway,
  machine: Machine,
  most: number,
  answer: () => A,
  failure: () => E
): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    if (!machine.alive) return
    const fail = (after: number) => machine.postAfter(after, () => resume(Effect.fail(failure())))
    if (gateway.isDown) return void fail(gateway.delay())
    if (gateway.isStalled) return void fail(most)
    if (gateway.random.chance(gateway.faults.request)) {
      return void fail(gateway.random.chance(0.5) ? gateway.delay() : most)
    }
    gateway.time.after(gateway.delay(), () => {
      const found = answer()
      machine.postAfter(gateway.delay(), () => resume(Effect.succeed(found)))
    })
  })

const findRefusal = (gateway: SimulatedGateway): SessionRefused | null => {
  const refuse = (failureClass: Failure["class"], code: string) =>
    new SessionRefused({ message: "simulated", class: failureClass, code, retryAfter: null })
  if (gateway.isDown) return refuse("upstreamDown", "connection-refused")
  if (gateway.isStalled) return refuse("upstreamDown", "handshake-timeout")
  return gateway.random.chance(gateway.faults.request) ? refuse("transport", "handshake-refused") : null
}

const handshake = <A>(
  gateway: SimulatedGateway,
  machine: Machine,
  open: () => A,
  close: (opened: A) => void
): Effect.Effect<A, SessionRefused> =>
  Effect.callback<A, SessionRefused>((resume) => {
    if (!machine.alive) return
    let wanted = true
    const refusal = findRefusal(gateway)
    if (refusal !== null) {
      machine.postAfter(
        refusal.code === "handshake-timeout" ? handshakeMax : gateway.delay(),
        () => resume(Effect.fail(refusal))
      )
      return
    }
    gateway.time.after(gateway.delay(), () =>
      machine.post(() => {
        if (!wanted) return
        const opened = open()
        resume(Effect.succeed(opened))
        // Interrupted in the same step: no fiber has it.
        if (!wanted) close(opened)
      }))
    return Effect.sync(() => {
      wanted = false
    })
  })

const openSession = (
  gateway: SimulatedGateway,
  machine: Machine,
  phone: SimulatedPhone | undefined,
  listener: SessionListener
): Effect.Effect<SimulatedSession, SessionRefused, Scope.Scope> => {
  if (phone === undefined) {
    return new SessionRefused({ message: "unknown", class: "transport", code: "unknown-slot", retryAfter: null })
  }
  const open = () =>
    gateway.connected((onClosed) => new SimulatedSession(phone, machine, gateway.time, listener, onClosed))
  return Effect.acquireRelease(
    handshake(gateway, machine, open, (session) => session.close()),
    (session) => Effect.sync(() => session.close())
  )
}

const openLink = (gateway: SimulatedGateway, machine: Machine): ConnectLink => (listener) => {
  const open = () => gateway.linked((onClosed) => new SimulatedLink(machine, listener, onClosed))
  return Effect.asVoid(Effect.acquireRelease(
    handshake(gateway, machine, open, (link) => link.close()),
    (link) => Effect.sync(() => link.close())
  ))
}
