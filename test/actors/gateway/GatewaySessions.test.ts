/** How devices share a gateway: a link of one connection, or a connection per device. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as GatewaySessions from "../../../src/actors/gateway/GatewaySessions.ts"
import { findBudget } from "../../../src/actors/Supervision.ts"
import type { DeviceId, GatewayName, UpstreamId } from "../../../src/domain/Ids.ts"
import { SessionRefused } from "../../../src/services/GatewayParts.ts"
import type { LinkListener, OpenSession, SessionTarget } from "../../../src/services/GatewayParts.ts"
import type { WhatsAppGateway } from "../../../src/services/WhatsAppGateway.ts"
import { record } from "../../support/gateway.ts"

const makeTarget = (n: number): SessionTarget => ({
  deviceId: `dev_${n}` as DeviceId,
  upstreamId: `slot-${n}` as UpstreamId,
  jid: `6281${n}:3@s.whatsapp.net`
})

/** A gateway that has only a link, and its open connections. */
const linked = () => {
  const links: Array<LinkListener> = []
  let open = 0
  let asked = 0
  let refusal: SessionRefused | null = null
  const gateway: WhatsAppGateway = {
    name: "default" as GatewayName,
    dialect: "bridge",
    description: "linked",
    capabilities: {
      liveEvents: "session",
      history: null,
      ackLevels: [],
      qrRefresh: false,
      passkey: false,
      overlap: true
    },
    status: () => Effect.die("not asked"),
    ensureSlot: () => Effect.die("not asked"),
    probe: Effect.void,
    link: (listener) =>
      Effect.suspend(() => {
        asked++
        return refusal === null ? Effect.void : Effect.fail(refusal)
      }).pipe(
        Effect.andThen(Effect.acquireRelease(
          Effect.sync(() => {
            open++
            links.push(listener)
          }),
          () => Effect.sync(() => open--)
        ))
      )
  }
  return {
    gateway,
    links,
    open: () => open,
    asked: () => asked,
    refuse: (with_: SessionRefused | null) => (refusal = with_)
  }
}

const hint = { _tag: "UpstreamDisconnected", reason: null } as const

/** A session, its listener and a function that closes it. */
const join = Effect.fnUntraced(function*(open: OpenSession, n: number) {
  const scope = yield* Scope.make()
  const listener = record()
  const session = yield* Scope.provide(open(makeTarget(n), listener), scope)
  return { listener, session, leave: Scope.close(scope, Exit.void) }
})

