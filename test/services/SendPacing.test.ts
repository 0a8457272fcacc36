/** When a device may send: the rules as a model, over senders that always send as soon as they may. */
import { assert, describe, it } from "@effect/vitest"
import fc from "fast-check"
import { parsePacing, readRate } from "../../src/domain/Pacing.ts"
import type { Pacing } from "../../src/domain/Pacing.ts"
import { historyMillis, nextSendAt, quietEnds, record, restingChats, restore } from "../../src/services/SendPacing.ts"
import type { Pace, Sent } from "../../src/services/SendPacing.ts"
import { propertyLimits } from "../support/propertyLimits.ts"

const start = Date.parse("2026-03-01T00:00:00Z")
const day = 24 * 3_600_000

const pacing = (line: string): Pacing => {
  const parsed = parsePacing(line)
  assert.isNotNull(parsed, line)
  return parsed!
}

const fresh = (policy: Pacing, now = start, createdAt = start): Pace => restore(policy, createdAt, [], now)

/** Sends `count` messages, each as soon as it may go, after the sender's own pauses. */
const run = (policy: Pacing, pauses: ReadonlyArray<number>, restarts: ReadonlySet<number> = new Set()) => {
  const sent: Array<Sent> = []
  let pace = fresh(policy)
  let now = start
  pauses.forEach((pause, index) => {
    now += pause
    const chat = `chat ${index % 3}`
    if (restarts.has(index)) {
      pace = restore(policy, start, sent.filter(({ at }) => at > now - historyMillis(policy)), now)
    }
    // A wait is exact: at its end nothing else delays the message.
    const wait = nextSendAt(pace, now)
    if (wait !== null) now = Math.ceil(wait.until)
    assert.isNull(nextSendAt(pace, now), "a wait ends when it says")
    const rested = restingChats(pace, now).get(chat)
    if (rested !== undefined) {
      now = rested
      const again = nextSendAt(pace, now)
      if (again !== null) now = Math.ceil(again.until)
    }
    sent.push({ at: now, chat })
    pace = record(pace, { at: now, chat })
  })
  return sent
}

const pauses = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20_000 }), fc.constant(3 * 3_600_000)), {
  minLength: 1,
  maxLength: 60
})
const restarts = fc.uniqueArray(fc.integer({ min: 0, max: 59 })).map((indexes) => new Set(indexes))
const policies = fc.constantFrom(
  "20/min",
  "20/min, burst 5",
  "7/s, burst 3, jitter 2s",
  "1/h",
  "20/min, 10/day",
  "20/min, 10/day, ramp 4d",
  "30/min, recipient 30s",
  "20/min, burst 3, 15/day, recipient 10s, quiet 21:00-07:00 Asia/Jakarta",
  "5/day, quiet 22:00-06:00 Europe/Berlin"
).map(pacing)

