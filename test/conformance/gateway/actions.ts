/** Actions on messages, and signs to a chat without a message: on the right message, in the right chat, and never twice. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { MessageId } from "../../../src/domain/Ids.ts"
import type { ActionContent, ActionTarget } from "../../../src/domain/Send.ts"
import type { SimulatorCore } from "../../../src/simulator/SimulatorCore.ts"
import { makeTarget } from "../../support/gateway.ts"
import { type Adapter, type Having, setup, target } from "./harness.ts"
import { text } from "./sending.ts"

const chat = "6281298765432@s.whatsapp.net"
const group = "120363025246125486@g.us"

const message = (change: Partial<ActionTarget> = {}): ActionTarget => ({
  message: "msg_0" as MessageId,
  waId: "3EB0AA",
  fromMe: false,
  sender: chat,
  ...change
})

const acts: ReadonlyArray<readonly [event: string, content: ActionContent, text: string]> = [
  ["message.reaction", { type: "reaction", target: message(), emoji: "👍🏽" }, "👍🏽"],
  ["message.reaction", { type: "reaction", target: message(), emoji: "" }, ""],
  [
    "message.edited",
    { type: "edit", target: message({ fromMe: true }), text: "until \"seven\"\n" },
    "until \"seven\"\n"
  ],
  ["message.revoked", { type: "revoke", target: message({ fromMe: true }) }, ""]
]

const done = (core: SimulatorCore) =>
  core.ledger.entries().flatMap(({ at, event, id, sent, target }) =>
    sent === undefined ? [] : [{ at, event, id, target, ...sent }]
  )

/** `echoes`: the gateway's own event reports the action, and the answer has no id. */
export const actionsConformance = (
  adapter: Adapter<Having<"send">>,
  { echoes }: { readonly echoes: boolean }
): void => {
  describe(`${adapter.name}: actions on messages`, () => {
    it.live("acts on the named message of the named chat", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        for (const [event, content, said] of acts) {
          for (const to of [chat, group]) {
            const { sentAt, waId } = yield* gateway.send.message(target, text("", { to, content }))
            const last = done(core).at(-1)!
            assert.deepStrictEqual(
              [last.event, last.target, last.chat, last.text],
              [event, "3EB0AA", to, said],
              content.type
            )
            assert.strictEqual(waId === null, echoes)
            // Histories identify a reaction by its second: it must be the one of WhatsApp, not Columba's.
            if (!echoes) assert.deepStrictEqual([waId, Date.parse(sentAt ?? "")], [last.id, last.at - last.at % 1000])
          }
        }
      }))

    it.live("leaves an action without an answer in doubt, refuses one without an account, and retries neither", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter)
        for (const [, content] of acts) {
          core.applyFault({ kind: "send", when: "after", answer: "reset", times: 1 })
          const before = done(core).length
          const doubt = yield* Effect.flip(gateway.send.message(target, text("", { to: chat, content })))
          assert.deepStrictEqual([doubt._tag, done(core).length - before], ["SendOutcomeUnknown", 1], content.type)
        }
        const before = done(core).length
        device.connected = false
        for (const [, content] of acts) {
          const refusal = yield* Effect.flip(gateway.send.message(target, text("", { to: chat, content })))
          assert.strictEqual(refusal._tag === "SendRefused" && !refusal.permanent, true, content.type)
        }
        assert.strictEqual(done(core).length, before)
      }))

    it.live("marks a message as read and shows a chat that somebody types, or reports that it failed", () =>
      Effect.gen(function*() {
        const { device, gateway, proxy } = yield* setup(adapter)
        const { read, typing } = gateway.send
        if (read === undefined || typing === undefined) return yield* Effect.die("the gateway has both")
        yield* read(target, chat, message())
        yield* typing(target, group, true)
        yield* typing(target, group, false)
        assert.deepStrictEqual(device.signals, [
          `read 3EB0AA in ${chat}`,
          `typing start in ${group}`,
          `typing stop in ${group}`
        ])
        const refused = yield* Effect.flip(typing(makeTarget("nobody"), chat, true))
        assert.strictEqual(refused._tag, "GatewayUnavailable")
        yield* proxy.disable
        const away = yield* Effect.flip(read(target, chat, message()))
        assert.strictEqual(away._tag, "GatewayUnavailable")
        assert.notInclude(away.message, "62812")
        assert.strictEqual(device.signals.length, 3)
      }))
  })
}
