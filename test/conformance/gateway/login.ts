/** Logins: phones get the code unchanged, the gateway's own answer proves the account, and no code leaks. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { inspect } from "node:util"
import type { LoginCode } from "../../../src/services/GatewayParts.ts"
import { readQrImage } from "../../../src/layers/gateways/qrImage.ts"
import { makeTarget } from "../../support/gateway.ts"
import { untilSo } from "../../support/until.ts"
import { type Adapter, type Having, setup, target } from "./harness.ts"

/** The text that a phone would read. */
export const readCode = (code: LoginCode): string => {
  if (code._tag === "Code") return Redacted.value(code.code)
  if (code.text !== null) return Redacted.value(code.text)
  const image = readQrImage(Redacted.value(code.png!))
  return image._tag === "Text" ? image.text : image._tag
}

export const loginConformance = (
  adapter: Adapter<Having<"login">>,
  /** Whether a second request gives another code at once and invalidates the one before. */
  { renews }: { readonly renews: boolean }
): void => {
  const unpaired = { simulator: { ...adapter.simulator, autoPair: false } }
  const qr = { method: "qr" } as const
  const byCode = { method: "code", phone: Redacted.make("6281234567890") } as const

  describe(`${adapter.name}: logging in`, () => {
    it.live.each([["a QR code", qr], ["a pairing code", byCode]] as const)(
      "by %s: it is accepted, and then the slot's status proves the account",
      ([, request]) =>
        Effect.gen(function*() {
          const { core, device, gateway } = yield* setup(adapter, unpaired)
          const { login } = gateway
          const code = yield* login.begin(target, request)
          assert.strictEqual(code._tag, request.method === "qr" ? "Qr" : "Code")
          assert.isAtLeast(code.millis, 20_000)
          assert.isAtMost(code.millis, 180_000)
          assert.deepStrictEqual(yield* login.look(target, code), { _tag: "Waiting" })
          assert.strictEqual((yield* gateway.status(target)).jid, null)
          assert.strictEqual(core.pairings.scan(device, "something else", false), "another code")
          assert.strictEqual(core.pairings.scan(device, readCode(code), false), "paired")
          assert.deepStrictEqual(yield* login.look(target, code), { _tag: "Accepted" })
          assert.deepStrictEqual(
            yield* gateway.status(target),
            { isConnected: true, isLoggedIn: true, jid: device.jid }
          )
        })
    )

    it.live("gives a code that is valid now, however often it is requested", () =>
      Effect.gen(function*() {
        const { core, device, gateway: { login } } = yield* setup(adapter, unpaired)
        const first = yield* login.begin(target, qr)
        const second = yield* login.begin(target, qr)
        assert.strictEqual(readCode(first) !== readCode(second), renews)
        if (renews) assert.strictEqual(core.pairings.scan(device, readCode(first), false), "another code")
        assert.strictEqual(core.pairings.scan(device, readCode(second), false), "paired")
      }))

    it.live("refuses a login while the slot has an account, connected or not", () =>
      Effect.gen(function*() {
        const { core, device, gateway: { login } } = yield* setup(adapter, unpaired)
        core.pair(device)
        for (const connected of [true, false]) {
          device.connected = connected
          for (const request of [qr, byCode]) {
            const refused = yield* Effect.flip(login.begin(target, request))
            assert.strictEqual(refused._tag === "LoginRefused" && refused.reason, "logged-in")
          }
        }
      }))

    it.live("creates a missing slot, so that the gateway keeps it", () =>
      Effect.gen(function*() {
        const { core, gateway: { login } } = yield* setup(adapter, unpaired)
        const fresh = makeTarget("fresh")
        const code = yield* login.begin(fresh, qr)
        assert.strictEqual(core.pairings.scan(core.devices.get("fresh")!, readCode(code), false), "paired")
        assert.deepStrictEqual(yield* login.look(fresh, code), { _tag: "Accepted" })
      }))

    it.live("unlinks the account and keeps the slot on logout; a repeated logout does nothing", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter, unpaired)
        core.pair(device)
        yield* gateway.login.logOut(target)
        assert.isNull(device.jid)
        assert.strictEqual(core.devices.get("sim-1"), device)
        yield* gateway.login.logOut(target)
        yield* gateway.login.logOut(makeTarget("nobody"))
        assert.deepStrictEqual(
          yield* gateway.status(target),
          { isConnected: false, isLoggedIn: false, jid: null }
        )
        // It can be logged in again at once.
        const code = yield* gateway.login.begin(target, qr)
        assert.strictEqual(core.pairings.scan(device, readCode(code), false), "paired")
      }))

    it.live("keeps codes and phone numbers out of printed values and failures", () =>
      Effect.gen(function*() {
        const { core, gateway: { login }, proxy } = yield* setup(adapter, unpaired)
        for (const request of [qr, byCode]) {
          const code = yield* login.begin(target, request)
          const printed = `${JSON.stringify(code)} ${inspect(code, { depth: 9 })}`
          assert.notInclude(printed, readCode(code))
          assert.notInclude(printed, "linked_devices")
        }
        core.applyFault({ kind: "http", status: 500 })
        for (const request of [qr, byCode]) {
          const failed = yield* Effect.flip(login.begin(target, request))
          assert.strictEqual(failed._tag, "GatewayUnavailable")
          assert.notInclude(inspect(failed, { depth: 9 }), "6281234567890")
        }
        core.clearFaults()
        yield* proxy.disable
        const failed = yield* Effect.flip(login.begin(target, byCode))
        assert.strictEqual(failed._tag, "GatewayUnavailable")
        assert.notInclude(inspect(failed, { depth: 9 }), "6281234567890")
        assert.strictEqual((yield* Effect.flip(login.logOut(target)))._tag, "GatewayUnavailable")
      }))
  })
}

/** For gateways that pass on WhatsApp's request for a passkey. */
export const passkeyConformance = (adapter: Adapter<Having<"login">>): void => {
  describe(`${adapter.name}: a passkey`, () => {
    it.live("is requested with its challenge, then compared, and then the account is proven", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter, { simulator: { autoPair: false } })
        const { login } = gateway
        const passkey = login.passkey!
        const code = yield* login.begin(target, { method: "qr" })
        assert.strictEqual((yield* Effect.flip(passkey.confirm(target)))._tag, "LoginRefused", "none is asked for")
        assert.strictEqual(core.pairings.scan(device, readCode(code), true), "passkey")

        const asked = yield* login.look(target, code)
        if (asked._tag !== "Passkey") return assert.fail(asked._tag)
        assert.deepInclude(Redacted.value(asked.challenge!), { rpId: "whatsapp.com" })
        assert.isNull(asked.code)
        yield* passkey.answer(target, Redacted.make({ id: "x", type: "public-key" }))

        const compared = yield* login.look(target, code)
        if (compared._tag !== "Passkey") return assert.fail(compared._tag)
        assert.strictEqual(Redacted.value(compared.code!), "4711")
        yield* passkey.confirm(target)
        yield* untilSo("it is accepted", login.look(target, code), ({ _tag }) => _tag === "Accepted")
        assert.strictEqual((yield* gateway.status(target)).jid, device.jid)
      }))
  })
}
