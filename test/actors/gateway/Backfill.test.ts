/**
 * What happens to a time in which a device could not receive: the real fleet, log and ledger of gaps, over a gateway that
 * follows the script of the test, on virtual time.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import type { EventDraft } from "../../../src/domain/Event.ts"
import type { Provable } from "../../../src/domain/Gap.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { HistoryAbsent } from "../../../src/services/GatewayParts.ts"
import { deviceId, pass, settle } from "../../support/fleetBench.ts"
import { arriving, begin, gapsOf, live, logged, runFor, storage, waIdsIn } from "../../support/receptionBench.ts"
import type { ScriptedHistory } from "../../support/scriptedHistory.ts"
import type { ScriptedGateway, ScriptedSession } from "../../support/scriptedGateway.ts"

const one = deviceId(1)

/** By every open session of the device except one that no longer delivers. */
const say = (gateway: ScriptedGateway, draft: EventDraft, deaf: ScriptedSession | null = null) =>
  Effect.andThen(
    Effect.sync(() => {
      for (const session of gateway.live(draft.deviceId)) if (session !== deaf) session.say({ _tag: "Record", draft })
    }),
    settle
  )

const seconds = (time: string | null): number => Date.parse(time ?? "") / 1000

const isNamedBy = (gaps: ReadonlyArray<{ readonly openedAt: string; readonly endedAt: string | null }>, at: number) =>
  gaps.some(({ endedAt, openedAt }) => Date.parse(openedAt) <= at && at <= Date.parse(endedAt ?? openedAt))

describe("a session that is deaf from its first moment", () => {
  it.effect("leaves the events that it misses until the history is read in the gap that it seemed to end", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("10 minutes")
      yield* say(gateway, yield* arriving(one))
      gateway.live(one)[0]!.lose("transport")
      yield* pass("2 seconds")
      const [deaf] = gateway.live(one)
      const missed = yield* arriving(one)
      history.keep(missed)
      yield* pass("10 seconds")
      yield* say(gateway, yield* arriving(one), null)
      assert.isDefined(deaf)
      yield* pass("1 minute")
      const gaps = yield* gapsOf(one)
      assert.isTrue(isNamedBy(gaps, Date.parse(missed.occurredAt)), JSON.stringify([missed.occurredAt, gaps]))
      assert.deepStrictEqual(gaps.map(({ cause }) => cause), ["socket-down"], "no deafness is proven by it")
    }).pipe(Effect.provide(storage)))

  it.effect("leaves a gap also for an event that it misses a moment after the history was read", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("10 minutes")
      yield* say(gateway, yield* arriving(one))
      gateway.live(one)[0]!.lose("transport")
      yield* pass("5 seconds")
      const [gap] = yield* gapsOf(one)
      assert.strictEqual(gap?.status, "closed")
      const missed = yield* arriving(one)
      assert.isBelow(Date.parse(missed.occurredAt), Date.parse(gap!.endedAt ?? "") + 5000)
      history.keep(missed)
      yield* pass("3 seconds")
      yield* say(gateway, yield* arriving(one))
      yield* pass("1 hour", "10 seconds")
      assert.isTrue(isNamedBy(yield* gapsOf(one), Date.parse(missed.occurredAt)), missed.occurredAt)
    }).pipe(Effect.provide(storage)))

  it.effect("leaves a gap that is closed soon after it was found, although no further events arrive", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* begin(1)
      const never = Duration.days(1)
      yield* live(gateway, { lookMin: never, lookMax: never, historyInterval: Duration.minutes(30) })
      yield* pass("10 minutes")
      yield* say(gateway, yield* arriving(one))
      gateway.live(one)[0]!.lose("transport")
      yield* pass("5 seconds")
      let open = yield* gapsOf(one)
      assert.deepStrictEqual(open.map(({ status }) => status), ["closed"])
      history.keep(yield* arriving(one))
      history.answersAfter = Duration.seconds(3)
      for (let minute = 0; minute < 60 && open.length === 1; minute++) {
        yield* pass("1 minute", "1 second")
        open = yield* gapsOf(one)
      }
      assert.deepInclude(open.map(({ cause }) => cause), "deaf")
      yield* pass("1 minute", "1 second")
      assert.notInclude((yield* gapsOf(one)).map(({ status }) => status), "open")
    }).pipe(Effect.provide(storage)))
})

