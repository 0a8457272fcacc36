/**
 * A device moves from one node of a cluster to another: its session stays open until the next one is, and a gap is recorded
 * exactly if nothing proves that it was.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { listenMax, settleMax } from "../../../src/actors/device/GapTracker.ts"
import { passMax } from "../../../src/services/shutdownBudget.ts"
import { messageDraft } from "../../support/drafts.ts"
import { BenchTables, device, deviceId, pass, settle } from "../../support/fleetBench.ts"
import { nodeOn } from "../../support/nodeFleet.ts"
import type { ScriptedSession } from "../../support/scriptedGateway.ts"

const one = deviceId(1)
const offline = { isConnected: false, isLoggedIn: false, jid: null }

/** A node of this device alone. */
const nodeOf = Effect.fnUntraced(function*(tables: BenchTables, owns: boolean, stays = false) {
  const { around, bench, close, gain, lose } = yield* nodeOn(tables, owns ? [one] : [], stays)
  if (owns) yield* pass("2 seconds")
  return { around, close, gateway: bench.gateway, fleet: bench.fleet, gain: () => gain(one), lose: lose(one) }
})

/** A device that runs on the first of two nodes. */
const twoNodes = Effect.gen(function*() {
  const tables = new BenchTables([device(1)])
  const from = yield* nodeOf(tables, true)
  const to = yield* nodeOf(tables, false)
  const gaps = () => tables.drafts.filter(({ kind }) => kind === "gap.opened").map(({ kind }) => kind)
  return { tables, from, to, gaps }
})

const says = (id: string) => ({ _tag: "Record" as const, draft: messageDraft({ device: one, waId: id }) })

