/** When a gateway receives the address for its posts, and what is known of it; and what webhooks do to an actor. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Redacted, Result } from "effect"
import { GatewayUnavailable } from "../../../src/domain/DeviceErrors.ts"
import type { SessionTarget, Webhook, WebhookAddress } from "../../../src/services/GatewayParts.ts"
import { Readiness } from "../../../src/services/Readiness.ts"
import { PublicAddress } from "../../../src/services/PublicAddress.ts"
import { WebhookSecrets } from "../../../src/services/WebhookSecrets.ts"
import { device, deviceId, FleetBench, layer, pass, settle } from "../../support/fleetBench.ts"
import { ScriptedLogin } from "../../support/scriptedLogin.ts"
import { messageDraft } from "../../support/drafts.ts"

const one = deviceId(1)
const address = "https://columba.example/base"

type Outcome = "set" | "unchanged" | "unsupported"

/** A gateway that accepts webhook addresses, and a record of them. */
class Told {
  readonly asked: Array<{ readonly target: SessionTarget; readonly address: WebhookAddress }> = []
  answer: Effect.Effect<Outcome, GatewayUnavailable> = Effect.succeed("set")
  underWay = 0
  underWayMax = 0

  readonly webhook: Webhook = {
    events: [],
    instructions: (url) => `set it to ${url}`,
    ensure: (target, address) =>
      Effect.gen({ self: this }, function*() {
        this.asked.push({ target, address })
        this.underWay++
        this.underWayMax = Math.max(this.underWay, this.underWayMax)
        return yield* Effect.ensuring(this.answer, Effect.sync(() => this.underWay--))
      })
  }
}

interface Options {
  readonly address?: string | null
  readonly keys?: number
  readonly devices?: number
  /** Set if its slots have no account. */
  readonly login?: ScriptedLogin
}

const within = (
  options: Options,
  test: (bench: FleetBench["Service"], told: Told) => Effect.Effect<void, never, Readiness>
) =>
  Effect.gen(function*() {
    const bench = yield* FleetBench
    const told = new Told()
    const capabilities = { ...bench.gateway.capabilities, liveEvents: "webhook" as const }
    Object.assign(bench.gateway, { webhook: told.webhook, capabilities })
    if (options.login !== undefined) {
      Object.assign(bench.gateway, { login: options.login })
      bench.gateway.answer = { isConnected: false, isLoggedIn: false, jid: null }
    }
    // Its devices leave the previous gateway and come to the one that posts webhooks.
    yield* bench.setGateway(Result.succeed(2))
    yield* pass("1 second")
    yield* test(bench, told)
  }).pipe(
    Effect.provide(
      layer(Array.from({ length: options.devices ?? 1 }, (_, index) => device(index + 1))).pipe(
        Layer.provide(WebhookSecrets.layer(
          Array.from(
            { length: options.keys ?? 1 },
            (_, byte) => Redacted.make<Uint8Array>(new Uint8Array(32).fill(byte))
          )
        )),
        Layer.provide(Layer.succeed(PublicAddress, options.address === undefined ? address : options.address)),
        Layer.provideMerge(Readiness.layer)
      )
    ),
    Effect.scoped
  )

const readWebhook = (bench: FleetBench["Service"]) =>
  Effect.orDie(Effect.map(bench.fleet.view(one), (view) => view?.webhook ?? null))

