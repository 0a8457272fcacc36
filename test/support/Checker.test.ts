import { assert, describe, it } from "@effect/vitest"
import { assertNothingMissed, assertSound, check, report } from "./Checker.ts"
import type { Consumed, Handled, Ledgers, Violation } from "./Checker.ts"
import type { Committed, Delivered, Emitted, Streamed } from "./Ledger.ts"

/** Two devices with five messages each, all committed and delivered, and one ack of two messages. */
const sound = (): {
  emitted: Array<Emitted>
  committed: Array<Committed>
  delivered: Array<Delivered>
  streamed: Array<Streamed>
  witnessed: Array<string>
  upstreamOf: Map<string, string>
  posted?: Array<Delivered>
  forged?: Array<string>
  consumed?: Consumed
  regressed?: Array<string>
} => {
  const emitted: Array<Emitted> = []
  const committed: Array<Committed> = []
  const commit = (device: string, kind: string, waId: string, more: object) =>
    committed.push({
      seq: committed.length + 1,
      id: `id-${committed.length + 1}`,
      kind,
      deviceId: `dev_${device}`,
      via: "live",
      data: { waId, chat: "c", sender: "s", fromMe: false, ...more }
    })
  for (let index = 0; index < 10; index++) {
    const device = index % 2 === 0 ? "even" : "odd"
    emitted.push({ device, event: "message", ids: [`WA${index}`], sockets: 1 })
    commit(device, "message.received", `WA${index}`, {})
  }
  emitted.push({ device: "even", event: "message.ack", ids: ["OUT1", "OUT2"], status: "read", sockets: 1 })
  for (const waId of ["OUT1", "OUT2"]) commit("even", "message.ack", waId, { status: "read" })
  return {
    emitted,
    committed,
    delivered: committed.map((row) => makeDelivery(row)),
    streamed: committed.map(({ id, seq }) => ({ id, seq })),
    witnessed: ["id-1", "id-4"],
    upstreamOf: new Map([["dev_even", "even"], ["dev_odd", "odd"]])
  }
}

const makeDelivery = (row: Committed, redelivered = false): Delivered => ({
  messageId: row.id,
  seq: row.seq,
  kind: row.kind,
  deviceId: row.deviceId,
  redelivered
})

type Plant = (ledgers: ReturnType<typeof sound>) => void

const planted: Record<Violation, Plant> = {
  lost: ({ delivered }) => delivered.splice(3, 1),
  unexpected: ({ delivered }) => delivered.push({ ...delivered[0]!, messageId: "id-99", seq: 99 }),
  split: ({ delivered }) => delivered.push({ ...delivered[0]!, messageId: "id-other" }),
  reordered: ({ delivered }) => delivered.splice(0, 3, delivered[2]!, delivered[1]!, delivered[0]!),
  broken: ({ streamed }) => streamed.splice(4, 1),
  hole: ({ committed, delivered, streamed }) => {
    committed.splice(5, 1)
    delivered.splice(5, 1)
    streamed.splice(5, 1)
  },
  doubled: ({ committed, delivered }) => {
    const again = { ...committed[0]!, seq: 13, id: "id-13" }
    committed.push(again)
    delivered.push(makeDelivery(again))
  },
  vanished: ({ witnessed }) => witnessed.push("id-seen-once"),
  invented: ({ emitted }) => emitted.splice(4, 1),
  forged: (ledgers) => {
    ledgers.forged = ["1 id-1"]
  },
  repeated: (ledgers) => {
    ledgers.consumed = { from: 0, handled: ledgers.committed.map(({ id }) => id), stored: ["even WA0", "even WA0"] }
  },
  regressed: (ledgers) => {
    ledgers.regressed = ["msg_1 is sent and was read"]
  },
  altered: ({ committed, emitted }) => {
    emitted[2] = { ...emitted[2]!, text: "hello" }
    committed[2] = { ...committed[2]!, data: { ...committed[2]!.data, body: "goodbye" } }
  }
}

const violated = (ledgers: Ledgers) =>
  Object.entries(check(ledgers).violations).filter(([, found]) => found.length > 0).map(([name]) => name)

