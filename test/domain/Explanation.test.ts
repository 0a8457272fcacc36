/** The explanation of a device by `explain`. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import fc from "fast-check"
import { Device } from "../../src/domain/Device.ts"
import type { DeviceState } from "../../src/domain/DeviceState.ts"
import { explain, Explanation } from "../../src/domain/Explanation.ts"
import type { OngoingIncident } from "../../src/domain/Explanation.ts"
import type { WebhookStatus } from "../../src/domain/WebhookState.ts"

const at = "2026-01-01T00:00:00.000Z"

const deviceIn = (state: DeviceState, active = true): Device =>
  Schema.decodeSync(Device)({
    id: "dev_00000000000000000000000001",
    name: "Shop",
    gateway: "default",
    upstreamId: "slot",
    phone: null,
    jid: null,
    state,
    active,
    pacing: null,
    createdAt: at,
    updatedAt: at
  })

const reason = { class: "transport", code: "socket-closed", detail: "the gateway closed the socket" } as const

const states: ReadonlyArray<DeviceState> = [
  { _tag: "Inactive" },
  { _tag: "Connecting", attempt: 3, sessionOpen: false },
  { _tag: "Connecting", attempt: 3, sessionOpen: true },
  { _tag: "AwaitingLogin", method: "qr", expiresAt: at },
  { _tag: "Online", jid: null, since: at },
  { _tag: "Backoff", attempt: 2, retryAt: at, reason },
  { _tag: "LoggedOut", reason: "removed from the phone" },
  { _tag: "Deaf", evidence: "history has what was not heard" },
  { _tag: "Quarantined", reason, evidence: ["ten losses in ten minutes"], until: at }
]

const noGaps = { counts: { open: 0, closed: 0, unprovable: 0, messagesUnproven: 0, openSince: null }, open: [] }

const failing = states.find(({ _tag }) => _tag === "Backoff")!
const connected = states.find(({ _tag }) => _tag === "Online")!

const incident: OngoingIncident = { gateway: "default", since: at, reason: "refused", nextProbeAt: at, waiting: 7 }

const memory = { failures: [], releaseRequests: 0 }

describe("explanations", () => {
  it("list the steps of a transition like separate transitions, newest first", () => {
    const step = (rule: string, sessionOpen: boolean) =>
      ({ state: { _tag: "Connecting", attempt: 1, sessionOpen }, rule, at: "2026-01-01T00:00:01.000Z" }) as const
    const { evidence } = explain({
      device: deviceIn(connected),
      transitions: [{
        seq: 7,
        at,
        data: {
          from: "Backoff",
          steps: [step("retry-due", false), step("session-open-unproven", true)],
          state: connected,
          rule: "status-usable",
          failure: null,
          jid: null,
          phone: null,
          memory
        }
      }],
      incident: null,
      sending: null,
      gaps: noGaps,
      reception: null
    })
    assert.deepStrictEqual(evidence, [
      `${at} #7 Connecting -> Online by 'status-usable'`,
      "2026-01-01T00:00:01.000Z #7 Connecting -> Connecting by 'session-open-unproven'",
      "2026-01-01T00:00:01.000Z #7 Backoff -> Connecting by 'retry-due'"
    ])
  })

  for (const state of states) {
    it(`of ${JSON.stringify(state)} state the reason, the next step and the possible actions`, () => {
      for (const active of [true, false]) {
        for (const during of [null, incident]) {
          const told = explain({
            device: deviceIn(state, active),
            transitions: [],
            incident: during,
            gaps: noGaps,
            sending: null,
            reception: null
          })
          assert.strictEqual(told.state, state._tag)
          assert.isAbove(told.why.length, 10)
          assert.isAbove(told.next.length, 5)
          assert.notInclude(JSON.stringify(told), "undefined")
          Schema.decodeSync(Schema.toType(Explanation))(told)
        }
      }
    })
  }

  it("of a device with a gap state that its history is read, and from when on", () => {
    const gap = {
      id: "gap_00000000000000000000000001" as never,
      deviceId: "dev_00000000000000000000000001" as never,
      cause: "socket-down" as const,
      status: "open" as const,
      openedAt: at,
      endedAt: null,
      closedAt: null,
      proven: [],
      recovered: 0,
      detail: ""
    }
    const gaps = { counts: { ...noGaps.counts, open: 1, openSince: at }, open: [gap] }
    const input = { transitions: [], incident: null, sending: null, reception: null, gaps }
    assert.match(
      explain({ ...input, device: deviceIn(failing) }).next,
      /history is read for .* once it receives again$/
    )
    assert.match(explain({ ...input, device: deviceIn(connected) }).next, new RegExp(`history is read .* since ${at}$`))
    assert.notInclude(explain({ ...input, device: deviceIn(connected, false) }).next, "history")
  })

  it("of a failure use its own text, with the time of the next attempt", () => {
    const told = explain({
      device: deviceIn(failing),
      transitions: [],
      incident: null,
      gaps: noGaps,
      sending: null,
      reception: null
    })
    assert.include(told.why, reason.detail)
    assert.strictEqual(told.nextAt, at)
  })

  it("name a gateway that is down as the reason of its devices, but not of a deactivated or online one", () => {
    const of = (state: DeviceState, active: boolean) =>
      explain({
        device: deviceIn(state, active),
        transitions: [],
        incident,
        gaps: noGaps,
        sending: null,
        reception: null
      }).why
    assert.include(of(failing, true), "refused")
    assert.include(of(failing, true), "7 device(s)")
    assert.notInclude(of(states[0]!, false), "refused")
    assert.notInclude(of(connected, true), "refused")
  })

  it("of a device that is online and sends slowly name the rule, and until when", () => {
    const sending = { pacing: "20/min", waiting: 3, waitsFor: { reason: "rate" as const, until: at } }
    const input = { transitions: [], incident: null, gaps: noGaps, reception: null, sending }
    const told = explain({ ...input, device: deviceIn(connected) })
    assert.include(told.next, `3 messages wait to be sent by its pacing (rate; 20/min), the next one until ${at}`)
    assert.deepStrictEqual(told.sending, sending)
    assert.notInclude(explain({ ...input, device: deviceIn(failing) }).next, "pacing")
  })

  it("do not show the expiry of a code as the moment of going online", () => {
    const told = explain({
      device: deviceIn({ _tag: "AwaitingLogin", method: "qr", expiresAt: at }),
      transitions: [],
      incident: null,
      gaps: noGaps,
      sending: null,
      reception: null
    })
    assert.isNull(told.nextAt)
    assert.include(told.next, `expires at ${at}`)
  })

  it("name the rule of the newest transition, and show a few as evidence", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 30 }), (count) => {
      const transitions = Array.from({ length: count }, (_, index) => ({
        seq: 100 - index,
        at,
        data: { from: "Online", state: failing, rule: `rule-${index}`, failure: reason, jid: null, phone: null, memory }
      }))
      const told = explain({
        device: deviceIn(failing),
        transitions,
        incident: null,
        gaps: noGaps,
        sending: null,
        reception: null
      })
      assert.strictEqual(told.rule, "rule-0")
      assert.strictEqual(told.seq, 100)
      assert.isAtMost(told.evidence.length, 5)
      assert.include(told.evidence[0], "rule-0")
    }))
  })
})

describe("an active device that does not run", () => {
  it.each([
    ["gateway-inactive", "deactivated"],
    ["gateway-unknown", "Add the gateway 'default'"],
    ["gateway-unusable", "COLUMBA_SECRET_KEY"],
    ["simulator-not-running", "made-up"],
    ["fleet-stopped", "no process runs it yet"]
  ])("with the rule %s is explained by %s", (rule, word) => {
    const data = {
      from: "Online",
      state: { _tag: "Inactive" },
      rule,
      failure: null,
      jid: null,
      phone: null,
      memory: { failures: [], releaseRequests: 0 }
    } as const
    const device = deviceIn({ _tag: "Inactive" })
    const found = explain({
      device,
      transitions: [{ seq: 1, at, data }],
      incident: null,
      gaps: noGaps,
      sending: null,
      reception: null
    })
    assert.include(`${found.why}; ${found.howToFix}`, word)
    assert.strictEqual(found.rule, rule)
  })

  it("name what is missing for a device that is online but gets no webhooks, and what to set where", () => {
    const instructions = "set HOOK=https://columba.example/webhooks/default"
    const explained = (status: WebhookStatus, lastWebhookAt: string | null = null, state = connected) =>
      explain({
        device: deviceIn(state),
        transitions: [],
        incident: null,
        gaps: noGaps,
        sending: null,
        reception: { webhook: { status, checkedAt: null, detail: null }, lastWebhookAt, instructions }
      })
    for (const status of ["unsupported", "no-address", "no-secret"] as const) {
      assert.include(explained(status).howToFix, instructions, status)
      assert.include(explained(status).why, "do not reach Columba", status)
    }
    assert.include(explained("no-address").howToFix, "COLUMBA_PUBLIC_URL")
    assert.include(explained("no-secret").howToFix, "COLUMBA_SECRET_KEY")
    assert.include(explained("failed").why, "could not be configured")
    for (const status of ["set", "pending"] as const) assert.isNull(explained(status).howToFix)
    // Set by hand, and it works.
    assert.isNull(explained("no-address", at).howToFix)
    assert.include(explained("no-address", at).evidence.join(), at)
    // What is wrong first is said first.
    assert.notInclude(explained("no-address", null, failing).why, "posted")
  })
})
