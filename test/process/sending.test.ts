/**
 * The program is killed without warning, again and again, while it sends, and connections to the gateway are reset before
 * or after a message was sent. A client repeats each request with its idempotency key until it is accepted. The gateway's
 * own ledger is the witness: no message was sent twice, none that was accepted is missing without a record, and the status
 * of each is what really happened.
 *
 * `COLUMBA_TEST_SENDS` and `COLUMBA_TEST_KILLS` make it larger, such as 10,000 and 20.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SimulatorCore } from "../../src/simulator/SimulatorCore.ts"
import { seeded } from "../../src/simulator/Seeded.ts"
import { freshDatabase } from "../support/database.ts"
import { until, untilSo } from "../support/until.ts"
import type * as ColumbaProcess from "./support/ColumbaProcess.ts"
import { startSimulated } from "./support/simulated.ts"

const count = (name: string, usual: number): number => Number(process.env[name] ?? usual)

const sends = count("COLUMBA_TEST_SENDS", 600)
const kills = count("COLUMBA_TEST_KILLS", 3)
const devices = 10
const recipients = 40
const resetShare = 0.02
/** Requests of the client in flight at once. */
const clients = 16

const seed = process.env["COLUMBA_TEST_SEED"] ?? "sending"

interface SentMessage {
  readonly id: string
  readonly body: string
  readonly waId: string | null
  readonly status: string
  readonly sending: { readonly reason: string | null }
}

interface Page {
  readonly items: ReadonlyArray<SentMessage>
  readonly next: string | null
}

/** The messages that the gateway has sent, by text. */
const ledgerOf = (core: SimulatorCore): ReadonlyMap<string, ReadonlyArray<string>> => {
  const byText = new Map<string, Array<string>>()
  for (const { id, sent } of core.ledger.entries()) {
    if (sent !== undefined) byText.set(sent.text, [...byText.get(sent.text) ?? [], id])
  }
  return byText
}

/** Repeated with the same key until it is answered, as by a client whose connection broke. */
const post = (url: string, device: string, n: number): Effect.Effect<string> =>
  untilSo(
    `message ${n} is accepted`,
    Effect.promise(async () => {
      try {
        const response = await fetch(`${url}/api/v1/devices/${device}/messages`, {
          method: "POST",
          headers: { "content-type": "application/json", "idempotency-key": `key-${n}` },
          body: JSON.stringify({ to: `62812000${String(n % recipients).padStart(4, "0")}`, text: `message ${n}` }),
          signal: AbortSignal.timeout(15_000)
        })
        const body = await response.json() as { readonly id: string }
        return response.status === 202 ? body.id : null
      } catch {
        return null
      }
    }),
    (id) => id !== null
  ).pipe(Effect.map((id) => id ?? ""), Effect.orDie)

const listAll = Effect.fnUntraced(function*(columba: ColumbaProcess.ColumbaProcess) {
  const all: Array<SentMessage> = []
  for (let cursor = "";;) {
    const { items, next } = yield* columba.get<Page>(`/api/v1/messages?limit=1000${cursor}`)
    all.push(...items)
    if (next === null) return all
    cursor = `&cursor=${next}`
  }
})

const countOf = (columba: ColumbaProcess.ColumbaProcess, status: string) =>
  Effect.map(columba.get<Page>(`/api/v1/messages?status=${status}&limit=1000`), ({ items }) => items.length)

const killedWhileSending = Effect.fnUntraced(function*(databaseUrl: string | null) {
  const { columba, core, ids } = yield* startSimulated({ seed, devices, databaseUrl })
  const half = ids.length / 2
  const slots = ids.map((_, index) => `slot-${index + 1}`)
  // On half of the slots the message is sent and the answer lost, on the others it is not sent.
  core.applyFault({ kind: "send", when: "after", probability: resetShare, devices: slots.slice(0, half) })
  core.applyFault({ kind: "send", when: "before", probability: resetShare, devices: slots.slice(half) })
  const accepted = new Map<string, number>()
  const client = Effect.forEach(
    Array.from({ length: sends }, (_, n) => n),
    (n) => Effect.map(post(columba.url, ids[n % devices]!, n), (id) => accepted.set(id, n)),
    { concurrency: clients, discard: true }
  )
  const random = seeded(seed)
  const killer = Effect.gen(function*() {
    for (let kill = 1; kill <= kills; kill++) {
      const moment = Math.floor((kill - 0.8 + 0.6 * random.next()) * sends / (kills + 1))
      yield* until(`${moment} messages were sent`, Effect.sync(() => ledgerOf(core).size >= moment), "10 minutes")
      yield* columba.kill
      yield* columba.start
    }
  })
  yield* Effect.all([client, killer], { concurrency: 2 })
  assert.strictEqual(accepted.size, sends, "each request is a message of its own")
  yield* until("nothing waits", Effect.map(countOf(columba, "pending"), (left) => left === 0), "10 minutes")
  const doubtful = yield* countOf(columba, "unknown")
  const settled = yield* columba.metric("columba_send_doubts_settled_total")
  const unknownMax = Math.floor(Math.min((doubtful + settled) / 10, sends * 0.005))
  yield* until(
    "nine of ten doubts are settled, and few messages are left in doubt",
    Effect.map(countOf(columba, "unknown"), (left) => left <= unknownMax),
    "10 minutes"
  )
  const messages = yield* listAll(columba)
  const ledger = ledgerOf(core)
  const events = yield* columba.get<{ readonly items: ReadonlyArray<unknown> }>(
    "/api/v1/events?after=0&kind=message.status&limit=1000"
  )
  yield* columba.terminate
  const unknown = messages.filter(({ status }) => status === "unknown").length
  const failed = messages.filter(({ status }) => status === "failed").length
  console.log(
    `seed ${seed}; ${sends} messages, ${kills} kills; ${ledger.size} sent, ${failed} failed, ${unknown} still unknown ` +
      `(${doubtful} were in doubt at the end, ${settled} settled by then); ${events.items.length} events of outcomes on the first page`
  )
  assert.deepStrictEqual([...ledger].filter(([, waIds]) => waIds.length > 1), [], "sent twice")
  assert.strictEqual(new Set(messages.map(({ id }) => id)).size, sends)
  const untrue = messages.filter(({ body, status, waId }) => {
    const sent = ledger.get(body)?.[0] ?? null
    if (status === "unknown") return false
    return status === "failed" ? sent !== null : sent === null || sent !== waId
  })
  assert.deepStrictEqual(untrue, [], "a status that is not what the gateway did")
  assert.isAtMost(unknown, unknownMax)
})

describe(`killed ${kills} times in the middle of ${sends} messages to send`, () => {
  it.live("sends none twice and accounts for all, on Postgres", () =>
    Effect.gen(function*() {
      yield* killedWhileSending(yield* freshDatabase)
    }), 1_800_000)
})
