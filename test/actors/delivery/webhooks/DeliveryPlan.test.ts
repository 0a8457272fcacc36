/** Pure decisions about what is delivered next. */
import { assert, describe, it } from "@effect/vitest"
import fc from "fast-check"
import { DeliveryPlan } from "../../../../src/actors/delivery/webhooks/DeliveryPlan.ts"
import type { Job, PlanOptions, Reported } from "../../../../src/actors/delivery/webhooks/deliverySteps.ts"
import type { LoggedEvent } from "../../../../src/domain/Event.ts"
import { auditKind } from "../../../../src/domain/EventKinds.ts"
import type { DeviceId, EventId } from "../../../../src/domain/Ids.ts"
import { noHealth } from "../../../../src/domain/Subscription.ts"
import type { DeliveryOutcome } from "../../../../src/domain/Subscription.ts"
import * as bounds from "../../../../src/services/subscriptionBounds.ts"
import { propertyLimits } from "../../../support/propertyLimits.ts"

const device = (number: number) => `dev_${String(number).padStart(26, "0")}` as DeviceId

const event = (seq: number, of: number, bytes = 100): LoggedEvent => ({
  seq,
  id: `id-${seq}` as EventId,
  kind: "message.received",
  deviceId: device(of),
  occurredAt: "2026-11-22T10:00:00Z",
  recordedAt: "2026-11-22T10:00:00Z",
  via: "live",
  data: "{}",
  bytes
})

const at = "2026-11-22T10:00:00Z"

const reported = (outcome: DeliveryOutcome, retryAfterSeconds: number | null = null): Reported => ({
  outcome,
  status: outcome === "delivered" ? 204 : 500,
  detail: null,
  retryAfterSeconds
})

const make = (options: Partial<PlanOptions> = {}) =>
  new DeliveryPlan({
    kinds: null,
    devices: null,
    rateLimit: null,
    cursor: 0,
    health: noHealth,
    random: () => 0.5,
    now: 0,
    ...options
  })

/** Numbers 1, 2, 3 … of the given devices. */
const fill = (plan: DeliveryPlan, devices: ReadonlyArray<number>, first = plan.through + 1) => {
  const events = devices.map((of, index) => event(first + index, of))
  plan.offer(first - 1, events, first + devices.length - 1, events.at(-1)?.id ?? null)
  return events
}

const sendAll = (plan: DeliveryPlan, now: number): ReadonlyArray<Job> => {
  const jobs: Array<Job> = []
  for (let step = plan.next(now); step._tag === "Send"; step = plan.next(now)) jobs.push(step.job)
  return jobs
}

const seqsOf = (jobs: ReadonlyArray<Job>) => jobs.map((job) => job.event.seq)

