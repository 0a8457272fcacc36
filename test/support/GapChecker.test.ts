/** The checker finds false statements in the ledger of gaps. */
import { assert, it } from "@effect/vitest"
import type { Gap } from "../../src/domain/Gap.ts"
import { checkGaps } from "./GapChecker.ts"
import type { Committed, TimedEmitted } from "./Ledger.ts"

const at = Date.parse("2026-11-26T18:59:30Z")

const gap = {
  deviceId: "dev_1",
  openedAt: "2026-11-26T18:59:20Z",
  endedAt: "2026-11-26T18:59:40Z",
  proven: ["messages", "other-messages", "acks"]
} as unknown as Gap

/** A sent message that is in the log with its first ack; it was read during the gap. */
const check = (more: ReadonlyArray<TimedEmitted>) => {
  const emit = (event: string, change: object): TimedEmitted => ({
    device: "slot-1",
    event,
    ids: ["OWN"],
    sockets: 1,
    at: at - 60_000,
    ...change
  })
  const commit = (seq: number, kind: string, data: object): Committed => ({
    seq,
    id: `id-${seq}`,
    kind,
    deviceId: "dev_1",
    via: "live",
    data: { waId: "OWN", ...data }
  })
  return checkGaps({
    gaps: [gap],
    emitted: [
      emit("message", { text: "hello" }),
      emit("message.ack", { status: "delivered" }),
      emit("message.ack", { status: "read", sockets: 0, at }),
      ...more
    ],
    committed: [commit(1, "message.sent", { body: "hello" }), commit(2, "message.ack", { status: "delivered" })],
    upstreamOf: new Map([["dev_1", "slot-1"]])
  })
}

it("reports a missing ack where the gap states that all acks are proven", () => {
  const { unnamed, untrue } = check([])
  assert.deepStrictEqual([unnamed.length, untrue.length], [0, 1])
  assert.include(untrue[0], "message.ack OWN read")
})

/** A gateway that posts: messages, one that came later from the history, and an ack lost after the first message. */
const checkWebhooks = (more: ReadonlyArray<Partial<TimedEmitted>>, byWebhook = true) => {
  const emitted = ["A", "B", "C"].map((id, index) => ({
    device: "slot-1",
    event: "message",
    ids: [id],
    sockets: 1,
    at: at + index * 1000
  }))
  const lost = { device: "slot-1", event: "message.ack", ids: ["OWN"], status: "read", sockets: 1, at: at + 500 }
  const committed = emitted.map(({ ids: [waId] }, index) => ({
    seq: index + 1,
    id: `id-${waId}`,
    kind: "message.received",
    deviceId: "dev_1",
    via: waId === "B" ? "backfill" : "webhook",
    data: { waId }
  }))
  return checkGaps({
    gaps: [],
    byWebhook,
    emitted: [...emitted, lost, ...more.map((change) => ({ ...lost, ...change }))],
    committed,
    upstreamOf: new Map([["dev_1", "slot-1"]])
  })
}

it("requires a gap for a lost webhook next to a lost message of another account, and none for an ack lost alone", () => {
  const { unnamed, untold } = checkWebhooks([{ ids: ["LATER"], at: at + 2500 }])
  assert.deepStrictEqual([unnamed.length, untold.length], [1, 1])
  assert.include(unnamed[0], "message.ack OWN read")
  assert.include(untold[0], "message.ack LATER read")
  assert.lengthOf(checkWebhooks([{ ids: ["LATER"], at: at + 2500 }], false).unnamed, 2)
})

it("does not require the ack of a revoked message, which no history has", () => {
  const revoked = { device: "slot-1", event: "message.revoked", ids: ["R"], target: "OWN", sockets: 0, at }
  const { untrue } = check([revoked])
  assert.deepStrictEqual(untrue, [])
})
