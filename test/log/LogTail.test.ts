import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { LoggedEvent } from "../../src/domain/Event.ts"
import type { DeviceId, EventId } from "../../src/domain/Ids.ts"
import type { EventFilter } from "../../src/services/EventLog.ts"
import { LogTail, tailKept } from "../../src/log/LogTail.ts"

const event = (seq: number) =>
  ({ seq, kind: "message.received", deviceId: "dev_1", data: "{}", bytes: 2 }) as LoggedEvent

describe("the tail of the log and signals of commits", () => {
  const following = () => {
    const tail = new LogTail(() => {})
    tail.push([event(1)])
    tail.advance(1)
    let woken = 0
    Effect.runFork(Effect.tap(tail.awaitMatch({}, 1, 0, () => false), () => Effect.sync(() => woken++)))
    return { tail, woken: () => woken }
  }

  it("wakes readers at once for a commit of another process", () => {
    const { tail, woken } = following()
    tail.signal(2)
    assert.strictEqual(woken(), 1)
    assert.isNull(tail.read({ after: 1 }, 10, 1000))
  })

  it("keeps the signal of this process's commit until its events are in memory", () => {
    const { tail, woken } = following()
    tail.writeBegins()
    tail.signal(2)
    assert.strictEqual(woken(), 0)
    tail.push([event(2)])
    tail.writeEnds()
    assert.strictEqual(woken(), 1)
    assert.deepStrictEqual(tail.read({ after: 1 }, 10, 1000)?.events.map(({ seq }) => seq), [2])
  })

  it("wakes only the readers of the devices of a commit, which continue after what does not match", () => {
    const tail = new LogTail(() => {})
    tail.push([event(1)])
    tail.advance(1)
    const woken: Array<readonly [device: string, passed: number]> = []
    const wait = (device: string) =>
      Effect.runFork(Effect.tap(
        tail.awaitMatch({ device: device as DeviceId }, 1, 0, () => false),
        (passed) => Effect.sync(() => woken.push([device, passed]))
      ))
    for (const device of ["dev_1", "dev_2", "dev_3"]) wait(device)
    for (const [seq, deviceId] of [[2, "dev_1"], [3, "dev_9"], [4, "dev_9"], [5, "dev_2"]] as const) {
      tail.push([{ ...event(seq), deviceId: deviceId as DeviceId }])
      tail.advance(seq)
    }
    assert.deepStrictEqual(woken, [["dev_1", 1], ["dev_2", 4]])
    assert.strictEqual(tail.takeWoken(), 2)
    // Events that are not in memory may match.
    tail.advance(6)
    assert.deepStrictEqual(woken.at(-1), ["dev_3", 5])
    assert.deepStrictEqual([tail.takeWoken(), tail.takeWoken()], [1, 0])
  })

  it("wakes a reader of several devices or of one kind, and all readers of an older generation", () => {
    const tail = new LogTail(() => {})
    const seen = { logId: "one", head: 1, oldest: 1 }
    tail.observe(tail.now, seen)
    tail.push([event(1)])
    tail.advance(1)
    const woken: Array<string> = []
    const wait = (name: string, filter: EventFilter) =>
      Effect.runFork(Effect.tap(
        tail.awaitMatch(filter, 1, 0, () => false),
        () => Effect.sync(() => woken.push(name))
      ))
    const [first, second, third] = ["dev_1", "dev_2", "dev_3"] as Array<DeviceId>
    wait("two devices", { visible: [second!, third!] })
    wait("kind", { device: first, kinds: ["ack"] })
    wait("hidden", { hidden: ["message.received"] })
    tail.push([event(2)])
    tail.advance(2)
    assert.deepStrictEqual(woken, [])
    tail.push([{ ...event(3), deviceId: third! }])
    tail.advance(3)
    assert.deepStrictEqual(woken, ["two devices"])
    tail.observe(tail.now, { ...seen, logId: "other" })
    assert.sameMembers(woken, ["two devices", "kind", "hidden"])
  })

  it("passes on received signals when the write fails", () => {
    const { tail, woken } = following()
    tail.writeBegins()
    tail.signal(2)
    tail.writeEnds()
    assert.strictEqual(woken(), 1)
    assert.strictEqual(tail.head, 2)
  })
})

