/** The results of a gateway's `send` part: sent with its id, refused, not reached, or in doubt. Nothing is sent twice. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { OutgoingContent } from "../../../src/domain/Send.ts"
import type { OutgoingMessage } from "../../../src/services/GatewayParts.ts"
import type { FaultOf } from "../../../src/simulator/FaultPlan.ts"
import type { SimulatorCore } from "../../../src/simulator/SimulatorCore.ts"
import { makeTarget } from "../../support/gateway.ts"
import { type Adapter, type Having, setup, target } from "./harness.ts"

const to = "6281298765432@s.whatsapp.net"

export const text = (body: string, change: Partial<OutgoingMessage> = {}): OutgoingMessage => ({
  to,
  content: { type: "text", text: body },
  file: null,
  replyTo: null,
  mentions: [],
  ...change
})

export const sent = (core: SimulatorCore) =>
  core.ledger.entries().flatMap(({ id, sent }) => sent === undefined ? [] : [{ id, ...sent }])

/** By answer of the gateway: the adapter's result, as `tag reason`. */
export interface SendFailures {
  /** The account is not connected. */
  readonly offline: string
  /** Recipients that the gateway refuses. */
  readonly recipients: ReadonlyArray<readonly [to: string, expected: string]>
}

const describeFailure = (failure: { readonly _tag: string }): string =>
  "reason" in failure ? `${failure._tag} ${String(failure.reason)}` : failure._tag

export const sendingConformance = (adapter: Adapter<Having<"send">>, failures: SendFailures): void => {
  const lossy: ReadonlyArray<readonly [name: string, fault: Omit<FaultOf<"send">, "kind">, sends: boolean]> = [
    ["a connection that is reset before the message is sent", { when: "before", answer: "reset" }, false],
    ["a connection that is reset after the message was sent", { when: "after", answer: "reset" }, true],
    ["an error of a proxy before the message is sent", { when: "before", status: 502 }, false],
    ["an error of a proxy after the message was sent", { when: "after", status: 504 }, true]
  ]

  describe(`${adapter.name}: sending`, () => {
    it.live("returns the id under which the gateway sent the message, to that recipient and with that content", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        const contents: ReadonlyArray<OutgoingContent> = [
          { type: "text", text: "hello\n*world* 👋 \"quoted\"" },
          { type: "location", location: { latitude: -6.2, longitude: 106.8, name: "Monas" } },
          { type: "contact", contact: { name: "Ayu", phone: "+6281211112222" } },
          { type: "poll", poll: { question: "Tea?", options: ["yes", "no"], choices: 1 } }
        ]
        assert.includeMembers([...gateway.send.contents], contents.map(({ type }) => type))
        for (const content of contents) {
          const { waId } = yield* gateway.send.message(target, text("", { content }))
          const last = sent(core).at(-1)!
          assert.deepStrictEqual([last.id, last.chat], [waId, to], content.type)
        }
        assert.deepStrictEqual(sent(core).map((one) => one.text), [
          "hello\n*world* 👋 \"quoted\"",
          "-6.2,106.8",
          "Ayu",
          "Tea?"
        ])
      }))

    it.live("sends replies, mentions and messages to groups", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        const replyTo = { waId: "3EB0AA", fromMe: false, sender: to }
        yield* gateway.send.message(target, text("reply", { replyTo, mentions: [to] }))
        yield* gateway.send.message(target, text("all", { to: "120363025246125486@g.us", mentions: ["everyone"] }))
        assert.deepStrictEqual(sent(core).map(({ chat }) => chat), [to, "120363025246125486@g.us"])
      }))

    it.live("reports which messages were surely not sent, and whether they may be sent later", () =>
      Effect.gen(function*() {
        const { core, device, gateway, proxy } = yield* setup(adapter)
        device.connected = false
        const offline = yield* Effect.flip(gateway.send.message(target, text("offline")))
        assert.deepStrictEqual([describeFailure(offline), "permanent" in offline && offline.permanent], [
          failures.offline,
          false
        ])
        device.connected = true
        const nobody = yield* Effect.flip(gateway.send.message(makeTarget("nobody"), text("no slot")))
        assert.strictEqual("permanent" in nobody && nobody.permanent, false, describeFailure(nobody))
        for (const [recipient, expected] of failures.recipients) {
          const refusal = yield* Effect.flip(gateway.send.message(target, text("refused", { to: recipient })))
          assert.deepStrictEqual([describeFailure(refusal), "permanent" in refusal && refusal.permanent], [
            expected,
            true
          ])
        }
        yield* proxy.disable
        const away = yield* Effect.flip(gateway.send.message(target, text("away")))
        assert.strictEqual(away._tag, "GatewayUnavailable")
        assert.deepStrictEqual(sent(core), [])
      }))

    it.live("sends nothing with refused credentials, and does not blame the message", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter, { simulator: adapter.locked.simulator })
        const refusal = yield* Effect.flip(gateway.send.message(target, text("locked")))
        assert.deepStrictEqual([describeFailure(refusal), "permanent" in refusal && refusal.permanent], [
          "SendRefused gateway-unavailable",
          false
        ])
        assert.deepStrictEqual(sent(core), [])
      }))

    for (const [name, fault, sends] of lossy) {
      it.live(`${name} leaves the message in doubt, and it is not retried`, () =>
        Effect.gen(function*() {
          const { core, gateway } = yield* setup(adapter)
          core.applyFault({ kind: "send", ...fault })
          const doubt = yield* Effect.flip(gateway.send.message(target, text("doubt")))
          assert.strictEqual(doubt._tag, "SendOutcomeUnknown")
          assert.notInclude(doubt.message, "6281298765432")
          assert.strictEqual(sent(core).length, sends ? 1 : 0)
        }))
    }
  })
}