describe("a plan of deliveries", () => {
  it("sends different devices concurrently and one device in order; the cursor passes only delivered events", () => {
    const plan = make()
    fill(plan, [1, 1, 2, 1, 3])
    const first = sendAll(plan, 0)
    assert.deepStrictEqual(seqsOf(first), [1, 3, 5])
    plan.report(first[1]!, reported("delivered"), 0, at)
    assert.deepStrictEqual([plan.cursor, sendAll(plan, 0).length], [0, 0])
    plan.report(first[0]!, reported("delivered"), 0, at)
    assert.strictEqual(plan.cursor, 1)
    const second = sendAll(plan, 0)
    assert.deepStrictEqual(seqsOf(second), [2])
    plan.report(second[0]!, reported("delivered"), 0, at)
    plan.report(first[2]!, reported("delivered"), 0, at)
    assert.strictEqual(plan.cursor, 3)
    const third = sendAll(plan, 0)
    plan.report(third[0]!, reported("delivered"), 0, at)
    assert.deepStrictEqual([plan.cursor, plan.cursorId], [5, "id-5"])
  })

  it("knows the event of each position of the cursor, so that a log with another event there refuses the move", () => {
    const plan = make({ devices: [device(1), device(2)] })
    fill(plan, [3, 1, 3, 2, 1, 3])
    const first = sendAll(plan, 0)
    assert.deepStrictEqual([seqsOf(first), plan.cursor, plan.cursorId], [[2, 4], 1, "id-1"])
    plan.report(first[0]!, reported("delivered"), 0, at)
    assert.deepStrictEqual([plan.cursor, plan.cursorId], [3, "id-3"])
    plan.report(first[1]!, reported("throttled"), 0, at)
    assert.deepStrictEqual([plan.cursor, plan.cursorId], [4, "id-4"], "the fifth event is read again")
  })

  it("reads again from the first event that was not sent when the circuit opens, and not events of a device that has caught up before it", () => {
    const plan = make()
    fill(plan, [1, 2])
    const [refused, slow] = sendAll(plan, 0)
    plan.report(refused!, reported("refused"), 0, at)
    fill(plan, [3, 1, 3])
    const [other] = sendAll(plan, 0)
    assert.strictEqual(plan.next(5_000)._tag, "ReadHeld")
    plan.heldRead(device(1), { events: [event(1, 1), event(4, 1)], through: 5 }, 5_000)
    for (const job of [sendAll(plan, 5_000), sendAll(plan, 5_000)].flat()) {
      plan.report(job, reported("delivered"), 5_000, at)
      for (const next of sendAll(plan, 5_000)) plan.report(next, reported("delivered"), 5_000, at)
    }
    assert.deepStrictEqual(plan.health.held, [])
    plan.report(slow!, reported("throttled"), 5_000, at)
    plan.report(other!, reported("delivered"), 5_000, at)
    assert.deepStrictEqual([plan.through, plan.throughId], [4, "id-4"])
  })

  it("omits audit events, also if all kinds are selected or the list names them", () => {
    for (const kinds of [null, [auditKind, "message.received"]]) {
      const plan = make({ kinds })
      const events: ReadonlyArray<LoggedEvent> = [event(1, 1), { ...event(2, 0), kind: auditKind }, event(3, 2)]
      plan.offer(0, events, 3, events[2]!.id)
      const sent = sendAll(plan, 0)
      assert.deepStrictEqual(seqsOf(sent), [1, 3])
      for (const job of sent) plan.report(job, reported("delivered"), 0, at)
      assert.strictEqual(plan.cursor, 3)
    }
  })

  it("holds a device whose event is refused; other devices and the cursor continue, and its events follow later in order", () => {
    const plan = make()
    fill(plan, [1, 2, 1, 2])
    const [poison, other] = sendAll(plan, 0)
    plan.report(poison!, reported("refused"), 0, at)
    assert.deepStrictEqual(plan.health.held, [
      { deviceId: device(1), seq: 1, since: at, attempts: 1, outcome: "refused", status: 500 }
    ])
    plan.report(other!, reported("delivered"), 0, at)
    const next = sendAll(plan, 0)
    assert.deepStrictEqual(seqsOf(next), [4])
    plan.report(next[0]!, reported("delivered"), 0, at)
    assert.strictEqual(plan.cursor, 4)
    fill(plan, [1, 2])
    assert.deepStrictEqual(seqsOf(sendAll(plan, 0)), [6])
    // It has a separate schedule: nothing before five seconds.
    assert.deepStrictEqual(plan.next(0), { _tag: "Idle", wakeAt: 5_000 })
    assert.deepStrictEqual(plan.next(5_000), { _tag: "ReadHeld", device: device(1), after: 0 })
    plan.heldRead(device(1), { events: [event(1, 1), event(3, 1), event(5, 1), event(7, 1)], through: 7 }, 5_000)
    for (const seq of [1, 3, 5]) {
      const [job] = sendAll(plan, 5_000)
      assert.deepStrictEqual([job!.event.seq, job!.from], [seq, "held"])
      plan.report(job!, reported("delivered"), 5_000, at)
    }
    // Events after the window come with the window.
    assert.deepStrictEqual(plan.health.held, [])
    fill(plan, [1])
    assert.deepStrictEqual(seqsOf(sendAll(plan, 5_000)), [7])
  })

  it("opens the circuit after failures of three devices; events in flight do not count twice", () => {
    const plan = make()
    fill(plan, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    const jobs = sendAll(plan, 0)
    assert.lengthOf(jobs, bounds.concurrencyMax)
    for (const job of jobs) assert.strictEqual(plan.report(job, reported("timeout"), 0, at)._tag, "None")
    assert.deepInclude(plan.health.failing, { attempts: 1, attemptsMax: bounds.probesMax, outcome: "timeout" })
    assert.deepStrictEqual(sendAll(plan, 4_999), [])
    assert.strictEqual(plan.room, 0)
    // Waiting events left the memory: they are offered again when the circuit is closed.
    assert.strictEqual(plan.through, 8)
    assert.deepStrictEqual(plan.next(5_000), { _tag: "ReadHeld", device: device(1), after: 0 })
    plan.heldRead(device(1), { events: [event(1, 1)], through: 8 }, 5_000)
    const [probe] = sendAll(plan, 5_000)
    assert.deepStrictEqual([probe!.event.seq, sendAll(plan, 5_000)], [1, []])
    plan.report(probe!, reported("timeout"), 5_000, at)
    assert.deepInclude(plan.health.failing, { attempts: 2 })
    assert.deepStrictEqual(plan.next(5_000), { _tag: "Idle", wakeAt: 20_000 })
    // The next probe is of another device, in case this event is the cause.
    assert.deepStrictEqual(plan.next(20_000), { _tag: "ReadHeld", device: device(2), after: 1 })
    plan.heldRead(device(2), { events: [event(2, 2)], through: 8 }, 20_000)
    plan.report(sendAll(plan, 20_000)[0]!, reported("delivered"), 20_000, at)
    assert.isNull(plan.health.failing)
    // Device 2 has caught up; the others are tried at once.
    assert.strictEqual(plan.health.held.length, 7)
    assert.strictEqual(plan.next(20_000)._tag, "ReadHeld")
  })

  it("opens the circuit if the maximum of devices is held, although events of others were accepted in between", () => {
    const plan = make()
    let failing = 0
    for (let number = 1; failing < bounds.heldDevicesMax; number++) {
      assert.isNull(plan.health.failing)
      fill(plan, [number])
      for (const job of sendAll(plan, 0)) {
        if (number % 2 === 1) failing++
        plan.report(job, reported(number % 2 === 1 ? "timeout" : "delivered"), 0, at)
      }
    }
    assert.deepInclude(plan.health.failing, { attempts: 1, outcome: "timeout" })
    // The first accepted probe lets all of them follow at once, whatever their delays were.
    assert.strictEqual(plan.next(5_000)._tag, "ReadHeld")
    plan.heldRead(device(1), { events: [event(1, 1)], through: plan.through }, 5_000)
    plan.report(sendAll(plan, 5_000)[0]!, reported("delivered"), 5_000, at)
    assert.isNull(plan.health.failing)
    let reading = 0
    for (let step = plan.next(5_000); step._tag === "ReadHeld"; step = plan.next(5_000)) reading++
    assert.strictEqual(reading, bounds.concurrencyMax)
  })

  it("opens the circuit at once if an endpoint throttles, and waits as long as it asks, up to half an hour", () => {
    for (const [asked, waits] of [[null, 5_000], [60, 60_000], [86_400, bounds.retryAfterMaxMillis]] as const) {
      const plan = make()
      fill(plan, [1])
      plan.report(sendAll(plan, 0)[0]!, reported("throttled", asked), 0, at)
      assert.strictEqual(plan.health.failing?.outcome, "throttled")
      assert.deepStrictEqual(plan.next(0), { _tag: "Idle", wakeAt: waits })
    }
  })

  it("disables after three days of waits without a success, whatever the wall clock shows, and at once on 410", () => {
    const plan = make()
    fill(plan, [1, 2, 3])
    for (const job of sendAll(plan, 0)) plan.report(job, reported("connection"), 0, at)
    let now = 0
    let probes = 0
    for (let over = false; !over; probes++) {
      const idle = plan.next(now)
      assert(idle._tag === "Idle")
      now = idle.wakeAt!
      const read = plan.next(now)
      assert(read._tag === "ReadHeld")
      const seq = Number(read.device.slice(-1))
      plan.heldRead(read.device, { events: [event(seq, seq)], through: 3 }, now)
      const [job] = sendAll(plan, now)
      const consequence = plan.report(job!, reported("connection"), now, at)
      over = consequence._tag === "Disable"
      if (consequence._tag === "Disable") assert.strictEqual(consequence.reason, "failing")
    }
    assert.isAtLeast(now, 3 * 86_400_000)
    assert.isBelow(now, 3 * 86_400_000 + bounds.probeDelayMillis(99))
    assert.strictEqual(probes, bounds.probesMax - 1)

    const gone = make()
    fill(gone, [1])
    assert.deepStrictEqual(gone.report(sendAll(gone, 0)[0]!, reported("gone"), 0, at), {
      _tag: "Disable",
      reason: "gone"
    })
    assert.strictEqual(gone.cursor, 0)
  })

  it("abandons an event after three days if others were delivered, and continues with the next of its device", () => {
    const plan = make()
    fill(plan, [1, 1, 2])
    const [poison, other] = sendAll(plan, 0)
    plan.report(poison!, reported("failed"), 0, at)
    plan.report(other!, reported("delivered"), 0, at)
    let now = 0
    for (;;) {
      const idle = plan.next(now)
      assert(idle._tag === "Idle")
      now = idle.wakeAt!
      assert.strictEqual(plan.next(now)._tag, "ReadHeld")
      plan.heldRead(device(1), { events: [event(1, 1), event(2, 1)], through: 3 }, now)
      if (plan.report(sendAll(plan, now)[0]!, reported("failed"), now, at)._tag === "Abandoned") break
    }
    assert.isAtLeast(now, 3 * 86_400_000)
    assert.strictEqual(plan.health.abandoned, 1)
    assert.deepStrictEqual(plan.next(now), { _tag: "ReadHeld", device: device(1), after: 1 })
    plan.heldRead(device(1), { events: [event(2, 1)], through: 3 }, now)
    plan.report(sendAll(plan, now)[0]!, reported("delivered"), now, at)
    assert.deepStrictEqual([plan.health.held, plan.cursor], [[], 3])
  })

  it("resumes soon from the state of another process, without counting the wait", () => {
    const health = {
      ...noHealth,
      failing: {
        since: at,
        attempts: bounds.probesMax - 1,
        attemptsMax: bounds.probesMax,
        outcome: "failed" as const,
        status: 500,
        detail: null
      },
      held: [{ deviceId: device(1), seq: 3, since: at, attempts: 7, outcome: "failed" as const, status: 500 }]
    }
    const plan = make({ cursor: 10, health })
    assert.deepStrictEqual(plan.next(0), { _tag: "Idle", wakeAt: 2_500 })
    assert.deepStrictEqual(plan.next(2_500), { _tag: "ReadHeld", device: device(1), after: 2 })
    plan.heldRead(device(1), { events: [event(3, 1)], through: 10 }, 2_500)
    assert.strictEqual(plan.report(sendAll(plan, 2_500)[0]!, reported("failed"), 2_500, at)._tag, "None")
    assert.deepInclude(plan.health.failing, { attempts: bounds.probesMax - 1 })
    assert.deepStrictEqual(plan.health.held.map(({ attempts, seq }) => [attempts, seq]), [[7, 3]])
    // An older database, which has no record of the devices that were held.
    assert.deepStrictEqual(make({ cursor: 2, health: { ...health, failing: null } }).health.held, [])
  })

  it("holds no more events, bytes and devices than its bounds allow", () => {
    const plan = make()
    fill(plan, Array.from({ length: 1_000 }, (_, index) => index))
    assert.strictEqual(plan.through, bounds.windowEventsMax)
    const large = make()
    large.offer(0, Array.from({ length: 10 }, (_, index) => event(index + 1, index, 100_000)), 10, null)
    assert.strictEqual(large.through, 3)
    const huge = make()
    huge.offer(0, [event(1, 1, 5_000_000), event(2, 1, 1)], 2, null)
    assert.strictEqual(huge.through, 1)
    // Refusals of one device after the other end at the bound, and few of them are read at a time.
    const refusing = make()
    for (let number = 1; number <= 1_000; number++) {
      fill(refusing, [number])
      for (const job of sendAll(refusing, 0)) refusing.report(job, reported("refused"), 0, at)
    }
    assert.strictEqual(refusing.health.held.length, bounds.heldDevicesMax)
    assert.isBelow(refusing.cursor, bounds.heldDevicesMax + 1)
    let reading = 0
    for (let step = refusing.next(10_000); step._tag === "ReadHeld"; step = refusing.next(10_000)) reading++
    assert.strictEqual(reading, bounds.concurrencyMax)
  })

  it("keeps to a rate, with a burst of one second", () => {
    const plan = make({ rateLimit: 10 })
    fill(plan, Array.from({ length: 40 }, (_, index) => index + 1))
    let now = 0
    const times: Array<number> = []
    while (times.length < 40) {
      const step = plan.next(now)
      if (step._tag === "Send") {
        times.push(now)
        plan.report(step.job, reported("delivered"), now, at)
      } else {
        assert(step._tag === "Idle")
        now = step.wakeAt!
      }
    }
    assert.strictEqual(times.filter((time) => time === 0).length, 10)
    assert.isAtLeast(now, 2_900)
    assert.isBelow(now, 3_100)
  })

  it("waits before it reads a held device again in a log that ends before the device's next event", () => {
    const plan = make()
    fill(plan, [1, 2, 2])
    const [refused] = sendAll(plan, 0)
    plan.report(refused!, reported("refused"), 0, at)
    assert.strictEqual(plan.next(5_000)._tag, "ReadHeld")
    plan.heldRead(device(1), { events: [], through: 0 }, 5_000)
    assert.deepStrictEqual(plan.next(5_000), { _tag: "Idle", wakeAt: 6_000 })
    assert.strictEqual(plan.next(6_000)._tag, "ReadHeld")
  })

  it("continues with the oldest kept event of a held device", () => {
    const plan = make()
    fill(plan, [1, 1, 1])
    plan.report(sendAll(plan, 0)[0]!, reported("refused"), 0, at)
    assert.strictEqual(plan.next(5_000)._tag, "ReadHeld")
    plan.heldExpired(device(1), 3)
    assert.deepStrictEqual(plan.health.expired, 1)
    assert.deepStrictEqual(plan.next(5_000), { _tag: "ReadHeld", device: device(1), after: 2 })
    plan.heldRead(device(1), { events: [event(3, 1)], through: 3 }, 5_000)
    plan.report(sendAll(plan, 5_000)[0]!, reported("delivered"), 5_000, at)
    assert.deepStrictEqual([plan.health.held, plan.cursor], [[], 3])
  })

  it("skips deleted events, and reports how many", () => {
    const plan = make()
    assert.strictEqual(plan.skipTo(41), 41)
    assert.deepStrictEqual([plan.cursor, plan.health.expired], [41, 41])
    fill(plan, [1])
    assert.deepStrictEqual(seqsOf(sendAll(plan, 0)), [42])
  })

  /**
   * Against an endpoint that answers arbitrarily, over restarts at any moment: every event is accepted at least once, each
   * device strictly in order except for repeats of accepted events, and a device never has two events in flight.
   */
  it("delivers every event at least once and in order per device, whatever the endpoint answers and when it crashes", () => {
    const outcomes: ReadonlyArray<DeliveryOutcome> = [
      "delivered",
      "delivered",
      "refused",
      "failed",
      "timeout",
      "throttled"
    ]
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 60 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 7 })), { maxLength: 200 }),
        (devices, script) => {
          const log = devices.map((of, index) => event(index + 1, of))
          const taken: Array<LoggedEvent> = []
          let durable = { cursor: 0, health: noHealth as ReturnType<typeof make>["health"] }
          let plan = make()
          let now = 0
          let flight: Array<Job> = []
          const act = (choice: number, pick: number) => {
            if (choice === 0) {
              durable = { cursor: Math.max(durable.cursor, plan.cursor), health: plan.health }
            } else if (choice === 1) {
              plan = make({ ...durable, now })
              flight = []
            } else if (choice <= 4 && flight.length > 0) {
              const [job] = flight.splice(pick % flight.length, 1)
              const outcome = outcomes[pick % outcomes.length]!
              if (outcome === "delivered") taken.push(job!.event)
              plan.report(job!, reported(outcome), now, at)
            } else {
              plan.offer(
                plan.through,
                log.slice(plan.through, plan.through + 1 + pick),
                Math.min(log.length, plan.through + 1 + pick),
                null
              )
              step()
            }
          }
          const step = () => {
            const next = plan.next(now)
            if (next._tag === "Send") {
              assert.notInclude(flight.map((job) => job.event.deviceId), next.job.event.deviceId)
              flight.push(next.job)
            } else if (next._tag === "ReadHeld") {
              const events = log.filter(({ deviceId, seq }) => deviceId === next.device && seq > next.after).slice(0, 3)
              plan.heldRead(next.device, { events, through: events.length === 3 ? events[2]!.seq : log.length }, now)
            } else if (next.wakeAt !== null && flight.length === 0) now = next.wakeAt
          }
          for (const [choice, pick] of script) act(choice, pick)
          // From now on the endpoint accepts everything.
          for (let rounds = 0; rounds < 5_000; rounds++) {
            if (plan.cursor === log.length && plan.health.held.length === 0 && flight.length === 0) break
            plan.offer(plan.through, log.slice(plan.through), log.length, null)
            step()
            for (const job of flight.splice(0)) {
              taken.push(job.event)
              plan.report(job, reported("delivered"), now, at)
            }
          }
          assert.deepStrictEqual([plan.cursor, plan.health.held], [log.length, []])
          for (const of of new Set(devices)) {
            const wanted = log.filter(({ deviceId }) => deviceId === device(of)).map(({ seq }) => seq)
            const got = taken.filter(({ deviceId }) => deviceId === device(of)).map(({ seq }) => seq)
            const firsts = got.filter((seq, index) => got.indexOf(seq) === index)
            assert.deepStrictEqual(firsts, wanted)
          }
        }
      ),
      propertyLimits(500)
    )
  })
})