describe("a fleet that reconnects", () => {
  it.effect("shows the progress of reading histories: remaining devices, rows, pages and the rate", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* begin(3)
      history.pageSize = 5
      const { fleet } = yield* live(gateway, { historyRequestsPerSecond: 2, historyInterval: Duration.days(1) })
      yield* pass("1 minute")
      const [before] = yield* fleet.backfills
      for (const session of gateway.live()) session.lose("transport")
      for (let n = 1; n <= 3; n++) {
        for (let row = 0; row < 40; row++) {
          history.keep(yield* arriving(deviceId(n), { chat: `62811${row}@s.whatsapp.net` }))
        }
      }
      yield* pass("10 seconds")
      const [during] = yield* fleet.backfills
      assert.isAtLeast(during!.devicesToGo, 1)
      assert.isAbove(during!.rowsPerSecond, 1)
      assert.isAbove(during!.pagesPerSecond, 1)
      yield* pass("1 minute")
      const [after] = yield* fleet.backfills
      assert.deepInclude(after, { devicesToGo: 0, reading: 0, rowsPerSecond: 0, pagesPerSecond: 0 })
      assert.strictEqual(after!.rows - before!.rows, 120)
    }).pipe(Effect.provide(storage)))
})

describe("a device that loses its session", () => {
  it.effect("has a gap from the last proof of reception to the next one, and its history is in the log", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("10 minutes")
      assert.deepStrictEqual(yield* gapsOf(one), [], "nothing was lost while it connected for the first time")
      const before = yield* arriving(one)
      history.keep(before)
      yield* say(gateway, before)
      yield* pass("5 seconds")
      gateway.mode = "transport"
      gateway.live(one)[0]!.lose("transport")
      yield* pass("20 seconds")
      history.keep(yield* arriving(one, { waId: "MISSED" }))
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ cause, endedAt, status }) => [cause, endedAt, status]), [
        ["socket-down", null, "open"]
      ])
      gateway.mode = "accept"
      yield* pass("1 minute")
      const [gap, ...others] = yield* gapsOf(one)
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual([gap!.cause, gap!.status, gap!.recovered], ["socket-down", "closed", 1])
      assert.deepStrictEqual(gap!.proven, ["messages", "other-messages", "acks"])
      assert.isAtMost(seconds(gap!.openedAt), 600, "begins no later than the last event that came")
      assert.isAtLeast(seconds(gap!.openedAt), 570)
      assert.isAtLeast(seconds(gap!.endedAt), 620)
      const received = yield* logged("message.received")
      assert.deepStrictEqual(received.map(({ via }) => via), ["live", "backfill"])
      assert.strictEqual(waIdsIn(received).at(-1), "MISSED")
      const ledger = (yield* logged()).filter(({ kind }) => kind.startsWith("gap."))
      assert.deepStrictEqual(ledger.map(({ kind }) => kind), ["gap.opened", "gap.closed"])
    }).pipe(Effect.provide(storage)))

  it.effect("has a gap from before the webhooks that the gateway may still have retried, whatever arrived meanwhile", () =>
    Effect.gen(function*() {
      const { gateway } = yield* begin(1)
      Object.assign(gateway, { capabilities: { ...gateway.capabilities, liveEvents: "webhook" } })
      const { fleet } = yield* live(gateway)
      yield* pass("10 minutes")
      yield* fleet.receiveWebhook(one, [{ _tag: "Record", draft: yield* arriving(one) }])
      gateway.mode = "transport"
      gateway.live(one)[0]!.lose("transport")
      yield* pass("5 seconds")
      const [gap] = yield* gapsOf(one)
      assert.isAtMost(seconds(gap!.openedAt), 565)
      assert.isAtLeast(seconds(gap!.openedAt), 560)
    }).pipe(Effect.provide(storage)))

  it.effect("has an unprovable gap if the gateway's history lacks a kind of messages or the acks, which states what is proven", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("1 minute")
      const kept: ReadonlyArray<ReadonlyArray<Provable>> = [["acks"], ["messages"], ["messages", "acks"]]
      for (const covers of kept) {
        history.covers = new Set(covers)
        history.keep(yield* arriving(one))
        gateway.live(one)[0]!.lose("transport")
        yield* pass("1 minute")
        const gap = (yield* gapsOf(one)).at(-1)
        assert.deepStrictEqual([gap!.status, gap!.proven], ["unprovable", covers])
        if (!covers.includes("acks")) assert.match(gap!.detail, /not proven: .*acks/)
      }
    }).pipe(Effect.provide(storage)))

  it.effect("has an unprovable gap at once if the gateway has no history, or the server turns out to have none", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* begin(1)
      history.mode = "absent"
      yield* live(gateway)
      yield* pass("1 minute")
      gateway.live(one)[0]!.lose("transport")
      yield* pass("1 minute")
      const [gap] = yield* gapsOf(one)
      assert.deepStrictEqual([gap!.status, gap!.recovered], ["unprovable", 0])
      assert.include(gap!.detail, "no history")
      assert.strictEqual(history.requests.length, 1, "it is not asked again soon")
    }).pipe(Effect.provide(storage)))

  it.effect("alone has an unprovable gap if only its slot has no history", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* begin(2)
      const [two] = [deviceId(2)]
      yield* live(gateway)
      yield* pass("1 minute")
      const read = history.read
      Object.assign(history, {
        read: (...args: Parameters<typeof read>) =>
          args[0].deviceId === one ? Effect.fail(HistoryAbsent.of("default", "slot")) : read(...args)
      })
      for (const session of gateway.live()) session.lose("transport")
      yield* pass("1 minute")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ status }) => status), ["unprovable"])
      assert.deepStrictEqual((yield* gapsOf(two)).map(({ status }) => status), ["closed"])
    }).pipe(Effect.provide(storage)))

  it.effect("keeps its gap open while the history cannot be read, and retries less and less often", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("1 minute")
      history.mode = "fail"
      const asked = history.requests.length
      gateway.live(one)[0]!.lose("transport")
      yield* pass("20 minutes", "5 seconds")
      const tries = history.requests.length - asked
      assert.isAtLeast(tries, 4)
      assert.isAtMost(tries, 12)
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ status }) => status), ["open"])
      history.mode = "answer"
      yield* pass("20 minutes", "5 seconds")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ status }) => status), ["closed"])
    }).pipe(Effect.provide(storage)))

  it.effect("has one gap under the gravest cause, when the gateway turns out to be down", () =>
    Effect.gen(function*() {
      const { gateway } = yield* runFor("1 minute")
      gateway.mode = "upstreamDown"
      gateway.up = false
      gateway.live(one)[0]!.lose("transport")
      yield* pass("1 minute")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ cause, status }) => [cause, status]), [
        ["gateway-down", "open"]
      ])
      gateway.mode = "accept"
      gateway.up = true
      yield* pass("1 minute")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ cause, status }) => [cause, status]), [
        ["gateway-down", "closed"]
      ])
    }).pipe(Effect.provide(storage)))

  it.effect("does not fill the ledger while it flaps and its history cannot be read", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("1 minute")
      history.mode = "fail"
      for (let loss = 0; loss < 30; loss++) {
        gateway.live(one)[0]?.lose("transport")
        yield* pass("70 seconds", "5 seconds")
      }
      assert.strictEqual((yield* gapsOf(one)).length, 8)
      history.mode = "answer"
      yield* pass("20 minutes", "5 seconds")
      const gaps = yield* gapsOf(one)
      assert.deepStrictEqual([...new Set(gaps.map(({ status }) => status))], ["closed"])
      assert.isAbove(seconds(gaps.at(-1)!.endedAt), 29 * 70, "the last one covers what came after it")
    }).pipe(Effect.provide(storage)))
})

