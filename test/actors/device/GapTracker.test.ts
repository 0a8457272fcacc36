/**
 * The ledger of gaps against the truth: whatever happens in whatever order, every event that was emitted and is not in the
 * log lies within a gap, and a gap is closed only when its messages are in the log.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import {
  listenMax,
  neverReceived,
  restore,
  settleMax,
  track,
  unclosedMax
} from "../../../src/actors/device/GapTracker.ts"
import type { GapInput, GapOrder, GapState, TrackedGap } from "../../../src/actors/device/GapTracker.ts"
import { transitMax, unnoticedMax } from "../../../src/actors/device/receptionGaps.ts"
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
  /** The device moves to another process, while the session of this one stays open; or it was ended a moment before. */
  | { readonly _tag: "pass"; readonly lost: boolean }
  /** The previous process confirms that it listened until this one did. */
  | { readonly _tag: "confirm" }

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
  { weight: 2, arbitrary: fc.constant({ _tag: "kill" as const }) },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("pass" as const), lost: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constant({ _tag: "confirm" as const }) }
)

interface Row extends TrackedGap {
  readonly status: "open" | "closed" | "unprovable"
}

/** A device, the process that runs it, and what outlives that process. */
class World {
  now = 1_000_000
  #ids = 0
  /** Whether emitted events really arrive. */
  arriving = false
  running = true
  diedAt: number | null = null
  lastHeard = 0
  everHeard = false
  aliveThrough: number | null = null
  recordedAt = 0
  wasReceiving = false
  /** As in `Reception`, and as last recorded. */
  handOver: number | null = null
  recordedHandOver: number | null = null
  /** When the session that outlived its actor is closed; null: there is none, or it has not delivered everything. */
  passedUntil: number | null = null
  /** It was open until the next one was. */
  listened = false
  readonly emitted: Array<{ readonly at: number; readonly message: boolean }> = []
  readonly logged = new Set<number>()
  readonly rows = new Map<GapId, Row>()
  state: GapState = neverReceived

  makeId(): GapId {
    return `gap_${String(++this.#ids).padStart(26, "0")}` as GapId
  }

  apply(input: GapInput): void {
    const { orders, state } = track(this.state, input)
    this.state = state
    this.write(orders)
    this.record(state.receivingSince !== null)
  }

  record(wasReceiving: boolean): void {
    this.wasReceiving = wasReceiving
    this.recordedAt = this.now
    this.recordedHandOver = this.handOver
  }

  /** Online, and without the confirmation of the previous process. */
  get pending(): number | null {
    return this.handOver === null ? null : this.state.receivingSince
  }

  /** As the database does. */
  write(orders: ReadonlyArray<GapOrder>): void {
    for (const order of orders) {
      const known = this.rows.get(order.gap.id)
      switch (order._tag) {
        case "Open":
          assert.isUndefined(known, "a gap is opened once")
          this.rows.set(order.gap.id, { ...order.gap, endedAt: null, status: "open" })
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
        // Before the device first received anything, nothing is promised.
        if (this.arriving) {
          this.logged.add(index)
          this.lastHeard = this.now
        } else if (!this.everHeard) this.logged.add(index)
        return
      }
      case "wait":
        // A dead connection is noticed within its time limit, as long as a process is there to notice.
        if (this.running && this.diedAt !== null && this.now + next.millis > this.diedAt + unnoticedMax) {
          this.now = Math.max(this.now, this.diedAt + unnoticedMax)
          this.notice("socket-down")
        }
        this.now += next.millis
        if (this.passedUntil !== null && this.now >= this.passedUntil) this.endPassed()
        if (this.running && this.pending !== null && this.now >= this.pending + settleMax) this.settle()
        return
      case "die":
        if (this.passedUntil !== null) return this.endPassed()
        if (!this.arriving) return
        this.arriving = false
        this.diedAt = this.now
        return
      case "notice":
        return this.notice(next.cause)
      case "connect":
        if (this.diedAt !== null) this.notice("socket-down")
        if (this.state.receivingSince === null) this.listened = this.passedUntil !== null
        this.passedUntil = null
        this.arriving = true
        this.everHeard = true
        this.apply({ _tag: "Proven", at: this.now })
        assert.isNotNull(this.state.receivingSince)
        return
      case "read":
        return this.read()
      case "beat":
        this.aliveThrough = this.now
        return
      case "kill":
        // A session that another process keeps open continues.
        if (this.passedUntil === null) this.arriving = false
        this.running = false
        return
      case "pass":
        return this.pass(next.lost)
      case "confirm":
        if (this.pending !== null) this.settle()
    }
  }

