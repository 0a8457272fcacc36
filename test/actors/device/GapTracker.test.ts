/**
 * The ledger of gaps against the truth: whatever happens in whatever order, what was emitted and is not in the log lies
 * within a gap, and a gap is closed only when its messages are in the log.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { restore, track, unclosedMax, unheard } from "../../../src/actors/device/GapTracker.ts"
import type { GapInput, GapOrder, GapState, TrackedGap } from "../../../src/actors/device/GapTracker.ts"
import { transitMax, unnoticedMax } from "../../../src/actors/device/hearing.ts"
import { statusOf } from "../../../src/domain/Gap.ts"
import type { GapCause, GapId } from "../../../src/domain/Gap.ts"
import { propertyLimits } from "../../support/propertyLimits.ts"

type Command =
  | { readonly _tag: "emit"; readonly message: boolean }
  | { readonly _tag: "wait"; readonly millis: number }
  /** The connection is dead, and nobody has noticed. */
  | { readonly _tag: "die" }
  | { readonly _tag: "notice"; readonly cause: GapCause }
  | { readonly _tag: "connect" }
  | { readonly _tag: "read" }
  | { readonly _tag: "beat" }
  | { readonly _tag: "kill" }

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("emit" as const), message: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      _tag: fc.constant("wait" as const),
      millis: fc.oneof(
        { weight: 4, arbitrary: fc.integer({ min: 1, max: 3000 }) },
        fc.integer({ min: 1, max: 200_000 })
      )
    })
  },
  { weight: 2, arbitrary: fc.constant({ _tag: "die" as const }) },
  fc.record({
    _tag: fc.constant("notice" as const),
    cause: fc.constantFrom<GapCause>("socket-down", "gateway-down", "quarantine", "logged-out", "paused")
  }),
  { weight: 3, arbitrary: fc.constant({ _tag: "connect" as const }) },
  { weight: 2, arbitrary: fc.constant({ _tag: "read" as const }) },
  { weight: 4, arbitrary: fc.constant({ _tag: "beat" as const }) },
  { weight: 2, arbitrary: fc.constant({ _tag: "kill" as const }) }
)

interface Row extends TrackedGap {
  readonly status: "open" | "closed" | "unprovable"
}

/** A device, the process that runs it, and what outlives that process. */
class World {
  now = 1_000_000
  #ids = 0
  /** Whether what is emitted really arrives. */
  arriving = false
  running = true
  diedAt: number | null = null
  lastHeard = 0
  everHeard = false
  aliveThrough: number | null = null
  recordedAt = 0
  wasHearing = false
  readonly emitted: Array<{ readonly at: number; readonly message: boolean }> = []
  readonly logged = new Set<number>()
  readonly rows = new Map<GapId, Row>()
  state: GapState = unheard

  makeId(): GapId {
    return `gap_${String(++this.#ids).padStart(26, "0")}` as GapId
  }

  apply(input: GapInput): void {
    const { orders, state } = track(this.state, input)
    this.state = state
    this.write(orders)
    this.wasHearing = state.reception === "hearing"
    this.recordedAt = this.now
  }

  /** As the database does. */
  write(orders: ReadonlyArray<GapOrder>): void {
    for (const order of orders) {
      const known = this.rows.get(order.gap.id)
      switch (order._tag) {
        case "Open":
          assert.isUndefined(known, "a gap is opened once")
          this.rows.set(order.gap.id, { ...order.gap, status: "open" })
          break
        case "Recause":
          assert.isNull(known!.endedAt)
          this.rows.set(order.gap.id, { ...known!, cause: order.gap.cause, detail: order.gap.detail })
          break
        case "End":
          assert.isNull(known!.endedAt, "the first end stands")
          this.rows.set(order.gap.id, { ...known!, endedAt: order.gap.endedAt })
          break
        case "Close":
          assert.strictEqual(known!.status, "open", "a gap is closed once")
          this.rows.set(order.gap.id, {
            ...known!,
            endedAt: order.gap.endedAt,
            status: statusOf(order.judgement.proven)
          })
          break
      }
    }
  }

