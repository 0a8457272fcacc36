/** From when a history is read, and what a complete reading proves of a gap. */
import { assert, describe, it } from "@effect/vitest"
import type { GapState } from "../../../src/actors/device/GapTracker.ts"
import { assignEarly, begin, count, judge } from "../../../src/actors/gateway/Reading.ts"
import { type GapId, type Provable, provables } from "../../../src/domain/Gap.ts"
import { freshDevice, messageDraft } from "../../support/drafts.ts"

const minutes = (count: number): number => count * 60_000
const hours = (count: number): number => minutes(60 * count)
const now = Date.parse("2026-11-22T12:00:00Z")

const gap = {
  id: "gap_01K5ZQ9H8W6X7Y8Z9A0B1C2D3E" as GapId,
  cause: "socket-down",
  openedAt: now - minutes(5),
  endedAt: now - minutes(1),
  detail: ""
} as const

const read = (options: { readonly gaps?: boolean; readonly hasAcks: boolean; readonly floor?: number }) =>
  begin({
    kind: "connect",
    now,
    gaps: {
      reception: "receiving",
      receivingSince: gap.endedAt,
      gaps: options.gaps === false ? [] : [gap]
    } as GapState,
    watermark: now - minutes(30),
    floor: options.floor ?? now - hours(1000),
    receivedThrough: now,
    overlap: minutes(10),
    ackReach: hours(24),
    hasAcks: options.hasAcks,
    sweep: hours(48),
    skew: 0,
    found: null
  })

const covering = (...kinds: ReadonlyArray<Provable>) => new Set(kinds)
const all = covering("messages", "other-messages", "acks")

describe("a reading for a gap", () => {
  it("starts a little before the unknown time, and a day before the gap if the history has acks", () => {
    assert.strictEqual(read({ hasAcks: false }).from, now - minutes(40))
    assert.strictEqual(read({ hasAcks: true }).from, gap.openedAt - hours(24))
    assert.strictEqual(read({ hasAcks: true, gaps: false }).from, now - minutes(40), "without a gap no ack is missing")
    const floor = now - minutes(20)
    assert.strictEqual(read({ hasAcks: true, floor }).from, floor, "nothing older than what is kept")
  })

  it("proves the kinds that the history covers, and no acks of messages from before the reading", () => {
    assert.deepStrictEqual(judge(read({ hasAcks: true }), all, gap).proven, ["messages", "other-messages", "acks"])
    assert.deepStrictEqual(judge(read({ hasAcks: false }), all, gap).proven, ["messages", "other-messages"])
    const floor = now - minutes(20)
    assert.include(judge(read({ hasAcks: true, floor }), all, gap).proven, "acks", "there were no messages before")
    assert.deepStrictEqual(judge(read({ hasAcks: true }), covering(), gap).proven, [])
    assert.deepStrictEqual(judge(null, all, gap).proven, [], "nothing was read")
    const older = { ...gap, openedAt: now - hours(30) }
    assert.deepStrictEqual(judge(read({ hasAcks: true }), all, older).proven, [], "it began before the reading")
  })

  it("states in its text what is proven and what is not", () => {
    const { detail } = judge(read({ hasAcks: false }), covering("messages"), { ...gap, detail: "the socket fell" })
    assert.match(detail, /^the socket fell; .*all messages are in the log; not proven: .*acks.*edits/)
    for (const one of provables.slice(1)) {
      assert.notInclude(judge(read({ hasAcks: false }), covering(), gap).proven, one)
    }
  })

  it("counts rows older than all gaps for the gap that they turn out to belong to, whichever gap was first", () => {
    const [lasting, other, found] = ["LASTING", "OTHER", "FOUND"].map((name) => `gap_${name}` as GapId)
    const reading = read({ hasAcks: false })
    const row = (at: number) => messageDraft({ device: freshDevice(), occurredAt: new Date(at).toISOString() })
    const openedAt = now - minutes(5)
    const first = { ...gap, id: lasting!, openedAt, endedAt: null }
    const rows = [now - minutes(20), now - minutes(19), now - minutes(18)]
    for (const at of rows) count(reading, { reception: "lost", receivingSince: null, gaps: [first] }, row(at), 0)
    // Meanwhile an earlier time becomes a gap, which comes before the open one.
    const missed = { ...gap, id: other!, openedAt: now - minutes(10), endedAt: now - minutes(9) }
    const both: GapState = { reception: "lost", receivingSince: null, gaps: [missed, first] }
    count(reading, both, row(now - minutes(9.5)), 0)
    assignEarly(reading, found!)
    assert.deepStrictEqual([lasting, other, found].map((id) => reading.recovered.get(id!)), [0, 1, 3])
  })

  it("counts no row twice if a missed gap is listed before the lasting one, which began earlier", () => {
    const [lasting, missed, found] = ["LASTING", "MISSED", "FOUND"].map((name) => `gap_${name}` as GapId)
    const reading = read({ hasAcks: false })
    const row = (at: number) => messageDraft({ device: freshDevice(), occurredAt: new Date(at).toISOString() })
    const gaps: GapState = {
      reception: "lost",
      receivingSince: null,
      gaps: [
        { ...gap, id: missed!, openedAt: now - minutes(4), endedAt: now - minutes(3) },
        { ...gap, id: lasting!, openedAt: now - minutes(10), endedAt: null }
      ]
    }
    for (const at of [now - minutes(12), now - minutes(9), now - minutes(8)]) count(reading, gaps, row(at), 0)
    assignEarly(reading, found!)
    const recovered = [missed, lasting, found].map((id) => reading.recovered.get(id!) ?? 0)
    assert.deepStrictEqual(recovered, [0, 2, 1])
  })
})