describe("a device that is deaf", () => {
  /** A message each 4 s. `deaf`: the session that does not deliver them; `all`: none does. */
  const chatter = Effect.fnUntraced(
    function*(gateway: ScriptedGateway, history: ScriptedHistory, count: number, deaf: ScriptedSession | "all" | null) {
      for (let n = 0; n < count; n++) {
        const draft = yield* arriving(one)
        history.keep(draft)
        if (deaf !== "all") yield* say(gateway, draft, deaf)
        yield* pass("4 seconds")
      }
    }
  )

  it.effect("is detected within 60 s if messages come often, reconnects, and misses nothing", () =>
    Effect.gen(function*() {
      const { gateway, history, life } = yield* runFor("5 seconds")
      yield* chatter(gateway, history, 30, null)
      const deafAt = 5 + 30 * 4
      yield* chatter(gateway, history, 15, gateway.live(one)[0]!)
      const transitions = (yield* logged("device.state")).map(({ data, recordedAt }) => ({
        at: Date.parse(recordedAt) / 1000,
        rule: (JSON.parse(data) as { readonly rule: string }).rule
      }))
      const proof = transitions.find(({ rule }) => rule === "deaf-proved")
      assert.isDefined(proof)
      assert.isAtMost(proof.at - deafAt, 60)
      yield* pass("1 minute")
      assert.strictEqual((yield* life.fleet.view(one))?.state._tag, "Online")
      const [gap, ...others] = yield* gapsOf(one)
      assert.deepStrictEqual(others, [])
      assert.strictEqual(gap!.cause, "deaf")
      assert.notStrictEqual(gap!.status, "open")
      assert.isAtMost(seconds(gap!.openedAt), deafAt)
      assert.strictEqual((yield* logged("message.received")).length, 45)
    }).pipe(Effect.provide(storage)))

  it.effect("is detected within 60 s if its messages come often and by webhook", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* begin(1)
      Object.assign(gateway, { capabilities: { ...gateway.capabilities, liveEvents: "webhook" } })
      const log = yield* EventLog
      const { fleet } = yield* live(gateway)
      yield* pass("5 seconds")
      const heard: Array<number> = []
      for (let n = 0; n < 50; n++) {
        const draft = yield* arriving(one)
        history.keep(draft)
        if (n < 30) {
          heard.push(yield* Clock.currentTimeMillis)
          log.push(draft)
          yield* settle
          yield* fleet.receiveWebhook(one, [{ _tag: "Record", draft }])
        }
        yield* pass("4 seconds")
      }
      const proof = (yield* logged("device.state")).find(({ data }) =>
        (JSON.parse(data) as { readonly rule: string }).rule === "deaf-proved"
      )
      assert.isDefined(proof)
      assert.isAtMost(Date.parse(proof.recordedAt) - heard.at(-1)!, 60_000)
    }).pipe(Effect.provide(storage)))

  it.effect("is detected at its next silence if a webhook was lost and later ones arrived", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* begin(1)
      Object.assign(gateway, { capabilities: { ...gateway.capabilities, liveEvents: "webhook" } })
      const log = yield* EventLog
      const { fleet } = yield* live(gateway)
      yield* pass("5 seconds")
      let lost: EventDraft | undefined
      for (let n = 0; n < 60; n++) {
        const draft = yield* arriving(one)
        history.keep(draft)
        // Longer ago than the minute by which a look overlaps with the events received before.
        if (n === 10) lost = draft
        else {
          log.push(draft)
          yield* settle
          yield* fleet.receiveWebhook(one, [{ _tag: "Record", draft }])
        }
        yield* pass("2 seconds")
      }
      assert.lengthOf(yield* logged("message.received"), 59)
      yield* pass("30 seconds")
      assert.lengthOf(yield* logged("message.received"), 60)
      yield* pass("2 minutes")
      const gaps = yield* gapsOf(one)
      assert.isTrue(isNamedBy(gaps, Date.parse(lost!.occurredAt)), JSON.stringify([lost!.occurredAt, gaps]))
    }).pipe(Effect.provide(storage)))

  it.effect("is deaf until an event arrives, however often a session is opened that delivers nothing", () =>
    Effect.gen(function*() {
      const { gateway, history, life } = yield* runFor("5 seconds")
      yield* chatter(gateway, history, 20, null)
      yield* chatter(gateway, history, 30, "all")
      assert.isAbove(gateway.openedAt.length, 1)
      assert.strictEqual((yield* life.fleet.view(one))?.state._tag, "Online")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ cause, endedAt }) => [cause, endedAt]), [["deaf", null]])
      const heardAt = (yield* Clock.currentTimeMillis) / 1000
      yield* chatter(gateway, history, 5, null)
      yield* pass("1 minute")
      const [gap, ...others] = yield* gapsOf(one)
      assert.deepStrictEqual([gap!.status, others], ["closed", []])
      assert.isAtLeast(seconds(gap!.endedAt), heardAt)
      assert.strictEqual((yield* logged("message.received")).length, 55)
    }).pipe(Effect.provide(storage)))

  it.effect("is no longer deaf once a look finds no undelivered event, although nothing arrives", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("5 seconds")
      yield* chatter(gateway, history, 20, null)
      yield* chatter(gateway, history, 15, "all")
      yield* pass("3 minutes")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ cause, status }) => [cause, status]), [["deaf", "closed"]])
    }).pipe(Effect.provide(storage)))

  it.effect("is no longer deaf once a reading finds no undelivered event, if readings leave no time for looks", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* begin(1)
      const never = Duration.days(1)
      yield* live(gateway, { lookMin: never, lookMax: never, historyInterval: Duration.minutes(10) })
      yield* chatter(gateway, history, 20, null)
      yield* chatter(gateway, history, 3, "all")
      yield* pass("2 hours", "10 seconds")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ cause, status }) => [cause, status]), [["deaf", "closed"]])
    }).pipe(Effect.provide(storage)))

  it.effect("is not considered deaf if messages only take some seconds longer than the history", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("5 seconds")
      yield* chatter(gateway, history, 20, null)
      // Delivered late to the gateway: stored with an old time, on its way to Columba for 8 s.
      for (let n = 0; n < 5; n++) {
        yield* pass("60 seconds")
        const old = yield* arriving(one, {
          occurredAt: new Date((yield* Clock.currentTimeMillis) - 40_000).toISOString()
        })
        history.keep(old)
        yield* pass("8 seconds")
        yield* say(gateway, old)
      }
      yield* pass("2 minutes")
      const rules = (yield* logged("device.state")).map(({ data }) => (JSON.parse(data) as { rule: string }).rule)
      assert.notInclude(rules, "deaf-proved")
      assert.strictEqual(gateway.openedAt.length, 1)
      assert.isTrue((yield* gapsOf(one)).every(({ status }) => status === "closed"))
    }).pipe(Effect.provide(storage)))

  it.effect("is not considered deaf if a webhook brings a message that its history has brought before", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* begin(1)
      Object.assign(gateway, { capabilities: { ...gateway.capabilities, liveEvents: "webhook" } })
      const log = yield* EventLog
      const { fleet } = yield* live(gateway)
      yield* pass("5 seconds")
      // Messages often, so that it is checked soon when they stop.
      for (let n = 0; n < 20; n++) {
        const draft = yield* arriving(one)
        history.keep(draft)
        log.push(draft)
        yield* pass("1 second")
        yield* fleet.receiveWebhook(one, [{ _tag: "Record", draft }])
        yield* pass("2 seconds")
      }
      const late = yield* arriving(one, { waId: "LATE" })
      history.keep(late)
      while (!waIdsIn(yield* logged("message.received")).includes("LATE")) yield* pass("1 second")
      yield* fleet.receiveWebhook(one, [], [late])
      yield* pass("5 minutes")
      const rules = (yield* logged("device.state")).map(({ data }) => (JSON.parse(data) as { rule: string }).rule)
      assert.notInclude(rules, "deaf-proved")
    }).pipe(Effect.provide(storage)))

  it.effect(
    "reconnects less and less often if the gateway withholds messages for good, and still misses nothing",
    () =>
      Effect.gen(function*() {
        const { gateway, history } = yield* runFor("5 seconds")
        yield* chatter(gateway, history, 20, null)
        const opened = gateway.openedAt.length
        yield* chatter(gateway, history, 900, "all")
        assert.isAtMost(gateway.openedAt.length - opened, 7)
        yield* pass("20 minutes", "5 seconds")
        assert.strictEqual((yield* logged("message.received")).length, 920)
        const gaps = yield* gapsOf(one)
        assert.isTrue(gaps.every(({ cause, status }) => cause === "deaf" && status === "closed"))
      }).pipe(Effect.provide(storage))
  )

  it.effect("costs a silent device a request in a quarter of an hour", () =>
    Effect.gen(function*() {
      const { history } = yield* runFor("1 minute")
      const asked = history.requests.length
      yield* pass("2 hours", "5 seconds")
      assert.isAtMost(history.requests.length - asked, 15)
    }).pipe(Effect.provide(storage)))
})