describe("the webhook of a device", () => {
  it.effect("is set when its session has opened, with a separate address and secret, and checked again later", () =>
    within({}, (bench, told) =>
      Effect.gen(function*() {
        yield* pass("5 seconds")
        const [first] = told.asked
        assert.strictEqual(first!.target.deviceId, one)
        assert.strictEqual(first!.target.upstreamId, "slot-1")
        assert.strictEqual(first!.address.url, `${address}/webhooks/default?device=${one}`)
        assert.match(Redacted.value(first!.address.secret), /^[0-9a-f]{64}$/)
        assert.deepInclude(yield* readWebhook(bench), { status: "set", detail: null })
        told.answer = Effect.succeed("unchanged")
        yield* pass("15 minutes", "10 seconds")
        assert.isAtLeast(told.asked.length, 2)
        assert.isAtMost(told.asked.length, 4)
        assert.deepInclude(yield* readWebhook(bench), { status: "set" })
      })))

  it.effect("has a different secret for each device, and the same one each time", () =>
    within({ devices: 2 }, (_, told) =>
      Effect.gen(function*() {
        yield* pass("30 minutes", "10 seconds")
        const secrets = told.asked.map(({ address, target }) => `${target.deviceId} ${Redacted.value(address.secret)}`)
        assert.isAbove(secrets.length, 3)
        assert.strictEqual(new Set(secrets).size, 2)
        assert.strictEqual(new Set(secrets.map((text) => text.split(" ")[1])).size, 2)
      })))

  it.effect("is retried a minute later if it could not be set, and shows why meanwhile", () =>
    within({}, (bench, told) =>
      Effect.gen(function*() {
        for (
          const [answer, detail] of [
            [Effect.fail(GatewayUnavailable.of("default", "set a webhook", "ECONNREFUSED")), /ECONNREFUSED/],
            [Effect.die(new Error("planted")), /defect/],
            [Effect.never, /in time/]
          ] as const
        ) {
          told.answer = answer
          yield* pass("2 minutes")
          const webhook = yield* readWebhook(bench)
          assert.strictEqual(webhook?.status, "failed")
          assert.match(webhook?.detail ?? "", detail)
        }
        assert.isAtLeast(told.asked.length, 4)
        told.answer = Effect.succeed("unsupported")
        yield* pass("2 minutes")
        assert.deepInclude(yield* readWebhook(bench), { status: "unsupported", detail: null })
      })))

  it.effect("is not asked about while no public address or no key is configured", () =>
    Effect.gen(function*() {
      for (const [options, status] of [[{ address: null }, "no-address"], [{ keys: 0 }, "no-secret"]] as const) {
        yield* within(options, (bench, told) =>
          Effect.gen(function*() {
            yield* pass("5 minutes")
            assert.lengthOf(told.asked, 0)
            assert.deepStrictEqual(yield* readWebhook(bench), { status, checkedAt: null, detail: null })
          }))
      }
    }))

  it.effect("is named by readiness while it is missing, with the setting to set", () =>
    within({ address: null }, (bench) =>
      Effect.gen(function*() {
        const readiness = yield* Readiness
        const fleet = Effect.map(readiness.report, (checks) => checks.find(({ name }) => name === "fleet"))
        yield* pass("5 seconds")
        const before = yield* fleet
        assert.isTrue(before?.ready)
        assert.include(before?.detail, "1 without a webhook at the gateway: set COLUMBA_PUBLIC_URL")
        yield* bench.fleet.receiveWebhook(one, [{ _tag: "Record", draft: messageDraft({ device: one }) }])
        assert.notInclude((yield* fleet)?.detail, "webhook")
      })))

  it.effect("is set for a few devices at a time when many start together", () =>
    within({ devices: 200 }, (_, told) =>
      Effect.gen(function*() {
        told.answer = Effect.as(Effect.sleep("100 millis"), "set")
        yield* pass("20 seconds", "100 millis")
        assert.strictEqual(new Set(told.asked.map(({ target }) => target.deviceId)).size, 200)
        assert.strictEqual(told.underWayMax, 4)
      })))

  it.effect("is set before a login asks for its first code, and not touched until the login is over", () => {
    const login = new ScriptedLogin()
    login.millis = Duration.toMillis(Duration.minutes(5))
    return within({ login }, (bench, told) =>
      Effect.gen(function*() {
        const codesAtFirst: Array<number> = []
        told.answer = Effect.suspend(() => {
          codesAtFirst.push(login.begun.length)
          return Effect.as(Effect.sleep("3 seconds"), "set")
        })
        yield* Effect.orDie(bench.fleet.logins.begin(one, { method: "qr" })).pipe(Effect.forkChild)
        yield* pass("5 seconds")
        assert.deepStrictEqual([codesAtFirst, login.begun.length], [[0], 1])
        // It would be checked again by now.
        for (let minutes = 0; minutes < 9; minutes++) {
          yield* Effect.ignore(bench.fleet.logins.current(one))
          yield* pass("1 minute", "10 seconds")
        }
        const during = told.asked.length
        yield* Effect.ignore(bench.fleet.logins.cancel(one))
        yield* pass("20 minutes", "10 seconds")
        assert.strictEqual(during, 1)
        assert.isAbove(told.asked.length, during)
      }))
  })

  it.effect("of a device that reconnects again and again is not asked about each time", () =>
    within({}, (bench, told) =>
      Effect.gen(function*() {
        yield* pass("5 seconds")
        const before = told.asked.length
        for (let losses = 0; losses < 4; losses++) {
          bench.gateway.live(one)[0]!.lose("upstreamDown")
          yield* pass("5 seconds")
        }
        assert.isAtMost(told.asked.length, before + 1)
      })))
})

describe("an actor that receives webhooks", () => {
  it.effect("counts a message as traffic, and a hint as a reason to ask", () =>
    within({}, (bench) =>
      Effect.gen(function*() {
        bench.gateway.answer = { isConnected: false, isLoggedIn: true, jid: null }
        bench.gateway.live(one)[0]!.say({ _tag: "UpstreamDisconnected", reason: null })
        yield* pass("2 seconds")
        assert.strictEqual(bench.readState(one), "Connecting")
        yield* bench.fleet.receiveWebhook(one, [{ _tag: "Record", draft: messageDraft({ device: one }) }])
        yield* settle
        assert.strictEqual(bench.readState(one), "Online")
        assert.isNotNull((yield* Effect.orDie(bench.fleet.view(one)))!.lastWebhookAt)
        bench.gateway.answer = { isConnected: true, isLoggedIn: true, jid: null }
        yield* pass("30 seconds")
        const held = bench.gateway.holdStatus()
        yield* bench.fleet.receiveWebhook(one, [{ _tag: "LoggedOut", reason: "long ago" }])
        yield* pass("2 seconds")
        assert.deepStrictEqual([bench.readState(one), held.count()], ["Online", 1])
        yield* bench.fleet.receiveWebhook(deviceId(9), [{ _tag: "LoggedOut", reason: "not here" }])
      })))
})