describe("a device that moves to another node", () => {
  it.effect("receives all the time: its session ends once the next one is online, and no gap is recorded", () =>
    Effect.scoped(Effect.gen(function*() {
      const { from, gaps, tables, to } = yield* twoNodes
      const before = from.gateway.live(one)[0]!
      yield* from.lose
      assert.strictEqual(tables.transitions(one).at(-1)?.rule, "moved")
      assert.isNull(yield* from.fleet.view(one))
      assert.isTrue(before.open)
      before.say(says("between"))
      to.gain()
      yield* pass("1 second", "100 millis")
      assert.strictEqual(tables.readState(one), "Online")
      assert.isFalse(before.open)
      assert.strictEqual(to.gateway.live(one).length, 1)
      assert.deepStrictEqual(tables.drafts.filter(({ kind }) => kind === "message.received").length, 1)
      yield* pass("1 minute")
      assert.deepStrictEqual(gaps(), [])
      assert.strictEqual(tables.confirmed.get(one), tables.epochs.get(one))
    })))

  it.effect("keeps the events of its first session until the gateway has confirmed its end", () =>
    Effect.scoped(Effect.gen(function*() {
      const { from, gaps, tables, to } = yield* twoNodes
      const before = from.gateway.live(one)[0]!
      before.answersClose = false
      yield* from.lose
      to.gain()
      yield* pass("1 second", "100 millis")
      before.say(says("on its way"))
      assert.isUndefined(tables.confirmed.get(one))
      before.answerClose()
      yield* pass("1 minute")
      assert.deepStrictEqual(tables.drafts.filter(({ kind }) => kind === "message.received").length, 1)
      assert.deepStrictEqual(gaps(), [])
    })))

  for (
    const [what, happens] of [
      ["the gateway ends the first session", (session) => session.lose("transport")],
      ["the gateway does not answer its end", (session) => {
        session.answersClose = false
      }],
      [
        "the account was disconnected meanwhile",
        (session) => session.say({ _tag: "UpstreamDisconnected", reason: null })
      ]
    ] satisfies ReadonlyArray<readonly [string, (session: ScriptedSession) => void]>
  ) {
    it.effect(`has a gap if ${what}`, () =>
      Effect.scoped(Effect.gen(function*() {
        const { from, gaps, to } = yield* twoNodes
        const before = from.gateway.live(one)[0]!
        yield* from.lose
        happens(before)
        to.gain()
        yield* pass(settleMax + 5000)
        assert.isFalse(before.open)
        assert.deepStrictEqual(gaps(), ["gap.opened"])
      })))
  }

  it.effect("is not confirmed to a claim that got the same number from an older database", () =>
    Effect.scoped(Effect.gen(function*() {
      const { from, tables, to } = yield* twoNodes
      const before = from.gateway.live(one)[0]!
      before.answersClose = false
      yield* from.lose
      to.gain()
      yield* pass("1 second", "100 millis")
      assert.strictEqual(tables.epochs.get(one), 2)
      tables.epochs.set(one, 1)
      tables.claim("a third node", [one])
      assert.strictEqual(tables.epochs.get(one), 2)
      before.answerClose()
      yield* pass("1 second", "100 millis")
      assert.isFalse(before.open)
      assert.isUndefined(tables.confirmed.get(one))
    })))

  it.effect("has a gap since its last proof of reception if the next node cannot connect", () =>
    Effect.scoped(Effect.gen(function*() {
      const { from, gaps, tables, to } = yield* twoNodes
      to.gateway.mode = "transport"
      yield* from.lose
      to.gain()
      yield* pass("1 second", "100 millis")
      assert.strictEqual(tables.readState(one), "Backoff")
      assert.deepStrictEqual(gaps(), ["gap.opened"])
      yield* pass(listenMax + 1000)
      assert.deepStrictEqual(from.gateway.live(one), [], "it does not listen for ever")
    })))

  it.effect("has a gap if no node claims it, and its session ends after its time limit", () =>
    Effect.scoped(Effect.gen(function*() {
      const { from, gaps } = yield* twoNodes
      yield* from.lose
      yield* pass(listenMax - 1000)
      assert.strictEqual(from.gateway.live(one).length, 1)
      assert.deepStrictEqual(gaps(), [])
      yield* pass("2 seconds")
      assert.deepStrictEqual(from.gateway.live(one), [])
      assert.deepStrictEqual(gaps(), ["gap.opened"])
    })))

  it.effect("has no third session: if it moves on before its first move is settled, the first session is closed first", () =>
    Effect.scoped(Effect.gen(function*() {
      const { from, tables, to } = yield* twoNodes
      const third = yield* nodeOf(tables, false)
      from.gateway.live(one)[0]!.answersClose = false
      yield* from.lose
      to.gain()
      yield* pass("1 second", "100 millis")
      assert.strictEqual(to.gateway.live(one).length, 1)
      yield* to.lose
      assert.deepStrictEqual(to.gateway.live(one), [])
      third.gain()
      yield* pass("1 second", "100 millis")
      assert.strictEqual(third.gateway.live(one).length, 1)
    })))

  it.effect("closes its session first if its account is not connected, its gateway allows no second session, or there is no database", () =>
    Effect.scoped(Effect.gen(function*() {
      for (const why of ["offline", "single", "away"]) {
        const { from, tables } = yield* twoNodes
        if (why === "offline") {
          from.gateway.answer = offline
          from.gateway.live(one)[0]!.say({ _tag: "UpstreamDisconnected", reason: null })
          yield* settle
        }
        if (why === "single") Object.assign(from.gateway.capabilities, { overlap: false })
        if (why === "away") from.around.passesOn = false
        yield* from.lose
        assert.deepStrictEqual(from.gateway.live(one), [], why)
        assert.strictEqual(tables.transitions(one).at(-1)?.rule, "moved")
      }
    })))
})

describe("a node that stops", () => {
  it.effect("keeps its sessions until other nodes have its devices, as long as the stop allows", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      const to = yield* nodeOf(tables, false)
      let live = () => 0
      const stopped = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
        const from = yield* nodeOf(tables, true, true)
        live = () => from.gateway.live(one).length
        yield* from.close
        assert.strictEqual(tables.transitions(one).at(-1)?.rule, "fleet-stopped")
      })))
      yield* pass("3 seconds")
      assert.strictEqual(live(), 1)
      to.gain()
      yield* pass("1 second", "100 millis")
      assert.strictEqual(live(), 0)
      assert.strictEqual(to.gateway.live(one).length, 1)
      assert.isDefined(stopped.pollUnsafe())
      assert.isBelow(Duration.toMillis(passMax), listenMax)
    })))

  it.effect("closes its sessions first if there is no other node", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      const from = yield* nodeOf(tables, true)
      from.around.successors = false
      yield* from.close
      assert.deepStrictEqual(from.gateway.live(one), [])
      assert.deepStrictEqual(tables.drafts.filter(({ kind }) => kind === "gap.opened").length, 1)
    })))
})