describe("a process that ends", () => {
  it.effect("leaves a gap from its last sign of life, also if it is killed, and the next one closes it", () =>
    Effect.gen(function*() {
      const { gateway, history, life: first } = yield* runFor("10 minutes")
      yield* first.kill
      history.keep(yield* arriving(one, { waId: "MISSED" }))
      yield* TestClock.adjust("5 minutes")
      yield* live(gateway)
      yield* pass("1 minute")
      const [gap, ...others] = yield* gapsOf(one)
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual([gap!.cause, gap!.status, gap!.recovered], ["process-down", "closed", 1])
      assert.isAtMost(seconds(gap!.openedAt), 600)
      assert.isAtLeast(seconds(gap!.openedAt), 550)
      assert.deepStrictEqual(waIdsIn(yield* logged("message.received")), ["MISSED"])
    }).pipe(Effect.provide(storage)))

  it.effect("leaves no gap for a time before the device was added", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 hour")
      const { gateway, history, life: first } = yield* runFor("10 seconds")
      yield* first.kill
      history.keep(yield* arriving(one))
      yield* TestClock.adjust("1 minute")
      yield* live(gateway)
      yield* pass("1 minute")
      const [gap] = yield* gapsOf(one)
      assert.deepStrictEqual([gap!.cause, gap!.status, seconds(gap!.openedAt)], ["process-down", "closed", 3600])
    }).pipe(Effect.provide(storage)))

  it.effect("detects no deafness for a time before the device was added", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 hour")
      const { gateway, history } = yield* begin(1)
      history.mode = "fail"
      history.keep(yield* arriving(one, { waId: "EARLY" }))
      const first = yield* live(gateway)
      yield* pass("2 minutes")
      yield* first.kill
      history.mode = "answer"
      yield* live(gateway)
      yield* pass("1 minute")
      const gaps = yield* gapsOf(one)
      assert.deepStrictEqual(
        gaps.map(({ cause, openedAt, status }) => [cause, status, seconds(openedAt) >= 3600]).toSorted(),
        [["deaf", "closed", true], ["process-down", "closed", true]]
      )
    }).pipe(Effect.provide(storage)))

  it.effect("records its gap itself if it is stopped in order", () =>
    Effect.gen(function*() {
      const { gateway, life: first } = yield* runFor("10 minutes")
      yield* first.stop
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ cause, status }) => [cause, status]), [[
        "process-down",
        "open"
      ]])
      yield* live(gateway)
      yield* pass("1 minute")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ status }) => status), ["closed"])
    }).pipe(Effect.provide(storage)))

  it.effect("that is killed while it reads a history leaves the gap open, and the next one reads again", () =>
    Effect.gen(function*() {
      const { gateway, history, life: first } = yield* runFor("1 minute")
      gateway.live(one)[0]!.lose("transport")
      history.mode = "hang"
      for (let n = 0; n < 3; n++) history.keep(yield* arriving(one))
      yield* pass("10 seconds")
      yield* first.kill
      history.mode = "answer"
      history.pageSize = 2
      yield* live(gateway)
      yield* pass("1 minute")
      assert.isTrue((yield* gapsOf(one)).every(({ status }) => status === "closed"))
      assert.strictEqual((yield* logged("message.received")).length, 3)
    }).pipe(Effect.provide(storage)))

  it.effect("that dies after it has read rows but judged none leaves the verdict to the next one", () =>
    Effect.gen(function*() {
      const { gateway, history, life: first } = yield* runFor("1 minute")
      for (const waId of ["HEARD", "UNHEARD", "HEARD LATER"]) {
        const draft = yield* arriving(one, { waId })
        history.keep(draft)
        if (waId !== "UNHEARD") yield* say(gateway, draft)
        yield* pass("1 minute", "500 millis")
      }
      first.killAfterRows()
      yield* pass("20 minutes", "5 seconds")
      assert.deepStrictEqual(waIdsIn(yield* logged("message.received")).toSorted(), ["HEARD", "HEARD LATER", "UNHEARD"])
      yield* first.kill
      const second = yield* live(gateway)
      yield* pass("1 minute")
      const deaf = (yield* gapsOf(one)).filter(({ cause }) => cause === "deaf")
      assert.deepStrictEqual(deaf.map(({ status }) => status), ["closed"])
      assert.isAtMost(seconds(deaf[0]!.openedAt), 60)
      assert.isAtLeast(seconds(deaf[0]!.endedAt), 120)
      yield* second.kill
      yield* live(gateway)
      yield* pass("1 minute")
      assert.strictEqual((yield* gapsOf(one)).filter(({ cause }) => cause === "deaf").length, 1, "named once")
    }).pipe(Effect.provide(storage)))

  it.effect("detects that a device was deaf between two of its gaps, whose histories could not be read", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("1 minute")
      const heard = yield* arriving(one)
      history.keep(heard)
      yield* say(gateway, heard)
      yield* pass("1 minute")
      history.mode = "fail"
      gateway.live(one)[0]!.lose("transport")
      yield* pass("2 minutes")
      history.keep(yield* arriving(one, { waId: "BETWEEN" }))
      yield* pass("2 minutes")
      gateway.live(one)[0]!.lose("transport")
      yield* pass("20 seconds")
      history.mode = "answer"
      yield* pass("20 minutes", "5 seconds")
      const gaps = yield* gapsOf(one)
      assert.deepStrictEqual(gaps.map(({ cause }) => cause).toSorted(), ["deaf", "socket-down", "socket-down"])
      const deaf = gaps.find(({ cause }) => cause === "deaf")!
      assert.isAtMost(seconds(deaf.openedAt), 240)
      assert.isAtLeast(seconds(deaf.endedAt), 240)
    }).pipe(Effect.provide(storage)))

  it.effect("detects that a device was deaf since its last event, although its history was read meanwhile", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("1 minute")
      const last = yield* arriving(one)
      history.keep(last)
      yield* say(gateway, last)
      const readings = history.requests.length
      yield* pass("40 minutes", "5 seconds")
      assert.isAbove(history.requests.length, readings)
      history.keep(yield* arriving(one, { waId: "UNHEARD" }))
      yield* pass("1 minute")
      gateway.live(one)[0]!.lose("transport")
      yield* pass("10 minutes", "5 seconds")
      const deaf = (yield* gapsOf(one)).find(({ cause }) => cause === "deaf")!
      // Reactions and edits of that time are in no history.
      assert.isAtMost(seconds(deaf.openedAt), 60)
    }).pipe(Effect.provide(storage)))

  it.effect("leaves what a reading has found to the next one, if it fails after some pages", () =>
    Effect.gen(function*() {
      const { gateway, history } = yield* runFor("1 minute")
      const early = yield* arriving(one)
      history.keep(early)
      yield* say(gateway, early)
      yield* pass("1 minute")
      history.mode = "fail"
      gateway.live(one)[0]!.lose("transport")
      yield* pass("2 minutes")
      history.keep(yield* arriving(one, { waId: "BETWEEN" }))
      yield* pass("2 minutes")
      gateway.live(one)[0]!.lose("transport")
      history.keep(yield* arriving(one, { waId: "MISSED" }))
      yield* pass("20 seconds")
      const late = yield* arriving(one)
      history.keep(late)
      yield* say(gateway, late)
      history.mode = "answer"
      history.pageSize = 1
      history.failsAt = 3
      yield* pass("20 minutes", "5 seconds")
      assert.include(history.requests.map(({ page }) => page), "3")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ status }) => status), ["open", "open"])
      history.failsAt = Number.POSITIVE_INFINITY
      yield* pass("30 minutes", "5 seconds")
      const gaps = yield* gapsOf(one)
      assert.deepStrictEqual(gaps.map(({ cause, status }) => `${cause} ${status}`).toSorted(), [
        "deaf closed",
        "socket-down closed",
        "socket-down closed"
      ])
      assert.strictEqual(gaps.reduce((sum, { recovered }) => sum + recovered, 0), 2)
      const deaf = gaps.find(({ cause }) => cause === "deaf")!
      assert.isAtMost(seconds(deaf.openedAt), 240)
      assert.isAtLeast(seconds(deaf.endedAt), 240)
    }).pipe(Effect.provide(storage)))

  it.effect("detects afterwards that a device was deaf before the process was killed", () =>
    Effect.gen(function*() {
      const { gateway, history, life: first } = yield* runFor("1 minute")
      const heard = yield* arriving(one)
      history.keep(heard)
      yield* say(gateway, heard)
      yield* pass("3 minutes")
      history.keep(yield* arriving(one, { waId: "UNHEARD" }))
      yield* pass("2 minutes")
      yield* first.kill
      yield* live(gateway)
      yield* pass("1 minute")
      const gaps = yield* gapsOf(one)
      assert.deepStrictEqual(gaps.map(({ cause }) => cause).toSorted(), ["deaf", "process-down"])
      const deaf = gaps.find(({ cause }) => cause === "deaf")!
      assert.isAtMost(seconds(deaf.openedAt), 60)
      assert.deepStrictEqual(gaps.map(({ cause, recovered }) => [cause, recovered]).toSorted(), [
        ["deaf", 1],
        ["process-down", 0]
      ])
    }).pipe(Effect.provide(storage)))
})