describe("the tail of the log after a burst", () => {
  const rush = (tail: LogTail, from: number, through: number) => {
    tail.push(Array.from({ length: through - from + 1 }, (_, index) => event(from + index)))
    tail.advance(through)
  }
  const oldest = (tail: LogTail) => {
    let after = tail.head
    while (after > 0 && tail.covers(after - 1)) after--
    return after + 1
  }

  it("signals when more events remain than it keeps", () => {
    const tail = new LogTail(() => {})
    let said = 0
    Effect.runFork(Effect.tap(tail.surplus, () => Effect.sync(() => said++)))
    rush(tail, 1, tailKept)
    assert.deepStrictEqual([said, tail.waiting], [0, 0], "and counts as no reader")
    rush(tail, tailKept + 1, tailKept + 1)
    assert.strictEqual(said, 1)
  })

  it("keeps the events since the previous look, and the newest events however old they are", () => {
    const tail = new LogTail(() => {})
    rush(tail, 1, 10_000)
    tail.age()
    assert.strictEqual(oldest(tail), 1)
    rush(tail, 10_001, 13_000)
    tail.age()
    assert.strictEqual(oldest(tail), 10_001)
    tail.age()
    assert.strictEqual(oldest(tail), 13_001 - tailKept)
    tail.age()
    assert.strictEqual(oldest(tail), 13_001 - tailKept)
    const page = tail.read({ after: 12_000 }, 10_000, 1_000_000)
    assert.deepStrictEqual(
      page?.events.map(({ seq }) => seq),
      Array.from({ length: 1_000 }, (_, index) => 12_001 + index)
    )
    rush(tail, 13_001, 13_010)
    assert.strictEqual(oldest(tail), 13_001 - tailKept)
    tail.age()
    assert.strictEqual(oldest(tail), 13_011 - tailKept)
  })

  it("is filled again once it was cleared", () => {
    const tail = new LogTail(() => {})
    rush(tail, 1, 10_000)
    tail.age()
    tail.forget()
    tail.age()
    rush(tail, 10_001, 19_000)
    tail.age()
    assert.strictEqual(oldest(tail), 10_001)
  })
})

describe("the tail of the log and a reset log in its place", () => {
  const [one, other] = ["one" as EventId, "other" as EventId]
  const seen = { oldest: 1, logId: "log" }
  /** The answer of a log that is longer, and has other events. No event has the number 0. */
  const another = (tail: LogTail) => ({
    ...seen,
    head: 9,
    headId: other,
    anchorId: tail.now.anchor.seq === 0 ? null : other
  })

  it("detects the reset by a known number with another id, in a process that started on a log with events", () => {
    const tail = new LogTail(() => {})
    assert.strictEqual(tail.observe(tail.now, { ...seen, head: 5, headId: one }), "same")
    tail.advance(5)
    tail.recall({ seq: 5, id: one })
    assert.strictEqual(tail.observe(tail.now, another(tail)), "reset")
  })

  it("detects a second reset the same way", () => {
    const tail = new LogTail(() => {})
    tail.recall({ seq: 5, id: one })
    tail.advance(5)
    assert.strictEqual(tail.observe(tail.now, { ...seen, head: 3 }), "reset")
    assert.strictEqual(tail.observe(tail.now, { ...seen, head: 4 }), "same")
    tail.advance(4)
    tail.recall({ seq: 4, id: one })
    assert.strictEqual(tail.observe(tail.now, another(tail)), "reset")
  })

  it("detects the reset by a write that follows the known head, if another process has assigned the numbers again", () => {
    const answer = { ...seen, head: 6 }
    /** One that has the event 5, and whose write became number 6. */
    const write = (anchorId: EventId | null, oldest = 1) => {
      const tail = new LogTail(() => {})
      tail.recall({ seq: 5, id: one })
      tail.advance(5)
      return tail.observe(tail.now, { ...answer, oldest, anchorId }, 5)
    }
    assert.strictEqual(write(one), "same")
    assert.strictEqual(write(other), "reset")
    assert.strictEqual(write(null), "reset", "there was none when the write began: it was given out while it waited")
    assert.strictEqual(write(null, 6), "same", "it was deleted for its age")
  })
})
