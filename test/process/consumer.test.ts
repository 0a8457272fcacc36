/**
 * The program is killed without warning while it passes incoming messages to the handler of examples/messageHandler.ts.
 * The handler's writes must be there exactly once for each message, with a broker and without one.
 */
import { assert, describe, it } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { join } from "node:path"
import { freshVhost } from "../support/broker.ts"
import { freshDatabase } from "../support/database.ts"
import { readLog } from "../support/Ledger.ts"
import { until } from "../support/until.ts"
import * as Rig from "./support/Rig.ts"

const handler = join(import.meta.dirname, "../../examples/messageHandler.ts")

const devices = 10
/** Events emitted between two kills. */
const each = 300
const rate = 120
const kills = 4

const exactlyOnce = Effect.fnUntraced(function*(seed: string, rabbitUrl: string | null) {
  const databaseUrl = yield* freshDatabase
  const client = yield* PgClient.makeClient({ url: Redacted.make(databaseUrl) }).pipe(Effect.provide(Reactivity.layer))
  yield* client.unsafe(
    "create table shop_messages (device text not null, chat text not null, wa_id text not null, body text)"
  )
  const rig = yield* Rig.make({ databaseUrl, rabbitUrl, devices, seed, env: { COLUMBA_HANDLERS: handler } })
  const { columba } = rig
  const stored = Effect.map(
    client.unsafe<{ id: string }>(`select device || ' ' || wa_id as id from shop_messages`),
    (rows) => rows.map(({ id }) => id)
  )
  yield* rig.killedUnderLoad({ kills, each, rate })
  // Messages missed by the kills are in the log once its history was read.
  yield* rig.gaps
  yield* rig.settled
  const wanted = (yield* readLog(databaseUrl)).flatMap((row) => {
    const { data, deviceId, kind } = row
    return kind === "message.received" && data["body"] !== null ? [`${deviceId} ${data["waId"]}`] : []
  })
  assert.isAbove(wanted.length, 100)
  yield* until("every message was handled", Effect.map(stored, (ids) => new Set(ids).size >= new Set(wanted).size))
  assert.deepStrictEqual((yield* stored).toSorted(), wanted.toSorted())
  const ready = yield* columba.readiness
  const check = ready?.checks.find(({ name }) => name === "consumer")
  assert.include(check?.detail, rabbitUrl === null ? "the log is read for shop" : "'columba.messages.incoming'")
  assert.strictEqual((yield* columba.terminate).code, 0)
})

describe("killed four times while messages are handled", () => {
  it.live("writes exactly once for each message of the queue", () =>
    Effect.flatMap(freshVhost, (url) => exactlyOnce("consumer", url)))

  it.live("writes exactly once for each message of the log, without a broker", () =>
    exactlyOnce("consumer without a broker", null))
})