describe("a log that is full", () => {
  it.effect("leaves a gap if a socket is not read for long, and none if only for a moment", () =>
    Effect.gen(function*() {
      const { gateway, history, life } = yield* runFor("1 minute")
      life.setFull(true)
      yield* say(gateway, yield* arriving(one))
      yield* pass("3 seconds")
      life.setFull(false)
      yield* pass("1 minute")
      assert.deepStrictEqual(yield* gapsOf(one), [])
      life.setFull(true)
      yield* say(gateway, yield* arriving(one))
      yield* pass("20 seconds")
      history.keep(yield* arriving(one, { waId: "DROPPED" }))
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ cause, endedAt }) => [cause, endedAt]), [["paused", null]])
      life.setFull(false)
      yield* pass("1 minute")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ recovered, status }) => [recovered, status]), [[
        1,
        "closed"
      ]])
    }).pipe(Effect.provide(storage)))

  it.effect("starts a gap at the last read if the socket ends right after it is read again", () =>
    Effect.gen(function*() {
      const { gateway, life } = yield* runFor("10 minutes")
      life.setFull(true)
      yield* say(gateway, yield* arriving(one))
      const unread = yield* Clock.currentTimeMillis
      yield* pass("4 seconds")
      assert.lengthOf(yield* gapsOf(one), 0)
      life.setFull(false)
      // Both waited to be read: the message arrived four seconds ago, and nothing has since then.
      yield* say(gateway, yield* arriving(one))
      gateway.live(one)[0]!.lose("transport")
      yield* pass("1 minute")
      const [gap] = yield* gapsOf(one)
      assert.isAtMost(Date.parse(gap!.openedAt), unread)
    }).pipe(Effect.provide(storage)))
})

