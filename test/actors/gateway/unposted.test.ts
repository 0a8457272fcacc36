/** A gateway that posts and was not told to post here: what is known of that time, once it is told. */
import { assert, it } from "@effect/vitest"
import { Clock, Duration, Effect, Redacted } from "effect"
import type { Webhook } from "../../../src/services/GatewayParts.ts"
import { PublicAddress } from "../../../src/services/PublicAddress.ts"
import { WebhookSecrets } from "../../../src/services/WebhookSecrets.ts"
import { deviceId, pass } from "../../support/fleetBench.ts"
import { arriving, begin, gapsOf, live, logged, storage, waIdsIn } from "../../support/receptionBench.ts"

const one = deviceId(1)
const minute = Duration.toMillis("1 minute")

/** A device that runs, and what its gateway answers when it is told where to post. */
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
  /** Runs until it has answered so. */
  const asked = Effect.fnUntraced(function*(answer: typeof told.answer) {
    const before = told.askedAt
    told.answer = answer
    while (Object.is(told.askedAt, before)) yield* pass("10 seconds", "10 seconds")
  })
  return { history, told, begun, asked }
})

const causes = Effect.map(gapsOf(one), (gaps) => gaps.map(({ cause }) => cause))

it.effect("is a gap since it was last known to post here, and its history is read", () =>
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
    // One that came in the seconds before it was asked would be in it, too.
    assert.isAtMost(Date.parse(gap!.openedAt), posted)
    assert.isAtLeast(Date.parse(gap!.openedAt), posted - minute)
    assert.deepStrictEqual(waIdsIn(yield* logged("message.received")), ["UNPOSTED"])
  }).pipe(Effect.provide(storage)))

it.effect("is a gap since the last webhook that came, and since the device is online where none ever did", () =>
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
    yield* life.fleet.heard(one, [{ _tag: "Record", draft: yield* arriving(one) }])
    const heard = yield* Clock.currentTimeMillis
    yield* asked("set")
    const second = (yield* gapsOf(one)).toSorted((a, b) => a.openedAt < b.openedAt ? -1 : 1).at(-1)!
    assert.isAtLeast(Date.parse(second.openedAt), heard - minute)
    assert.isAtMost(Date.parse(second.openedAt), heard)
  }).pipe(Effect.provide(storage)))

it.effect("reaches back behind the end of a process whose word on it is gone", () =>
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
