/** The guarantees of the queue of messages, over lives of a fleet on a scripted gateway and one storage in memory. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Fiber } from "effect"
import { GatewayUnavailable, StorageUnavailable } from "../../../src/domain/DeviceErrors.ts"
import { SendOutcomeUnknown, SendRefused } from "../../../src/services/GatewayParts.ts"
import type { SendReason } from "../../../src/domain/Send.ts"
import { parsePacing } from "../../../src/domain/Pacing.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { SendRepository } from "../../../src/services/SendRepository.ts"
import type { NewSend } from "../../../src/services/SendRepository.ts"
import { SharedPacing } from "../../../src/services/SharedPacing.ts"
import { newSend } from "../../conformance/sendRepository.ts"
import { messageDraft } from "../../support/drafts.ts"
import { deviceId, pass } from "../../support/fleetBench.ts"
import { begin, live, logged, storage } from "../../support/receptionBench.ts"
import { ScriptedSending } from "../../support/scriptedSending.ts"

const id = deviceId(1)
const chat = (n: number) => `62811100${n}@s.whatsapp.net`

const bench = Effect.gen(function*() {
  const { gateway, history } = yield* begin(1)
  const send = new ScriptedSending()
  return { gateway: Object.assign(gateway, { send }), history, send }
})

const accept = Effect.fnUntraced(function*(text: string, change: Partial<NewSend> = {}) {
  const sends = yield* SendRepository
  return (yield* Effect.orDie(sends.accept(newSend(id, text, change)))).send
})

const stateOf = Effect.fnUntraced(function*(send: { readonly id: NewSend["id"] }) {
  const sends = yield* SendRepository
  return yield* Effect.orDie(sends.find(send.id))
})

const statuses = Effect.map(
  logged("message.status"),
  (events) => events.map(({ data }) => (JSON.parse(data) as { readonly status: string }).status)
)

const refused = (reason: SendReason, permanent: boolean) =>
  Effect.fail(new SendRefused({ message: `refused: ${reason}`, reason, permanent }))

const lost = Effect.fail(new SendOutcomeUnknown({ message: "the connection broke" }))

/** The messages that the account has sent, according to the gateway's history. */
const own = (text: string, at: number, waId = `H${text}`) =>
  messageDraft({
    device: id,
    chat: chat(1),
    fromMe: true,
    waId,
    body: text,
    occurredAt: new Date(at).toISOString()
  })

/** Requests in flight may still be answered when a process stops, so a stop takes some time. */
const passing = Effect.fnUntraced(function*(stop: Effect.Effect<void>) {
  const stopping = yield* Effect.forkChild(stop)
  yield* pass("3 seconds")
  yield* Fiber.join(stopping)
})

const test = (name: string, body: Effect.Effect<void, never, never>) => it.effect(name, () => body)

const onStorage = <E>(body: Effect.Effect<void, E, Effect.Services<ReturnType<typeof live>>>) =>
  Effect.provide(Effect.orDie(body), storage)