describe("times that messages claim", () => {
  it.effect("cannot blind the watermark, and messages older than the log's retention are not stored", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.parse("2026-01-01T00:00:00Z"))
      const { gateway, history } = yield* begin(1)
      yield* live(gateway, { historyAgeMax: Duration.days(1), historySweep: Duration.days(10) })
      yield* pass("1 minute")
      for (const occurredAt of ["2099-01-01T00:00:00Z", "1970-01-02T00:00:00Z", "2025-12-20T00:00:00Z"]) {
        history.keep(yield* arriving(one, { occurredAt }))
      }
      gateway.live(one)[0]!.lose("transport")
      yield* pass("1 minute")
      history.keep(yield* arriving(one, { waId: "LATER" }))
      gateway.live(one)[0]!.lose("transport")
      yield* pass("1 minute")
      assert.deepStrictEqual(waIdsIn(yield* logged("message.received")), ["LATER"])
    }).pipe(Effect.provide(storage)))

  it.effect("are covered: messages stored minutes late are found by the regular reading, hours late by the wide one", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.parse("2026-01-01T00:00:00Z"))
      const { gateway, history } = yield* begin(1)
      yield* live(gateway, { historySweepInterval: Duration.hours(4), historySweep: Duration.hours(6) })
      yield* pass("3 hours", "20 seconds")
      const now = yield* Clock.currentTimeMillis
      const late = { fromMe: true, waId: "MINUTES", occurredAt: new Date(now - 8 * 60_000).toISOString() }
      const later = { fromMe: true, waId: "HOURS", occurredAt: new Date(now - 2 * 3_600_000).toISOString() }
      history.keep(yield* arriving(one, late), yield* arriving(one, later))
      yield* pass("50 minutes", "20 seconds")
      assert.deepStrictEqual(waIdsIn(yield* logged("message.sent")), ["MINUTES"])
      yield* pass("2 hours", "20 seconds")
      assert.deepStrictEqual(waIdsIn(yield* logged("message.sent")), ["MINUTES", "HOURS"])
    }).pipe(Effect.provide(storage)))
})