describe("the pacing of a device", () => {
  it("keeps every rule in every order of messages and pauses, over restarts at any moment", () => {
    fc.assert(
      fc.property(policies, pauses, restarts, (policy, given, restarted) => {
        const sent = run(policy, given, restarted)
        const { burst = 1, perDay, quiet, rate, recipientSeconds = 0 } = policy
        const interval = rate === undefined ? 0 : readRate(rate)!
        sent.forEach(({ at, chat }, index) => {
          // No window contains more than the bucket and its refill.
          const first = sent[index - burst]
          if (rate !== undefined && first !== undefined) assert.isAtLeast(at - first.at, interval - 1)
          const cap = perDay === undefined ? undefined : sent[index - perDay]
          if (cap !== undefined) assert.isAtLeast(at - cap.at, day)
          if (quiet !== undefined) assert.strictEqual(quietEnds(quiet, at), at, "sent in quiet hours")
          const before = sent.slice(0, index).findLast((one) => one.chat === chat)
          if (before !== undefined) assert.isAtLeast(at - before.at, recipientSeconds * 1000)
        })
      }),
      propertyLimits(400)
    )
  })

  it("delays no waiting message by more than the bucket's fill time after a restart, and none after a pause", () => {
    fc.assert(
      fc.property(pauses, (given) => {
        const policy = pacing("20/min, burst 5")
        const sent = run(policy, given)
        const now = sent.at(-1)!.at
        const known = sent.reduce(record, fresh(policy))
        const restored = restore(policy, start, sent.filter(({ at }) => at > now - historyMillis(policy)), now)
        const [exact, told] = [nextSendAt(known, now)?.until ?? now, nextSendAt(restored, now)?.until ?? now]
        assert.isAtLeast(told, exact)
        assert.isAtMost(told - exact, 5 * 3000)
        assert.isNull(nextSendAt(restored, now + 10 * 3000))
      }),
      propertyLimits(200)
    )
  })

  it("lets no wait exceed its rule when the clock is set back", () => {
    const policy = pacing("20/min, 2/day, recipient 10s")
    const sent = [{ at: start + 5 * day, chat: "a" }, { at: start + 5 * day + 3000, chat: "b" }]
    const pace = restore(policy, start, sent, start)
    assert.deepStrictEqual(nextSendAt(pace, start), { reason: "daily-cap", until: start + day })
    assert.deepStrictEqual([...restingChats(pace, start)], [["a", start + 10_000], ["b", start + 10_000]])
    const later = sent.reduce(record, fresh(pacing("20/min, recipient 10s"), start))
    assert.isAtMost(nextSendAt(later, start)!.until, start + 3000)
    assert.isAtMost(restingChats(later, start).get("b")!, start + 10_000)
  })

  it("derives a jitter from the previous message, so that all processes compute the same, and it varies", () => {
    const policy = pacing("20/min, jitter 10s")
    const waits = Array.from({ length: 50 }, (_, n) => {
      const pace = record(fresh(policy), { at: start + n * 60_000, chat: "a" })
      assert.deepStrictEqual(nextSendAt(pace, start + n * 60_000), nextSendAt(pace, start + n * 60_000 + 1))
      return nextSendAt(pace, start + n * 60_000)!.until - (start + n * 60_000)
    })
    assert.isAtLeast(Math.min(...waits), 3000)
    assert.isAtMost(Math.max(...waits), 13_000)
    assert.isAbove(new Set(waits).size, 40)
    assert.isAbove(Math.max(...waits) - Math.min(...waits), 5000)
  })

  it("lets a new account send more each day until the cap", () => {
    const policy = pacing("100/min, 100/day, ramp 4d")
    const allowed = [0, 1, 2, 3, 9].map((age) => {
      const now = start + age * day
      let pace = fresh(policy, now, start)
      for (let count = 0;; count++) {
        const at = now + count * 600
        if (nextSendAt(pace, at)?.reason === "daily-cap") return count
        pace = record(pace, { at, chat: "a" })
      }
    })
    assert.deepStrictEqual(allowed, [25, 50, 75, 100, 100])
    const full = Array.from({ length: 25 }, (_, n) => n)
      .reduce((pace, n) => record(pace, { at: start + day - 60_000 + n * 600, chat: "a" }), fresh(policy))
    assert.deepStrictEqual(nextSendAt(full, start + day - 30_000), { reason: "daily-cap", until: start + day })
  })

  it("ends quiet hours by local time, also on the days on which the clocks change", () => {
    const ends = (from: string, to: string, at: string) =>
      new Date(quietEnds({ from, to, zone: "Europe/Berlin" }, Date.parse(at))).toISOString()
    assert.strictEqual(ends("22:00", "06:00", "2026-02-01T20:59:59Z"), "2026-02-01T20:59:59.000Z")
    assert.strictEqual(ends("22:00", "06:00", "2026-02-01T21:00:30Z"), "2026-02-02T05:00:00.000Z")
    // 02:00 becomes 03:00 on 29 March, and 03:00 becomes 02:00 on 25 October.
    assert.strictEqual(ends("22:00", "06:00", "2026-03-28T21:30:00Z"), "2026-03-29T04:00:00.000Z")
    assert.strictEqual(ends("22:00", "06:00", "2026-10-24T20:30:00Z"), "2026-10-25T05:00:00.000Z")
    assert.strictEqual(ends("22:00", "02:30", "2026-03-28T21:30:00Z"), "2026-03-29T01:00:00.000Z", "the end is skipped")
    assert.strictEqual(ends("22:00", "02:30", "2026-10-24T20:30:00Z"), "2026-10-25T00:30:00.000Z", "the end is doubled")
    assert.strictEqual(ends("09:00", "17:00", "2026-06-01T09:00:00Z"), "2026-06-01T15:00:00.000Z")
  })
})