describe("the queue of messages to send", () => {
  test(
    "sends messages that were accepted before and after the start, in order per chat, and reports each once",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      const first = yield* accept("one")
      yield* accept("two")
      const life = yield* live(gateway)
      yield* pass("3 seconds")
      yield* accept("three")
      yield* pass("2 seconds")
      assert.deepStrictEqual(send.texts(), ["one", "two", "three"])
      const state = yield* stateOf(first)
      assert.deepStrictEqual([state?.state, state?.waId], ["sent", "SENT1"])
      assert.deepStrictEqual(yield* statuses, ["sent", "sent", "sent"])
      const sent = (yield* logged("message.sent")).map(({ data }) => JSON.parse(data) as { readonly messageId: string })
      assert.strictEqual(sent[0]?.messageId, first.id)
      yield* life.stop
    }))
  )

  test(
    "delays only the chat of a slow answer",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      send.answer = ({ to }) => to === chat(1) ? Effect.never : null
      const life = yield* live(gateway)
      yield* accept("slow")
      yield* accept("behind it")
      yield* accept("elsewhere", { chat: chat(2) })
      yield* pass("5 seconds")
      assert.deepStrictEqual(send.texts(), ["slow", "elsewhere"])
      yield* passing(life.stop)
    }))
  )

  test(
    "takes back a claim whose answer was lost: the message is sent once, and its chat continues",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      const sends = yield* SendRepository
      let left = 1
      const losing = SendRepository.of({
        ...sends,
        claim: (...asked) =>
          Effect.flatMap(
            sends.claim(...asked),
            (claimed) =>
              claimed !== null && claimed.body.content.type === "text" && claimed.body.content.text === "lost" &&
                left-- > 0
                ? Effect.fail(StorageUnavailable.of("claim a message to send"))
                : Effect.succeed(claimed)
          )
      })
      send.answer = ({ to }) => to === chat(2) ? Effect.never : null
      const life = yield* Effect.provideService(live(gateway), SendRepository, losing)
      yield* accept("slow", { chat: chat(2) })
      const first = yield* accept("lost")
      yield* accept("behind it")
      yield* pass("20 seconds")
      assert.deepStrictEqual(send.texts(), ["slow"], "its answer may still come")
      yield* pass("60 seconds")
      assert.deepStrictEqual(send.texts(), ["slow", "lost", "behind it"], "what the gateway has is not taken back")
      assert.strictEqual((yield* stateOf(first))?.state, "sent")
      yield* passing(life.stop)
    }))
  )

  test(
    "records an outcome later if a defect prevented it, and does not ask the gateway again",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      const log = yield* EventLog
      let left = 2
      const failing = EventLog.of({
        ...log,
        append: (drafts, options) =>
          drafts.some(({ kind }) => kind === "message.status") && left-- > 0
            ? Effect.die(new Error("planted"))
            : log.append(drafts, options)
      })
      const life = yield* Effect.provideService(live(gateway), EventLog, failing)
      const first = yield* accept("one")
      yield* pass("20 seconds")
      assert.deepStrictEqual([send.texts(), yield* statuses], [["one"], ["sent"]])
      assert.strictEqual((yield* stateOf(first))?.state, "sent")
      yield* life.stop
    }))
  )

  test(
    "sends nothing while a device is offline, sends once it is back, and lets overdue messages expire",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      gateway.mode = "transport"
      const life = yield* live(gateway)
      const short = yield* accept("short", { grace: Duration.seconds(5) })
      const patient = yield* accept("patient")
      yield* pass("10 seconds")
      assert.deepStrictEqual(send.texts(), [])
      assert.strictEqual((yield* stateOf(short))?.state, "expired")
      gateway.mode = "accept"
      yield* pass("60 seconds")
      assert.deepStrictEqual(send.texts(), ["patient"])
      assert.strictEqual((yield* stateOf(patient))?.state, "sent")
      assert.deepStrictEqual(yield* statuses, ["expired", "sent"])
      yield* life.stop
    }))
  )

  test(
    "keeps a message in its place that was surely not sent, and retries it; one that is refused for good fails",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      send.answer = (_, n) =>
        n === 1
          ? refused("not-connected", false)
          : n === 2
          ? Effect.fail(GatewayUnavailable.of("default", "take a message", "ECONNREFUSED"))
          : n === 4
          ? refused("not-on-whatsapp", true)
          : null
      const life = yield* live(gateway)
      const first = yield* accept("first")
      const second = yield* accept("second")
      yield* pass("60 seconds")
      assert.deepStrictEqual(send.texts(), ["first", "first", "first", "second"])
      assert.deepStrictEqual([(yield* stateOf(first))?.state, (yield* stateOf(first))?.attempts], ["sent", 3])
      const failed = yield* stateOf(second)
      assert.deepStrictEqual([failed?.state, failed?.reason], ["failed", "not-on-whatsapp"])
      yield* life.stop
    }))
  )

  test(
    "stops only the recipient of a reach-out limit",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      send.answer = ({ to }) => to === chat(1) ? refused("reach-out-limit", true) : null
      const life = yield* live(gateway)
      yield* accept("a1")
      const held = yield* accept("a2")
      const other = yield* accept("b1", { chat: chat(2) })
      yield* pass("10 seconds")
      assert.sameMembers([...send.texts()], ["a1", "b1"])
      assert.strictEqual((yield* stateOf(held))?.reason, "reach-out-pause")
      assert.strictEqual((yield* stateOf(other))?.state, "sent")
      yield* life.stop
    }))
  )

  test(
    "leaves a message in doubt whose answer was lost, and never sends it again by itself",
    onStorage(Effect.gen(function*() {
      const { gateway, history, send } = yield* bench
      history.covers = new Set()
      send.answer = (_, n) => n === 1 ? lost : null
      const life = yield* live(gateway)
      const doubtful = yield* accept("doubtful", { onUnknown: "retry" })
      yield* accept("next")
      yield* pass("30 minutes", "10 seconds")
      assert.deepStrictEqual(send.texts(), ["doubtful", "next"])
      assert.strictEqual((yield* stateOf(doubtful))?.state, "unknown")
      yield* life.stop
    }))
  )

  test(
    "finds a message in doubt in the history, or proves that it was not sent once the history must have it",
    onStorage(Effect.gen(function*() {
      const { gateway, history, send } = yield* bench
      send.answer = () => lost
      const life = yield* live(gateway)
      yield* pass("3 seconds")
      const found = yield* accept("found")
      const absent = yield* accept("absent")
      history.keep(own("found", yield* Clock.currentTimeMillis))
      yield* pass("30 seconds")
      assert.deepStrictEqual([(yield* stateOf(found))?.state, (yield* stateOf(found))?.waId], ["sent", "Hfound"])
      assert.strictEqual((yield* stateOf(absent))?.state, "unknown", "the gateway may still be at it")
      yield* pass("90 seconds")
      assert.strictEqual((yield* stateOf(absent))?.reason, "not-in-history")
      assert.deepStrictEqual(yield* statuses, ["unknown", "unknown", "sent", "failed"])
      assert.strictEqual(send.given.length, 2)
      yield* life.stop
    }))
  )

  test(
    "looks for messages in doubt at the rate of the gateway's histories",
    onStorage(Effect.gen(function*() {
      const { gateway, history, send } = yield* bench
      send.answer = () => lost
      history.pageSize = 1
      const life = yield* live(gateway, { historyRequestsPerSecond: 0.25, historyInterval: Duration.days(1) })
      yield* pass("20 seconds")
      yield* accept("doubtful")
      const now = yield* Clock.currentTimeMillis
      history.keep(...Array.from({ length: 20 }, (_, n) => own(`other ${n}`, now, `H${n}`)))
      const before = history.requests.length
      yield* pass("60 seconds")
      const times = history.requests.slice(before).map(({ at }) => at)
      assert.isAbove(times.length, 5)
      assert.isTrue(times.every((at, index) => index === 0 || at - times[index - 1]! >= 3_999))
      yield* life.stop
    }))
  )

  test(
    "sends a message again that is proven not to be sent, if the request asked for that",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      send.answer = (_, n) => n === 1 ? lost : null
      const life = yield* live(gateway)
      const again = yield* accept("again", { onUnknown: "retry" })
      yield* pass("3 minutes")
      assert.deepStrictEqual(send.texts(), ["again", "again"])
      assert.strictEqual((yield* stateOf(again))?.state, "sent")
      yield* life.stop
    }))
  )

  test(
    "leaves a message in doubt if its process dies after the claim, and the next process finds it",
    onStorage(Effect.gen(function*() {
      const { gateway, history, send } = yield* bench
      const held = send.hold()
      const life = yield* live(gateway)
      const sent = yield* accept("sent all the same")
      yield* pass("3 seconds")
      assert.deepStrictEqual(send.texts(), ["sent all the same"])
      const at = yield* Clock.currentTimeMillis
      yield* passing(life.kill)
      Deferred.doneUnsafe(held, Effect.void)
      history.keep(own("sent all the same", at))
      const next = yield* live(gateway)
      yield* pass("30 seconds")
      assert.strictEqual(send.given.length, 1, "never twice")
      const state = yield* stateOf(sent)
      assert.deepStrictEqual([state?.state, state?.waId], ["sent", "Hsent all the same"])
      assert.deepStrictEqual(yield* statuses, ["unknown", "sent"])
      yield* next.stop
    }))
  )

  test(
    "starts a scheduled message within two seconds of its time, over a restart, and once",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      const dueAt = (yield* Clock.currentTimeMillis) + 120_000
      const life = yield* live(gateway)
      yield* accept("later", { scheduledAt: new Date(dueAt).toISOString() })
      yield* pass("60 seconds")
      yield* life.stop
      const next = yield* live(gateway)
      yield* pass("57 seconds")
      const early = send.given.length
      yield* pass("5 seconds")
      assert.deepStrictEqual([early, send.given.length], [0, 1])
      yield* next.stop
    }))
  )

  const paced = (line: string) =>
    Effect.flatMap(DeviceRepository, (devices) => Effect.orDie(devices.edit(id, { pacing: parsePacing(line) })))

  /** When the gateway received each message, in seconds since `from`. */
  const timed = (send: ScriptedSending, from: number, clock: Clock.Clock) => {
    const times: Array<number> = []
    send.answer = () => {
      times.push((clock.currentTimeMillisUnsafe() - from) / 1000)
      return null
    }
    return times
  }

  test(
    "sends for a paced device at its rate, over a restart, and does not delay others",
    onStorage(Effect.gen(function*() {
      const { gateway, history: _, send } = yield* bench
      const devices = yield* DeviceRepository
      const other = deviceId(2)
      yield* Effect.orDie(
        devices.insert({ id: other, name: "2", gateway: "default" as never, upstreamId: "s2" as never })
      )
      yield* paced("20/min")
      const clock = yield* Clock.Clock
      const times = timed(send, clock.currentTimeMillisUnsafe(), clock)
      const life = yield* live(gateway)
      yield* pass("3 seconds")
      for (const n of [1, 2, 3, 4, 5, 6]) yield* accept(`m${n}`, { chat: chat(n % 3) })
      const sends = yield* SendRepository
      for (const n of [1, 2, 3]) yield* Effect.orDie(sends.accept(newSend(other, `other ${n}`)))
      yield* pass("1 second")
      assert.sameMembers([...send.texts()], ["m1", "other 1", "other 2", "other 3"])
      const began = times[0]!
      yield* pass("6500 millis", "100 millis")
      assert.strictEqual(send.texts().filter((text) => text.startsWith("m")).length, 3)
      yield* life.stop
      const next = yield* live(gateway)
      yield* pass("20 seconds", "100 millis")
      yield* next.stop
      assert.deepStrictEqual(send.texts().filter((text) => text.startsWith("m")), ["m1", "m2", "m3", "m4", "m5", "m6"])
      const mine = times.filter((_, index) => send.texts()[index]!.startsWith("m"))
      mine.forEach((time, index) => assert.isAtLeast(time - began, index * 3 - 0.001))
      assert.isAtMost(mine.at(-1)! - began, 5 * 3 + 3, "and no slower than that and a restart")
    }))
  )

  test(
    "lets a chat rest after a message while others continue; while all rest, the database is not polled",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      yield* paced("10/s, recipient 30s")
      const sends = yield* SendRepository
      let claims = 0
      const counting = {
        ...sends,
        claim: (...given: Parameters<typeof sends.claim>) => {
          claims++
          return sends.claim(...given)
        }
      }
      const life = yield* Effect.provideService(live(gateway), SendRepository, counting)
      yield* pass("3 seconds")
      yield* accept("a1")
      yield* accept("a2")
      yield* accept("b1", { chat: chat(2) })
      yield* pass("3 seconds")
      assert.deepStrictEqual(send.texts(), ["a1", "b1"])
      const before = claims
      yield* pass("20 seconds")
      assert.isAtMost(claims - before, 1)
      yield* accept("c1", { chat: chat(3) })
      yield* pass("2 seconds")
      assert.deepStrictEqual(send.texts(), ["a1", "b1", "c1"])
      yield* pass("10 seconds")
      assert.deepStrictEqual(send.texts(), ["a1", "b1", "c1", "a2"])
      yield* life.stop
    }))
  )

  test(
    "does not count messages that were surely not sent, and applies a new pacing to waiting messages",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      yield* paced("10/s, 2/day")
      send.answer = (_, n) => n === 1 ? refused("not-connected", false) : null
      const life = yield* live(gateway)
      for (const n of [1, 2, 3, 4]) yield* accept(`m${n}`, { grace: Duration.hours(48) })
      yield* pass("60 seconds")
      assert.deepStrictEqual(send.texts(), ["m1", "m1", "m2"])
      yield* paced("10/s, 3/day")
      yield* pass("3 seconds")
      assert.deepStrictEqual(send.texts(), ["m1", "m1", "m2", "m3"])
      yield* pass("24 hours", "10 minutes")
      assert.deepStrictEqual(send.texts(), ["m1", "m1", "m2", "m3", "m4"])
      yield* life.stop
    }))
  )

  test(
    "takes a turn of the shared rate for each message, waits for it, and returns it if nothing was sent",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      yield* paced("10/s")
      send.answer = (_, n) => n === 1 ? refused("not-connected", false) : null
      let taken = 0
      let wait = 0
      const accounts = new Set<string>()
      const shared = SharedPacing.of({
        take: (account) =>
          Effect.sync(() => {
            accounts.add(account)
            if (wait === 0) taken++
            return wait
          }),
        wait: () => Effect.succeed(0),
        giveBack: () => Effect.sync(() => void taken--)
      })
      const life = yield* Effect.provideService(live(gateway), SharedPacing, shared)
      for (const n of [1, 2, 3]) yield* accept(`m${n}`)
      yield* pass("60 seconds")
      assert.deepStrictEqual(send.texts(), ["m1", "m1", "m2", "m3"])
      assert.deepStrictEqual([taken, accounts.size], [3, 1], "one turn per message that was sent, none for looking")
      wait = 5000
      yield* accept("m4")
      yield* pass("12 seconds")
      assert.strictEqual(send.given.length, 4, "others have the account's turns")
      wait = 0
      yield* pass("6 seconds")
      assert.deepStrictEqual([send.texts().at(-1), taken], ["m4", 4])
      yield* life.stop
    }))
  )

  test(
    "sends nothing in quiet hours, and all waiting messages after them",
    onStorage(Effect.gen(function*() {
      const { gateway, send } = yield* bench
      // The test's clock starts at midnight UTC.
      yield* paced("10/s, quiet 23:00-00:30 UTC")
      const life = yield* live(gateway)
      for (const n of [1, 2, 3]) yield* accept(`m${n}`)
      yield* pass("29 minutes", "10 seconds")
      assert.deepStrictEqual(send.texts(), [])
      yield* pass("2 minutes")
      assert.deepStrictEqual(send.texts(), ["m1", "m2", "m3"])
      yield* life.stop
    }))
  )
})