  pass(lost: boolean): void {
    if (this.state.receivingSince === null || this.handOver !== null) return
    this.handOver = this.proof
    this.passedUntil = this.now + listenMax
    if (lost || this.diedAt !== null) this.endPassed()
    this.diedAt = null
    this.running = false
    this.record(false)
  }

  endPassed(): void {
    this.passedUntil = null
    this.arriving = false
  }

  settle(): void {
    const { handOver, pending } = this
    this.handOver = null
    if (this.listened || handOver === null || pending === null) return
    const missed = { from: handOver, to: pending, cause: "process-down", detail: "", id: this.makeId() } as const
    this.apply({ _tag: "Missed", ...missed })
  }

  get proof(): number {
    return Math.max(this.lastHeard, this.now - unnoticedMax) - transitMax
  }

  notice(cause: GapCause): void {
    this.arriving = false
    this.diedAt = null
    this.passedUntil = null
    const provenThrough = this.handOver !== null && this.pending === null ? this.handOver : this.proof
    if (this.pending !== null) {
      this.listened = false
      this.settle()
    }
    this.handOver = null
    this.apply({
      _tag: "Lost",
      at: this.now,
      cause,
      detail: "",
      begin: () => ({ id: this.makeId(), provenThrough })
    })
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
      wasReceiving: this.wasReceiving,
      // A heartbeat proves no more than the record that was made after it.
      aliveThrough: this.aliveThrough,
      recordedAt: this.recordedAt,
      handOver: this.recordedHandOver
    }, { id: this.makeId(), now: this.now, floor: 0, unnoticedMax: unnoticedMax + transitMax, detail: "" })
    this.state = state
    this.handOver = state.reception === "receiving" ? this.recordedHandOver : null
    this.running = true
    this.diedAt = null
    this.write(orders)
  }

  check(): void {
    const rows = [...this.rows.values()]
    const named = (at: number): boolean =>
      rows.some(({ endedAt, openedAt }) => openedAt <= at && at <= (endedAt ?? Number.POSITIVE_INFINITY))
    this.emitted.forEach(({ at, message }, index) => {
      if (this.logged.has(index) || !this.running || this.diedAt !== null || this.handOver !== null) return
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
  it("name every event that was emitted and is not in the log, however often the process dies", () => {
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

  it("continues in the row of the last place if reception is lost again after a hand-over that was not confirmed", () => {
    const world = new World()
    const play = (...commands: ReadonlyArray<Command>) => {
      for (const next of commands) {
        world.play(next)
        world.check()
      }
    }
    play({ _tag: "connect" })
    while (world.state.gaps.length < unclosedMax - 1) {
      play({ _tag: "notice", cause: "socket-down" }, { _tag: "connect" })
    }
    play({ _tag: "pass", lost: false }, { _tag: "connect" }, { _tag: "die" })
    play({ _tag: "wait", millis: unnoticedMax + 1 }, { _tag: "emit", message: false })
    play({ _tag: "connect" }, { _tag: "pass", lost: true }, { _tag: "connect" }, { _tag: "wait", millis: settleMax })
    play({ _tag: "notice", cause: "socket-down" }, { _tag: "emit", message: true })
    assert.isAtMost(world.state.gaps.length, unclosedMax + 1)
  })

  it("are none if the device moved and the previous process listened until the next one did", () => {
    const world = new World()
    const moved: ReadonlyArray<Command> = [
      { _tag: "connect" },
      { _tag: "wait", millis: 60_000 },
      { _tag: "pass", lost: false },
      { _tag: "emit", message: true },
      { _tag: "connect" },
      { _tag: "confirm" },
      { _tag: "pass", lost: false },
      { _tag: "wait", millis: listenMax - 1 },
      { _tag: "emit", message: true },
      { _tag: "connect" },
      { _tag: "confirm" }
    ]
    for (const next of moved) world.play(next)
    assert.deepStrictEqual([...world.rows.values()], [])
    assert.strictEqual(world.logged.size, world.emitted.length)
  })

  it("are recorded at once if a device was handed over to no one", () => {
    const world = new World()
    world.play({ _tag: "connect" })
    world.play({ _tag: "pass", lost: false })
    world.play({ _tag: "wait", millis: 60_000 })
    world.restart()
    assert.deepStrictEqual([...world.rows.values()].map(({ endedAt, openedAt }) => [openedAt, endedAt]), [
      [1_000_000 - transitMax - unnoticedMax, null]
    ])
  })
})