describe("Checker", () => {
  it("finds nothing in a run that kept every promise", () => {
    assertSound(check(sound()))
    assertNothingMissed(check(sound()))
  })

  for (const [violation, plant] of Object.entries(planted)) {
    it(`finds a planted violation: ${violation}`, () => {
      const ledgers = sound()
      plant(ledgers)
      const verdict = check(ledgers)
      assert.include(violated(ledgers), violation)
      assert.throws(() => assertSound(verdict), new RegExp(`${violation.toUpperCase()} \\d`))
    })
  }

  it("finds an ack of which only one of two messages was committed", () => {
    const ledgers = sound()
    ledgers.committed.pop()
    ledgers.delivered.pop()
    assert.throws(() => assertNothingMissed(check(ledgers)), /OUT2/)
  })

  it("finds a delivery whose number, kind or device differs from the log", () => {
    for (const wrong of [{ seq: 2 }, { kind: "message.sent" }, { deviceId: "dev_odd" }]) {
      const ledgers = sound()
      ledgers.delivered[0] = { ...ledgers.delivered[0]!, ...wrong }
      assert.include(violated(ledgers), "unexpected")
    }
  })

  it("finds a log that does not start with number 1", () => {
    const ledgers = sound()
    ledgers.committed.shift()
    ledgers.delivered.shift()
    assert.include(violated(ledgers), "hole")
  })

  it("counts a second delivery under the same message id without a violation, whether Columba or the broker repeated it", () => {
    const ledgers = sound()
    ledgers.delivered.push(makeDelivery(ledgers.committed[0]!), makeDelivery(ledgers.committed[1]!, true))
    const verdict = check(ledgers)
    assertSound(verdict)
    assert.strictEqual(verdict.counts.repeated, 1)
    assert.strictEqual(verdict.counts.redelivered, 1)
    assert.match(report(verdict), /repeated 1, redelivered 1/)
  })

  it("allows any order between the deliveries of different devices", () => {
    const ledgers = sound()
    ledgers.delivered.sort((left, right) => left.deviceId.localeCompare(right.deviceId) || left.seq - right.seq)
    assertSound(check(ledgers))
  })

  it("finds a message that the history has and the log does not, delivered live or not, unless it was revoked", () => {
    const ledgers = sound()
    ledgers.emitted.push({ device: "even", event: "message", ids: ["UNHEARD"], sockets: 0 })
    assert.deepStrictEqual(check(ledgers).unrecovered, ["even message UNHEARD"])
    ledgers.emitted.push({ device: "even", event: "message.revoked", ids: ["R"], sockets: 0, target: "UNHEARD" })
    assert.deepStrictEqual(check(ledgers).unrecovered, [])
  })

  it("judges the endpoint of a subscription like the broker", () => {
    for (const violation of ["lost", "unexpected", "split", "reordered"] as const) {
      const ledgers = sound()
      ledgers.posted = [...ledgers.delivered]
      assertSound(check(ledgers))
      planted[violation]({ ...ledgers, delivered: ledgers.posted })
      assert.match(check(ledgers).violations[violation].join(), /endpoint: /, violation)
    }
  })

  it("finds an event that a consumer did not handle, except events from before its queue was deleted", () => {
    const ledgers = sound()
    const handled = ledgers.committed.map(({ id }) => id)
    ledgers.consumed = { from: 0, handled: handled.slice(1), stored: [] }
    assert.deepStrictEqual(check(ledgers).violations.lost, ["consumer: 1 message.received dev_even"])
    ledgers.consumed = { ...ledgers.consumed, from: 1 }
    assertSound(check(ledgers))
  })

  it("requires that the handler notes and writes each incoming message once", () => {
    const ledgers = sound()
    const received = ledgers.committed.filter(({ kind }) => kind === "message.received")
    for (const row of received) Object.assign(row.data, { body: "hello" })
    const noted = received.map(({ id }) => id)
    const written = received.map(({ data, deviceId }) => `${deviceId} ${String(data["waId"])}`)
    const judge = (handled: Handled) => {
      const { lost, repeated, unexpected } = check({ ...ledgers, handled }).violations
      return { lost, repeated, unexpected }
    }
    const none = { lost: [], repeated: [], unexpected: [] }
    assert.deepStrictEqual(judge({ noted, written }), none)
    assert.deepStrictEqual(judge({ noted: noted.slice(1), written: written.slice(1) }), {
      ...none,
      lost: ["handler: 1 message.received dev_even"]
    })
    assert.deepStrictEqual(judge({ noted, written: written.slice(1) }), {
      ...none,
      lost: ["handler: 1 message.received dev_even, which is noted"]
    })
    assert.deepStrictEqual(judge({ noted, written: [...written, "dev_even WA0", "dev_even none"] }), {
      lost: [],
      repeated: ["handler: dev_even WA0, 2 times"],
      unexpected: ["handler: dev_even none"]
    })
  })

  it("requires no message that the gateway does not keep in its history", () => {
    const ledgers = sound()
    ledgers.emitted.push({ device: "even", event: "message", ids: ["POLL"], sockets: 0, kept: false })
    assert.deepStrictEqual(check(ledgers).unrecovered, [])
  })

  it("accepts an ack that a message implies, and reports one that nothing implies as invented", () => {
    const ledgers = sound()
    ledgers.emitted[0] = { ...ledgers.emitted[0]!, implied: ["sent"] }
    const commit = (status: string) => {
      const seq = ledgers.committed.length + 1
      const row = {
        seq,
        id: `id-${seq}`,
        kind: "message.ack",
        deviceId: "dev_even",
        via: "live",
        data: { waId: "WA0", status }
      }
      ledgers.committed.push(row)
      ledgers.delivered.push(makeDelivery(row))
      ledgers.streamed.push({ id: row.id, seq })
    }
    commit("sent")
    assertSound(check(ledgers))
    assertNothingMissed(check(ledgers))
    commit("read")
    assert.deepStrictEqual(check(ledgers).violations.invented, ["even message.ack WA0 read"])
  })

  it("finds a second row of a message whose chat and sender have another spelling", () => {
    const ledgers = sound()
    const [first] = ledgers.committed
    ledgers.committed.push({ ...first!, seq: 13, id: "id-13", data: { ...first!.data, chat: "lid", sender: "lid" } })
    assert.include(violated(ledgers), "doubled")
  })

  it("accepts the text of an edit for a message that was read from the history, but not for one that came live", () => {
    const ledgers = sound()
    ledgers.emitted[0] = { ...ledgers.emitted[0]!, text: "first" }
    ledgers.emitted.push({
      device: "even",
      event: "message.edited",
      ids: ["E"],
      sockets: 0,
      target: "WA0",
      text: "then"
    })
    const row = ledgers.committed[0]!
    ledgers.committed[0] = { ...row, via: "backfill", data: { ...row.data, body: "then" } }
    assertSound(check(ledgers))
    ledgers.committed[0] = { ...row, data: { ...row.data, body: "then" } }
    assert.include(violated(ledgers), "altered")
  })

  it("counts a reaction whose history row came first as received, once per row", () => {
    const ledgers = sound()
    const add = (ids: ReadonlyArray<string>, target: string) =>
      ledgers.emitted.push({ device: "even", event: "message.reaction", ids, sockets: 1, target })
    add(["R1"], "WA0")
    ledgers.committed.push({
      seq: ledgers.committed.length + 1,
      id: "id-r",
      kind: "message.reaction",
      deviceId: "dev_even",
      via: "backfill",
      data: { waId: "", targetWaId: "WA0", chat: "c", sender: "s", fromMe: false, body: "+" }
    })
    assert.deepStrictEqual(check(ledgers).missed, [])
    add(["R2"], "WA0")
    add(["R3"], "WA2")
    assert.lengthOf(check(ledgers).missed, 2)
  })

  it("counts events that no socket could receive apart from missed events", () => {
    const ledgers = sound()
    ledgers.emitted.push({ device: "odd", event: "message", ids: ["UNHEARD"], sockets: 0 })
    ledgers.emitted.push({ device: "odd", event: "chat_presence", ids: [], sockets: 1 })
    const verdict = check(ledgers)
    assertSound(verdict)
    assert.strictEqual(verdict.counts.unheard, 1)
    assert.deepStrictEqual(verdict.missed, ["odd chat_presence"])
    assert.throws(() => assertNothingMissed(verdict), /odd chat_presence/)
  })
})
