/** Reads over large tables: rare rows are found without scanning everything at once. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { EventLog } from "../../../src/services/EventLog.ts"
import { MessageRepository } from "../../../src/services/MessageRepository.ts"
import { encodeCursor } from "../../../src/services/pageCursor.ts"
import { freshDevice, messageDraft, stateDraft } from "../../support/drafts.ts"
import { layerFreshPostgres } from "../../support/storage.ts"

it.live("finds rare messages behind many others in bounded steps, and a chat of a device at once", () =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const messages = yield* MessageRepository
    const device = freshDevice()
    yield* sql.unsafe(
      `insert into events (seq, id, kind, device_id, occurred_at, recorded_at, via, message, chat, bytes, data)
      select i, gen_random_uuid(), 'message.received', '${device}', '2026-11-22T10:00:00Z', now(), 'live',
        md5(i::text)::uuid, case when i <= 3 then 'rare' else 'often' end, 10,
        json_build_object('waId', 'w' || i, 'chat', 'c', 'sender', 's', 'type', 'text', 'body', 'b' || i)
      from generate_series(1, 60000) i`
    )
    yield* sql`insert into message_status
      select md5(i::text)::uuid, 'played', i, now() from generate_series(1, 3) i`
    yield* sql`analyze events`
    for (
      const filter of [{ status: "played" as const }, { chat: "rare" }, {
        device,
        status: "played" as const
      }]
    ) {
      const first = yield* messages.list({ ...filter, limit: 10 })
      assert.deepStrictEqual(first.items, [])
      const second = yield* messages.list({ ...filter, limit: 2, cursor: first.next ?? "" })
      assert.deepStrictEqual(second.items.map((message) => message.body), ["b3", "b2"])
      const third = yield* messages.list({ ...filter, limit: 2, cursor: second.next ?? "" })
      assert.deepStrictEqual(third.items.map((message) => message.body), ["b1"])
      assert.isNull(third.next)
    }
    const direct = yield* messages.list({ device, chat: "rare", limit: 10 })
    assert.strictEqual(direct.items.length, 3)
    assert.isNull(direct.next)
  }).pipe(Effect.provide(layerFreshPostgres)))

it.live("lists a chat over many blocks of numbers and two partitions, newest first, page by page", () =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const messages = yield* MessageRepository
    const device = freshDevice()
    const seqs = [1, 65_535, 65_536, 65_537, 131_072, 131_073, 9_999_999, 10_000_000, 10_000_001]
    yield* sql`select columba_extend(10000001)`
    for (const [chat, offset] of [["asked", 0], ["other", 3]] as const) {
      yield* sql.unsafe(
        `insert into events (seq, id, kind, device_id, occurred_at, recorded_at, via, message, chat, bytes, data)
        select i + ${offset}, gen_random_uuid(), 'message.received', '${device}', '2026-11-22T10:00:00Z', now(), 'live',
          gen_random_uuid(), '${chat}', 10,
          json_build_object('waId', 'w' || i, 'chat', 'c', 'sender', 's', 'type', 'text', 'body', '${chat}' || i)
        from unnest(array[${seqs.join(", ")}]) i`
      )
    }
    const bodies: Array<string | null> = []
    let cursor: string | undefined
    do {
      const page = yield* messages.list({ device, chat: "asked", limit: 2, cursor })
      bodies.push(...page.items.map((message) => message.body))
      cursor = page.next ?? undefined
    } while (cursor !== undefined)
    assert.deepStrictEqual(bodies, seqs.toReversed().map((seq) => `asked${seq}`))
    // A number far beyond the head, which only an invented cursor has, reads no more blocks than there are.
    const beyond = yield* messages.list({ device, chat: "asked", limit: 1, cursor: encodeCursor("999999999999999") })
    assert.deepStrictEqual(beyond.items.map((message) => message.body), ["asked10000001"])
  }).pipe(Effect.provide(layerFreshPostgres)))

it.live("finds a device's states among its messages by an index", () =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const log = yield* EventLog
    const device = freshDevice()
    yield* log.append([stateDraft(device, "Inactive"), stateDraft(device, "LoggedOut"), messageDraft({ device })])
    const plan = yield* sql.unsafe<Record<string, string>>(
      `explain select * from events e where device_id = '${device}' and kind = 'device.state' order by seq desc limit 10`
    )
    const indexes = yield* sql<{ name: string }>`
      select inhrelid::regclass::text as name from pg_inherits where inhparent = 'events_state'::regclass
    `
    assert.isTrue(indexes.some(({ name }) => JSON.stringify(plan).includes(name)), JSON.stringify(plan))
    const events = yield* log.latest({ device, kinds: ["device.state"], limit: 10 })
    assert.deepStrictEqual(events.map((event) => event.seq), [2, 1])
  }).pipe(Effect.provide(layerFreshPostgres)))
