import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { device, deviceId, FleetBench, layer, pass, settle, until } from "../../support/fleetBench.ts"
import { ofKind } from "../../support/drafts.ts"

const one = deviceId(1)
const within = <A, E>(
  devices: Parameters<typeof layer>[0],
  test: (bench: FleetBench["Service"]) => Effect.Effect<A, E, FleetBench>,
  settings = {}
) => Effect.flatMap(FleetBench, test).pipe(Effect.provide(layer(devices, settings)), Effect.scoped)

describe("the local fleet", () => {
  it.effect("starts what should run and stops what should not", () =>
    within(
      [device(1), device(2, { active: false })],
      Effect.fnUntraced(function*(bench) {
        yield* pass("1 second")
        assert.strictEqual(bench.readState(one), "Online")
        assert.strictEqual(bench.gateway.live().length, 1)
        yield* bench.want([device(1, { active: false })])
        assert.strictEqual(bench.readState(one), "Inactive")
        assert.strictEqual(bench.gateway.live().length, 0)
      })
    ))

  it.effect("reconnects after a lost connection, within the schedule's maximum delay", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        yield* pass("1 second")
        for (let losses = 0; losses < 5; losses++) {
          bench.gateway.live(one)[0]!.lose("transport")
          yield* settle
          assert.strictEqual(bench.readState(one), "Backoff")
          yield* pass("30 seconds")
          assert.strictEqual(bench.readState(one), "Online")
        }
      })
    ))

  it.effect("reports a quick reconnect in two events, with every state on the way", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        const events = () => bench.drafts.filter(({ kind }) => kind === "device.state")
        yield* pass("1 second")
        assert.strictEqual(events().length, 1)
        bench.gateway.live(one)[0]!.lose("transport")
        yield* settle
        assert.strictEqual(bench.readState(one), "Backoff", "a loss is told at once")
        yield* pass("2 seconds")
        assert.strictEqual(events().length, 3)
        const { from, rule, state, steps } = ofKind(events().at(-1), "device.state").data
        assert.deepStrictEqual([from, state._tag, rule], ["Backoff", "Online", "status-usable"])
        assert.deepStrictEqual(steps?.map((step) => [step.rule, step.state]), [
          ["retry-due", { _tag: "Connecting", attempt: 2, sessionOpen: false }],
          ["session-open-unproven", { _tag: "Connecting", attempt: 2, sessionOpen: true }]
        ])
      })
    ))

  it.effect("reports within seconds what a device waits for, if it does not reconnect quickly", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        const asked = bench.gateway.holdStatus()
        yield* pass("1 second")
        assert.deepStrictEqual(bench.transitions(one), [], "it may still come within a moment")
        yield* pass("2 seconds")
        assert.deepStrictEqual(bench.transitions(one).map(({ rule }) => rule), ["started", "session-open-unproven"])
        asked.release({ isConnected: true, isLoggedIn: true, jid: null })
        yield* settle
        assert.deepStrictEqual(bench.transitions(one).at(-1)!.from, "Connecting")
        assert.strictEqual(bench.readState(one), "Online")
      })
    ))

  it.effect("reports all of many attempts in a moment, in events of a bounded size", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        bench.gateway.holdStatus()
        yield* pass("1 second")
        for (let requests = 1; requests <= 30; requests++) {
          yield* bench.want([device(1, { reconnectRequests: requests })])
          yield* pass("20 millis", "10 millis")
        }
        yield* pass("3 seconds")
        assert.strictEqual(bench.transitions(one).filter(({ rule }) => rule === "reconnect-requested").length, 30)
        for (const draft of bench.drafts) {
          if (draft.kind === "device.state") assert.isAtMost(draft.data.steps?.length ?? 0, 8)
        }
      })
    ))

  it.effect("quarantines a flapping device with its evidence, and releases it on request", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        bench.gateway.mode = "transport"
        yield* pass("4 minutes")
        const last = bench.transitions(one).at(-1)!
        assert.strictEqual(last.state._tag, "Quarantined")
        assert.strictEqual(last.rule, "budget-spent")
        if (last.state._tag === "Quarantined") assert.strictEqual(last.state.evidence.length, 5)
        const attempts = bench.gateway.openedAt.length
        bench.gateway.mode = "accept"
        yield* bench.want([device(1, { releaseRequests: 1 })])
        yield* pass("1 second")
        assert.strictEqual(bench.readState(one), "Online")
        assert.strictEqual(bench.gateway.openedAt.length, attempts + 1)
      })
    ))

  it.effect("ends quarantine when its time is over", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        bench.gateway.mode = "transport"
        yield* pass("4 minutes")
        assert.strictEqual(bench.readState(one), "Quarantined")
        bench.gateway.mode = "accept"
        yield* pass("5 minutes")
        assert.strictEqual(bench.readState(one), "Online")
      })
    ))

  it.effect("probes rejected credentials at most twelve times an hour and spends no budget on it", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        bench.gateway.mode = "auth"
        yield* pass("1 hour", "10 seconds")
        assert.isAtMost(bench.gateway.openedAt.length, 13)
        assert.isAtLeast(bench.gateway.openedAt.length, 11)
        assert.strictEqual(bench.readState(one), "Backoff")
      })
    ))

  it.effect("treats a gateway that is down as one incident: one prober, no budget spent, all devices back when it answers", () =>
    within(
      Array.from({ length: 200 }, (_, n) => device(n)),
      Effect.fnUntraced(function*(bench) {
        yield* pass("2 seconds")
        assert.strictEqual(bench.gateway.live().length, 200)
        bench.gateway.up = false
        bench.gateway.mode = "upstreamDown"
        for (const session of bench.gateway.live()) session.lose("transport")
        const before = bench.gateway.openedAt.length
        yield* pass("20 minutes", "5 seconds")
        assert.isAtMost(bench.gateway.openedAt.length - before, 200, "each device tried at most once")
        assert.isAtMost(bench.gateway.probes, 120, "one prober asks, four times a minute at most")
        const incidents = yield* bench.fleet.incidents
        assert.strictEqual(incidents.length, 1)
        assert.strictEqual(incidents[0]!.waiting, 200)
        bench.gateway.up = true
        bench.gateway.mode = "accept"
        yield* pass("20 seconds")
        assert.strictEqual(bench.gateway.live().length, 200)
        assert.isFalse(bench.transitions().some((transition) => transition.state._tag === "Quarantined"))
      })
    ))

  it.effect("reconnects after a gateway's incident at a bounded rate", () =>
    within(
      Array.from({ length: 100 }, (_, n) => device(n)),
      Effect.fnUntraced(function*(bench) {
        yield* pass("3 seconds", "100 millis")
        const bySecond = new Map<number, number>()
        for (const at of bench.gateway.openedAt) {
          bySecond.set(Math.floor(at / 1000), (bySecond.get(Math.floor(at / 1000)) ?? 0) + 1)
        }
        assert.strictEqual(bench.gateway.live().length, 100)
        assert.isAtMost(Math.max(...bySecond.values()), 51)
      }),
      { connectsPerSecond: 50 }
    ))

  it.effect("contains a device that crashes in a loop: it is quarantined, and other devices are not affected", () =>
    within(
      Array.from({ length: 500 }, (_, n) => device(n)),
      Effect.fnUntraced(function*(bench) {
        bench.gateway.modeOf = (id) => id === one ? "defect" : "accept"
        yield* pass("60 seconds")
        assert.strictEqual(bench.readState(one), "Quarantined")
        assert.strictEqual((yield* bench.fleet.view(one))!.restarts, 6)
        for (let n = 0; n < 500; n++) {
          if (n === 1) continue
          const rules = bench.transitions(deviceId(n)).map((transition) => transition.rule)
          assert.deepStrictEqual(rules, ["started", "session-open-unproven", "status-usable"])
        }
      })
    ))

  it.effect("contains a defect that a frame causes inside the socket's callback", () =>
    within(
      [device(1), device(2)],
      Effect.fnUntraced(function*(bench) {
        yield* pass("2 seconds")
        bench.gateway.live(one)[0]!.say({ _tag: "Nonsense" } as never)
        yield* settle
        assert.strictEqual(bench.transitions(one).at(-1)!.rule, "ours-failure")
        assert.strictEqual(bench.gateway.live(one).length, 0)
        assert.strictEqual(bench.readState(deviceId(2)), "Online")
        yield* pass("30 seconds")
        assert.strictEqual(bench.readState(one), "Online")
      })
    ))

  it.effect("opens a new session when a reconnect was requested, once per request", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        yield* pass("1 second")
        yield* bench.want([device(1, { reconnectRequests: 1 })])
        yield* pass("1 second")
        yield* bench.want([device(1, { reconnectRequests: 1 })])
        yield* pass("1 second")
        assert.strictEqual(bench.gateway.sessions.length, 2)
        assert.strictEqual(bench.gateway.live(one).length, 1)
        assert.strictEqual(bench.readState(one), "Online")
      })
    ))

  it.effect("ignores events of an abandoned session", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        yield* pass("1 second")
        const old = bench.gateway.live(one)[0]!
        yield* bench.want([device(1, { reconnectRequests: 1 })])
        yield* pass("1 second")
        old.listener.onEnd({ class: "transport", code: "late", detail: "late" })
        old.listener.onEvent({ _tag: "LoggedOut", reason: "late" })
        yield* pass("1 second")
        assert.strictEqual(bench.readState(one), "Online")
      })
    ))

  it.effect("processes late events of a lost session without disturbing the next session", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        yield* pass("2 seconds")
        const session = bench.gateway.live(one)[0]!
        // All in one turn: the first wakes the fiber, the others wait in its inbox.
        session.say({ _tag: "UpstreamDisconnected", reason: null })
        session.say({ _tag: "LoggedOut", reason: "by the user" })
        session.lose("transport")
        yield* settle
        yield* pass("31 seconds")
        assert.strictEqual(bench.gateway.live(one).length, 1)
        const rules = bench.transitions(one).map(({ rule }) => rule)
        assert.strictEqual(rules.filter((rule) => rule === "transport-failure").length, 1)
      })
    ))

  it.effect("asks again when a hint comes while the answer to an older question is pending", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        yield* pass("2 seconds")
        const asked = bench.gateway.holdStatus()
        bench.gateway.live(one)[0]!.say({ _tag: "UpstreamDisconnected", reason: null })
        yield* pass("3 seconds")
        assert.strictEqual(asked.count(), 1)
        bench.gateway.live(one)[0]!.say({ _tag: "UpstreamDisconnected", reason: null })
        yield* settle
        asked.release({ isConnected: true, isLoggedIn: true, jid: null })
        yield* pass("3 seconds")
        assert.strictEqual(asked.count(), 2)
      })
    ))

  it.effect("records once that a device which no process runs has ended", () =>
    within(
      [device(1, { active: false })],
      Effect.fnUntraced(function*(bench) {
        bench.setShown(one, "Online")
        for (let pulse = 0; pulse < 5; pulse++) yield* bench.want([device(1, { active: false })])
        assert.strictEqual(bench.transitions(one).length, 1)
      })
    ))

  it.effect("stops within five seconds even while a handshake hangs", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        bench.gateway.mode = "hang"
        yield* bench.want([device(1)])
        yield* pass("3 seconds")
        assert.strictEqual(bench.readState(one), "Connecting")
        yield* bench.want([device(1, { active: false })])
        assert.strictEqual(bench.readState(one), "Inactive")
      })
    ))

  it.effect("stops reading a socket while the log is over its bound, and opens none", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        yield* pass("1 second")
        bench.setFull(true)
        const session = bench.gateway.live(one)[0]!
        session.say(frame)
        assert.isTrue(session.paused)
        yield* bench.want([device(1), device(2)])
        yield* pass("10 seconds")
        assert.strictEqual(bench.gateway.live(deviceId(2)).length, 0)
        bench.setFull(false)
        assert.isFalse(session.paused)
        yield* pass("1 second")
        assert.strictEqual(bench.gateway.live(deviceId(2)).length, 1)
      })
    ))

  it.effect("calls no device online before its gateway or a message has proven it", () =>
    within(
      [device(1), device(2)],
      Effect.fnUntraced(function*(bench) {
        const asked = bench.gateway.holdStatus()
        yield* bench.want([device(1), device(2)])
        yield* pass("3 seconds")
        assert.strictEqual(asked.count(), 2, "each is asked about at once")
        const unproven = { _tag: "Connecting", attempt: 1, sessionOpen: true } as const
        assert.deepStrictEqual(bench.transitions(one).at(-1)!.state, unproven)
        bench.gateway.live(deviceId(2))[0]!.say(frame)
        yield* settle
        assert.strictEqual(bench.readState(deviceId(2)), "Online")
        assert.deepStrictEqual(bench.transitions(one).at(-1)!.state, unproven)
        asked.release({ isConnected: true, isLoggedIn: true, jid: null })
        yield* settle
        assert.strictEqual(bench.transitions(one).at(-1)!.rule, "status-usable")
      })
    ))

  it.effect("detects that a known account was logged out while no process ran it, and never calls it online", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        bench.gateway.answer = { isConnected: false, isLoggedIn: false, jid: null }
        yield* pass("2 seconds")
        const states = bench.transitions(one).map(({ state }) => state._tag)
        assert.deepStrictEqual(states, ["Connecting", "Connecting", "LoggedOut"])
      })
    ))

  it.effect("asks about no more slots at once than configured, however many sessions open together", () =>
    within(
      Array.from({ length: 400 }, (_, n) => device(n)),
      Effect.fnUntraced(function*(bench) {
        const asked = bench.gateway.holdStatus()
        yield* pass("2 seconds", "100 millis")
        yield* until("all places are taken", () => asked.open() === 16)
        for (let answers = 0; answers < 400 && asked.open() > 0; answers++) {
          yield* settle
          assert.isAtMost(asked.open(), 16)
          asked.release({ isConnected: true, isLoggedIn: true, jid: null })
          yield* settle
        }
        const online = () => Array.from({ length: 400 }, (_, n) => bench.readState(deviceId(n)))
        yield* until("all are online", () => online().every((tag) => tag === "Online"))
        assert.isAtMost(asked.count(), 400, "and once about each")
      }),
      { connectsPerSecond: 10_000, statusConcurrency: 16 }
    ))

  it.effect("does not accept an answer as proof for a session that was opened after the question", () =>
    within(
      [device(1)],
      Effect.fnUntraced(function*(bench) {
        const asked = bench.gateway.holdStatus()
        yield* bench.want([device(1)])
        yield* pass("1 second")
        yield* bench.want([device(1, { reconnectRequests: 1 })])
        yield* settle
        asked.release({ isConnected: true, isLoggedIn: true, jid: null })
        yield* pass("3 seconds")
        assert.strictEqual(bench.readState(one), "Connecting")
        asked.release({ isConnected: true, isLoggedIn: true, jid: null })
        yield* settle
        assert.strictEqual(bench.readState(one), "Online")
      })
    ))

  it.effect("gets the account from the gateway, and detects a lost login", () =>
    within(
      [device(1, { jid: null })],
      Effect.fnUntraced(function*(bench) {
        bench.gateway.answer = { isConnected: true, isLoggedIn: true, jid: "628123456789@s.whatsapp.net" }
        yield* pass("5 seconds")
        assert.strictEqual(bench.readState(one), "Online")
        const last = ofKind(bench.drafts.at(-1), "device.state")
        assert.strictEqual(last.data.phone, "+628123456789")
        bench.gateway.answer = { isConnected: false, isLoggedIn: false, jid: null }
        yield* pass("8 minutes")
        assert.strictEqual(bench.readState(one), "LoggedOut")
      })
    ))

  it.effect("records that its devices were stopped when the process stops", () =>
    Effect.gen(function*() {
      const drafts = yield* Effect.scoped(
        Effect.gen(function*() {
          const bench = yield* FleetBench
          yield* pass("1 second")
          return bench
        }).pipe(Effect.provide(Layer.fresh(layer([device(1), device(2)]))))
      )
      assert.deepStrictEqual(
        drafts.transitions().filter((transition) => transition.rule === "fleet-stopped").length,
        2
      )
      assert.strictEqual(drafts.gateway.live().length, 0)
    }))
})

const frame = {
  _tag: "Record",
  draft: {
    id: "01900000-0000-7000-8000-000000000000",
    kind: "message.received",
    deviceId: one,
    occurredAt: "2026-01-01T00:00:00Z",
    via: "live",
    data: {},
    identity: null,
    aliases: []
  }
} as never
