/** A gateway that posts webhooks and had another address: what that time means, once the address is set. */
import { assert, it } from "@effect/vitest"
import { Clock, Duration, Effect, Redacted } from "effect"
import type { Webhook } from "../../../src/services/GatewayParts.ts"
import { PublicAddress } from "../../../src/services/PublicAddress.ts"
import { WebhookSecrets } from "../../../src/services/WebhookSecrets.ts"
import { deviceId, pass } from "../../support/fleetBench.ts"
import { arriving, begin, gapsOf, live, logged, storage, waIdsIn } from "../../support/receptionBench.ts"

const one = deviceId(1)
const minute = Duration.toMillis("1 minute")

/** A device that runs, and the scripted answers of its gateway to a webhook address. */
const withWebhook = Effect.gen(function*() {
  const { gateway, history } = yield* begin(1)
  const told = { answer: "unchanged" as "set" | "renewed" | "unchanged", askedAt: Number.NaN }
  const webhook: Webhook = {
    events: [],
    instructions: (url) => url,
    ensure: () =>
      Effect.gen(function*() {
        told.askedAt = yield* Clock.currentTimeMillis
        return told.answer
      })
  }
  const capabilities = { ...gateway.capabilities, liveEvents: "webhook" as const }
  Object.assign(gateway, { webhook, capabilities })
  const begun = (answer: typeof told.answer) => {
    told.answer = answer
    return live(gateway, { lookMin: Duration.hours(9), lookMax: Duration.hours(9), historyInterval: Duration.hours(9) })
      .pipe(
        Effect.provideService(PublicAddress, "https://columba.example"),
        Effect.provide(WebhookSecrets.layer([Redacted.make<Uint8Array>(new Uint8Array(32))]))
      )
  }
  /** Runs until the gateway has given this answer. */
  const asked = Effect.fnUntraced(function*(answer: typeof told.answer) {
    const before = told.askedAt
    told.answer = answer
    while (Object.is(told.askedAt, before)) yield* pass("10 seconds", "10 seconds")
  })
  return { history, told, begun, asked }
})

const causes = Effect.map(gapsOf(one), (gaps) => gaps.map(({ cause }) => cause))

it.effect("a gateway that did not post here leaves a gap since it was last known to post here, and the history is read", () =>
  Effect.gen(function*() {
    const { asked, begun, history, told } = yield* withWebhook
    yield* begun("unchanged")
    yield* pass("20 seconds")
    yield* asked("unchanged")
    yield* asked("renewed")
    assert.deepStrictEqual(yield* causes, [], "while it posts here nothing is missing")
    const posted = told.askedAt
    history.keep(yield* arriving(one, { waId: "UNPOSTED" }))
    yield* asked("set")
    yield* pass("2 minutes")
    const [gap] = yield* gapsOf(one)
    assert.deepInclude(gap, { cause: "deaf", recovered: 1 })
    // A message that came in the seconds before the question would be in it, too.
    assert.isAtMost(Date.parse(gap!.openedAt), posted)
    assert.isAtLeast(Date.parse(gap!.openedAt), posted - minute)
    assert.deepStrictEqual(waIdsIn(yield* logged("message.received")), ["UNPOSTED"])
  }).pipe(Effect.provide(storage)))

it.effect("the gap starts at the last webhook that came, or when the device went online if none ever did", () =>
  Effect.gen(function*() {
    const { asked, begun } = yield* withWebhook
    const life = yield* begun("set")
    yield* pass("20 seconds")
    const online = Date.parse((yield* logged("device.state"))[0]!.recordedAt)
    const [first] = yield* gapsOf(one)
    assert.strictEqual(first?.cause, "deaf")
    assert.isAtMost(Math.abs(Date.parse(first.openedAt) - online), 1000)
    yield* asked("unchanged")
    yield* pass("4 minutes", "10 seconds")
    yield* life.fleet.receiveWebhook(one, [{ _tag: "Record", draft: yield* arriving(one) }])
    const heard = yield* Clock.currentTimeMillis
    yield* asked("set")
    const second = (yield* gapsOf(one)).toSorted((a, b) => a.openedAt < b.openedAt ? -1 : 1).at(-1)!
    assert.isAtLeast(Date.parse(second.openedAt), heard - minute)
    assert.isAtMost(Date.parse(second.openedAt), heard)
  }).pipe(Effect.provide(storage)))

it.effect("the gap reaches back beyond the end of an earlier process that left no record of it", () =>
  Effect.gen(function*() {
    const { begun } = yield* withWebhook
    const life = yield* begun("unchanged")
    yield* pass("1 hour", "10 seconds")
    yield* life.kill
    const killed = yield* Clock.currentTimeMillis
    yield* pass("1 minute", "10 seconds")
    yield* begun("set")
    yield* pass("1 minute")
    const gaps = yield* gapsOf(one)
    assert.deepStrictEqual(gaps.map(({ cause }) => cause).toSorted(), ["deaf", "process-down"])
    const unposted = gaps.find(({ cause }) => cause === "deaf")!
    assert.isAtMost(Date.parse(unposted.openedAt), killed - 15 * minute)
    assert.isAtLeast(Date.parse(unposted.openedAt), killed - 17 * minute)
  }).pipe(Effect.provide(storage)))
