/**
 * Many messages are due within one minute, in which the program is killed three times, each time before it has received the
 * last answers of the gateway. The gateway's ledger and the database's times are the witnesses: none is sent before its
 * time, none twice, and none is missing; and messages that are due while the program runs start within two seconds.
 *
 * `COLUMBA_TEST_DUE` makes the test larger, such as 10,000.
 */
import { PgTypes } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SimulatorCore } from "../../src/simulator/SimulatorCore.ts"
import { freshDatabase } from "../support/database.ts"
import { query } from "../support/Ledger.ts"
import { until } from "../support/until.ts"
import { startSimulated } from "./support/simulated.ts"

const messages = Number(process.env["COLUMBA_TEST_DUE"] ?? 300)
const devices = 20
const recipients = 40
const minute = 60_000
/** Requests of the client in flight at once. */
const clients = 16

/** Messages due in the first part of the minute have an undisturbed program. */
const undisturbed = 12_000
const kills = [undisturbed, 2 * undisturbed, 3 * undisturbed]
const latenessMax = 2000

/** Before each kill some messages are sent whose answers do not come: the next process must not send them again. */
const lastMoment = 1000
const sentInLastMoment = 3

interface Row {
  readonly text: string
  readonly due_ms: number
  readonly claimed_ms: number | null
  readonly attempts: number
}

const rowsOf = (url: string): Effect.Effect<ReadonlyArray<Row>> =>
  query<Row>(
    url,
    `select content->'content'->>'text' as text, attempts, (extract(epoch from due_at) * 1000)::float8 as due_ms,
      (extract(epoch from claimed_at) * 1000)::float8 as claimed_ms from sends`
  )

const areAllSent = (url: string): Effect.Effect<boolean> =>
  Effect.map(query(url, "select from sends where state <> 'sent' limit 1"), (left) => left.length === 0)

const bringForward = (url: string, millis: number): Effect.Effect<void> =>
  Effect.asVoid(query(
    url,
    `update sends set due_at = due_at - m.by, scheduled_at = scheduled_at - m.by, expires_at = expires_at - m.by
    from (select $1::float8 * interval '1 millisecond' as by) m`,
    [PgTypes.float8(millis)]
  ))

const atMost = (sorted: ReadonlyArray<number>, share: number): number =>
  Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)

/** The messages that the gateway has sent, and their times. */
const sentBy = (core: SimulatorCore): ReadonlyArray<readonly [text: string, at: number]> =>
  core.ledger.entries().flatMap(({ at, sent }) => sent === undefined ? [] : [[sent.text, at] as const])

describe(`${messages} messages that are due within one minute, in which the program is killed ${kills.length} times`, () => {
  it.live(
    "sends none early, none twice and all of them, each within two seconds of its time",
    () =>
      Effect.gen(function*() {
        const databaseUrl = yield* freshDatabase
        const { columba, core, ids } = yield* startSimulated({ seed: "due", devices, databaseUrl })
        // Stored for tomorrow, however long that takes, and then moved to now all at once.
        const tomorrow = Date.now() + 24 * 60 * minute
        yield* Effect.forEach(
          Array.from({ length: messages }, (_, n) => n),
          (n) =>
            columba.post(`/api/v1/devices/${ids[n % devices]}/messages`, {
              to: `62812000${String(n % recipients).padStart(4, "0")}`,
              text: `message ${n}`,
              onUnknown: "retry",
              scheduledAt: new Date(tomorrow + Math.floor(n * minute / messages)).toISOString()
            }),
          { concurrency: clients, discard: true }
        )
        assert.lengthOf(sentBy(core), 0)
        const start = Date.now() + 10_000
        yield* bringForward(databaseUrl, tomorrow - start)
        assert.isBelow(Date.now(), start, "the times were changed too late for the test to mean something")
        for (const kill of kills) {
          yield* Effect.sleep(start + kill - lastMoment - Date.now())
          core.applyFault({ kind: "send", when: "after", answer: "none", times: sentInLastMoment })
          yield* Effect.sleep(start + kill - Date.now())
          yield* columba.kill
          core.clearFaults()
          yield* columba.start
        }
        yield* until(
          "everything is sent",
          areAllSent(databaseUrl),
          "10 minutes"
        )
        const rows = yield* rowsOf(databaseUrl)
        const sent = sentBy(core)
        const texts = sent.map(([text]) => text)
        const sentAt = new Map(sent)
        const early = rows.filter(({ due_ms, text }) => (sentAt.get(text) ?? 0) < due_ms)
        const punctual = rows.filter(({ due_ms }) => due_ms < start + undisturbed - latenessMax)
        // Messages in flight at a kill are claimed again after the doubt has passed.
        const lateness = punctual.filter(({ attempts }) => attempts === 1)
          .map(({ claimed_ms, due_ms }) => (claimed_ms ?? Infinity) - due_ms).sort((one, other) => one - other)
        const late = atMost(lateness, 1)
        console.log(
          `${messages} messages, ${kills.length} kills: ${texts.length} sent, ${early.length} early, ` +
            `${texts.length - new Set(texts).size} twice, ${rows.length - new Set(texts).size} missing; ` +
            `${
              rows.filter(({ attempts }) => attempts > 1).length
            } were tried again; of ${lateness.length} before the first ` +
            `kill half were at most ${atMost(lateness, 0.5)} ms late, 99 % ${atMost(lateness, 0.99)} ms, all ${late} ms`
        )
        assert.strictEqual(rows.length, messages)
        assert.deepStrictEqual(early, [])
        assert.deepStrictEqual([...texts].sort(), rows.map(({ text }) => text).sort(), "each once")
        assert.isAtMost(late, latenessMax)
        assert.strictEqual(lateness.length, punctual.length, "what was due two seconds before the kill had been sent")
        yield* columba.terminate
      }),
    1_800_000
  )
})