describe("a fleet that reconnects", () => {
  it.effect(
    "does not flood its gateway: it reads a thousand histories at the configured rate, each of them",
    () =>
      Effect.gen(function*() {
        const { gateway, history } = yield* begin(1000)
        yield* live(gateway, { historyRequestsPerSecond: 20 })
        yield* pass("2 minutes")
        const before = history.requests.length
        const fell = yield* Clock.currentTimeMillis
        for (const session of gateway.live()) session.lose("transport")
        yield* pass("2 minutes")
        const requests = history.requests.slice(before)
        for (let second = 0; second < 120; second++) {
          const from = fell + second * 1000
          const inSecond = requests.filter(({ at }) => at >= from && at < from + 1000).length
          assert.isAtMost(inSecond, 21)
        }
        assert.strictEqual(new Set(requests.map(({ deviceId }) => deviceId)).size, 1000)
      }).pipe(Effect.provide(storage))
  )
})

describe("a refused webhook", () => {
  it.effect("leaves a gap until a webhook is accepted again or the gateway has abandoned it", () =>
    Effect.gen(function*() {
      const { history, life } = yield* runFor("5 minutes")
      yield* life.fleet.refused(one)
      history.keep(yield* arriving(one, { waId: "REFUSED" }))
      yield* pass("10 seconds")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ cause, endedAt }) => [cause, endedAt]), [
        ["webhook-refused", null]
      ])
      yield* life.fleet.receiveWebhook(one, [{ _tag: "Record", draft: yield* arriving(one) }])
      yield* pass("10 seconds")
      assert.deepStrictEqual((yield* gapsOf(one)).map(({ recovered, status }) => [recovered, status]), [[1, "closed"]])
      yield* life.fleet.refused(one)
      yield* pass("50 seconds")
      assert.notInclude((yield* gapsOf(one)).map(({ status }) => status), "open")
    }).pipe(Effect.provide(storage)))
})