  play(next: Command): void {
    if (!this.running && next._tag !== "wait" && next._tag !== "emit") this.restart()
    switch (next._tag) {
      case "emit": {
        const index = this.emitted.push({ at: this.now, message: next.message }) - 1
        // Before it was ever heard, nothing of it is promised.
        if (this.arriving) {
          this.logged.add(index)
          this.lastHeard = this.now
        } else if (!this.everHeard) this.logged.add(index)
        return
      }
      case "wait":
        // A dead connection is noticed within its time, as long as somebody is there to notice.
        if (this.running && this.diedAt !== null && this.now + next.millis > this.diedAt + unnoticedMax) {
          this.now = Math.max(this.now, this.diedAt + unnoticedMax)
          this.notice("socket-down")
        }
        this.now += next.millis
        return
      case "die":
        if (!this.arriving) return
        this.arriving = false
        this.diedAt = this.now
        return
      case "notice":
        return this.notice(next.cause)
      case "connect":
        if (this.diedAt !== null) this.notice("socket-down")
        this.arriving = true
        this.everHeard = true
        return this.apply({ _tag: "Heard", at: this.now })
      case "read":
        return this.read()
      case "beat":
        this.aliveThrough = this.now
        return
      case "kill":
        this.arriving = false
        this.running = false
    }
  }

  notice(cause: GapCause): void {
    this.arriving = false
    this.diedAt = null
    const provenThrough = Math.max(this.lastHeard, this.now - unnoticedMax) - transitMax
    this.apply({ _tag: "Blinded", at: this.now, provenThrough, cause, detail: "", id: this.makeId() })
  }

  read(): void {
    const from = this.state.gaps.reduce((oldest, { openedAt }) => Math.min(oldest, openedAt), this.now)
    this.emitted.forEach(({ at, message }, index) => {
      if (message && at >= from && at <= this.now) this.logged.add(index)
    })
    this.apply({
      _tag: "Accounted",
      ends: new Map(),
      from,
      through: this.now,
      judge: () => ({ proven: [], recovered: 0, detail: "" })
    })
  }

  restart(): void {
    const gaps = [...this.rows.values()].filter(({ status }) => status === "open")
      .toSorted((a, b) => a.openedAt - b.openedAt || (a.id < b.id ? -1 : 1))
    const { orders, state } = restore({
      gaps,
      wasHearing: this.wasHearing,
      // A beat says no more than the record that was made after it.
      aliveThrough: this.aliveThrough,
      recordedAt: this.recordedAt
    }, { id: this.makeId(), now: this.now, floor: 0, unnoticedMax: unnoticedMax + transitMax, detail: "" })
    this.state = state
    this.running = true
    this.diedAt = null
    this.write(orders)
  }

  check(): void {
    const rows = [...this.rows.values()]
    const named = (at: number): boolean =>
      rows.some(({ endedAt, openedAt }) => openedAt <= at && at <= (endedAt ?? Number.POSITIVE_INFINITY))
    this.emitted.forEach(({ at, message }, index) => {
      if (this.logged.has(index) || !this.running || this.diedAt !== null) return
      assert.isTrue(named(at), `what was emitted at ${at} is missing, and no gap says so`)
      if (!message) return
      const closed = rows.some(({ endedAt, openedAt, status }) =>
        status !== "open" && openedAt <= at && at <= endedAt! && !this.coveredByOpen(at)
      )
      assert.isFalse(closed, `a message of ${at} is missing, and its gap is closed`)
    })
    const open = rows.filter(({ status }) => status === "open")
    assert.isAtMost(open.length, unclosedMax + 1)
    assert.isAtMost(open.filter(({ endedAt }) => endedAt === null).length, 2)
  }

  coveredByOpen(at: number): boolean {
    return [...this.rows.values()].some(({ endedAt, openedAt, status }) =>
      status === "open" && openedAt <= at && at <= (endedAt ?? Number.POSITIVE_INFINITY)
    )
  }
}

describe("the gaps of a device", () => {
  it("name everything that was emitted and is not in the log, however often the process dies", () => {
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 120, size: "max" }), (commands) => {
        const world = new World()
        for (const next of commands) {
          world.play(next)
          world.check()
        }
      }),
      propertyLimits(1500)
    )
  })
})