describe("devices of a gateway with a link", () => {
  it.effect("share one connection, opened for the first and closed after the last", () =>
    Effect.gen(function*() {
      const { gateway, links, open } = linked()
      const sessions = yield* GatewaySessions.make(gateway)
      const [one, two] = [yield* join(sessions, 1), yield* join(sessions, 2)]
      assert.deepStrictEqual([links.length, open()], [1, 1])
      yield* one.leave
      assert.strictEqual(open(), 1)
      yield* two.leave
      assert.strictEqual(open(), 0)
      yield* join(sessions, 3)
      assert.deepStrictEqual([links.length, open()], [2, 1])
    }))

  it.effect("are found by slot and by account, and each receives only its own events", () =>
    Effect.gen(function*() {
      const { gateway, links } = linked()
      const sessions = yield* GatewaySessions.make(gateway)
      const [one, two] = [yield* join(sessions, 1), yield* join(sessions, 2)]
      const link = links[0]!
      assert.strictEqual(link.find("slot-2")?.deviceId, "dev_2")
      assert.strictEqual(link.find("62811@c.us")?.deviceId, "dev_1")
      assert.isNull(link.find("slot-3"))
      link.onEvent("dev_2" as DeviceId, hint)
      link.onEvent("dev_3" as DeviceId, hint)
      assert.deepStrictEqual([one.listener.events, two.listener.events], [[], [hint]])
      link.onEvent("dev_1" as DeviceId, { _tag: "UpstreamConnected", jid: "777777@s.whatsapp.net" })
      assert.strictEqual(link.find("777777:2@s.whatsapp.net")?.deviceId, "dev_1")
      assert.isNull(link.find("62811@c.us"), "the account it had before")
      yield* one.leave
      assert.deepStrictEqual([link.find("slot-1"), link.find("777777@s.whatsapp.net")], [null, null])
    }))

  it.effect("lose it together, once, as a failure of the gateway that spends no budget; the next one opens it again", () =>
    Effect.gen(function*() {
      const { gateway, links, open } = linked()
      const sessions = yield* GatewaySessions.make(gateway)
      const members = [yield* join(sessions, 1), yield* join(sessions, 2)]
      const lost = { class: "transport", code: "socket-lost", detail: "gone" } as const
      links[0]!.onEnd(lost)
      for (const { leave, listener, session } of members) {
        const failure = yield* listener.ended
        assert.deepStrictEqual([failure.class, failure.code], ["upstreamDown", "link-lost"])
        assert.isNull(findBudget({ ...failure, class: "transport" }), "also where the gateway turns out to be up")
        session.end(lost)
        yield* leave
        assert.deepStrictEqual([listener.ends(), listener.late()], [1, 0])
      }
      assert.strictEqual(open(), 0)
      yield* join(sessions, 1)
      assert.deepStrictEqual([links.length, open()], [2, 1])
      links[0]!.onEnd(lost)
      assert.strictEqual(open(), 1, "an old link's end is not the new one's")
    }))

  it.effect("cannot stop reading, and may end from within an event", () =>
    Effect.gen(function*() {
      const { gateway, links } = linked()
      const sessions = yield* GatewaySessions.make(gateway)
      const { listener, session } = yield* join(sessions, 1)
      assert.isFalse(session.pause())
      session.end({ class: "ours", code: "defect", detail: "" })
      links[0]!.onEvent("dev_1" as DeviceId, hint)
      assert.strictEqual((yield* listener.ended).code, "defect")
      assert.deepStrictEqual([listener.ends(), listener.events.length], [1, 0])
    }))

  it.effect("retry a refused link with the next device after a second", () =>
    Effect.gen(function*() {
      const { gateway, open, refuse } = linked()
      const sessions = yield* GatewaySessions.make(gateway)
      refuse(new SessionRefused({ message: "no", class: "upstreamDown", code: "refused", retryAfter: null }))
      assert.strictEqual((yield* Effect.flip(join(sessions, 1))).code, "refused")
      refuse(null)
      assert.strictEqual((yield* Effect.flip(join(sessions, 2))).code, "refused")
      yield* TestClock.adjust("1 second")
      yield* join(sessions, 1)
      assert.strictEqual(open(), 1)
    }))

  it.effect("are informed together that the credentials are refused, for which the gateway is asked once in a while", () =>
    Effect.gen(function*() {
      const { asked, gateway, refuse } = linked()
      const sessions = yield* GatewaySessions.make(gateway)
      refuse(new SessionRefused({ message: "no", class: "auth", code: "http-401", retryAfter: null }))
      for (let device = 1; device <= 10; device++) {
        assert.strictEqual((yield* Effect.flip(join(sessions, device))).class, "auth")
      }
      assert.strictEqual(asked(), 1)
      yield* TestClock.adjust("5 seconds")
      refuse(null)
      yield* join(sessions, 1)
      assert.strictEqual(asked(), 2)
    }))
})

describe("devices of a gateway that only posts webhooks", () => {
  it.effect("have a session as long as they want one", () =>
    Effect.gen(function*() {
      const { link: _, ...gateway } = linked().gateway
      const sessions = yield* GatewaySessions.make(gateway)
      const { leave, listener } = yield* join(sessions, 1)
      assert.strictEqual(listener.ends(), 0)
      yield* leave
      assert.strictEqual((yield* listener.ended).code, "closed-by-us")
    }))
})
