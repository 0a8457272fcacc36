/** Reads of one device or one chat move from block to block of the log: in order, no further than the page, and bounded. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { LogStore } from "../../../src/log/LogStore.ts"
import type { DeviceId } from "../../../src/domain/Ids.ts"
import { MessageRepository } from "../../../src/services/MessageRepository.ts"
import { blocksMax } from "../../../src/layers/postgres/deviceBlocks.ts"
import { scanSpan } from "../../../src/layers/postgres/eventReads.ts"
import { freshDevice } from "../../support/drafts.ts"
import { layerFreshPostgres } from "../../support/storage.ts"

const blockEvents = 65_536
const chat = "asked"
const bytesMax = 1_000_000

/** Messages of a device by number: those of the chat, and as many of others as the condition selects. */
const insertMessages = (sql: SqlClient.SqlClient, device: DeviceId, rows: string, isAsked: string) =>
  sql.unsafe(
    `insert into events (seq, id, kind, device_id, occurred_at, recorded_at, via, message, chat, bytes, data)
    select seq, gen_random_uuid(), 'message.received', '${device}', '2026-11-22T10:00:00Z', now(), 'live',
      gen_random_uuid(), case when ${isAsked} then '${chat}' else 'other' end, 10,
      json_build_object('waId', 'w' || seq, 'chat', 'c', 'sender', 's', 'type', 'text', 'body', 'b' || seq)
    from (${rows}) r(seq)`
  )

/** Rows of events that were read, and index scans: one for each look into a block. Of this session, so in a transaction. */
const countReads = Effect.fnUntraced(function*<A, E, R>(read: Effect.Effect<A, E, R>) {
  const sql = yield* SqlClient.SqlClient
  const counters = sql<{ rows: number; scans: number }>`
    select (sum(idx_tup_fetch) + sum(seq_tup_read))::float8 as rows, (sum(idx_scan) + sum(seq_scan))::float8 as scans
    from pg_stat_xact_user_tables where relname like 'events_%'
  `.pipe(Effect.map((rows) => rows[0]!))
  return yield* sql.withTransaction(Effect.gen(function*() {
    const before = yield* counters
    const answer = yield* read
    const after = yield* counters
    return { answer, rows: after.rows - before.rows, scans: after.scans - before.scans }
  }))
})

it.live("a page of a device or a chat reads about as many events as it has, however many other events there are", () =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const store = yield* LogStore
    const messages = yield* MessageRepository
    const device = freshDevice()
    // In each of 20 blocks 1,500 messages of the device, 150 of them of the chat, and as many of another device.
    yield* insertMessages(sql, device, `select i * 44 from generate_series(1, 30000) i`, "(seq / 44) % 10 = 0")
    yield* insertMessages(sql, freshDevice(), `select i * 44 + 22 from generate_series(1, 30000) i`, "false")
    yield* sql`analyze events`
    const filter = { device, limit: 50 }
    const middle = 30 * blockEvents / 3
    const pages: Record<string, Effect.Effect<number, unknown>> = {
      chat: messages.list({ ...filter, chat }).pipe(Effect.map(({ items }) => items.length)),
      messages: messages.list(filter).pipe(Effect.map(({ items }) => items.length)),
      events: store.read({ ...filter, after: middle, anchor: 0, bytesMax }).pipe(
        Effect.map(({ events }) => events.length)
      ),
      latest: store.latest(filter).pipe(Effect.map((events) => events.length))
    }
    for (const [name, page] of Object.entries(pages)) {
      const { answer, rows, scans } = yield* countReads(page)
      assert.strictEqual(answer, 50, name)
      assert.isAtMost(rows, 6 * 50, `${name}: rows`)
      assert.isAtMost(scans, 200, `${name}: index scans`)
    }
    const { answer, rows, scans } = yield* countReads(messages.list({ ...filter, device: freshDevice() }))
    assert.deepStrictEqual(answer, { items: [], next: null })
    assert.isAtMost(rows, 10)
    assert.isAtMost(scans, 100)
  }).pipe(Effect.provide(layerFreshPostgres)))

it.live("an erasure on an empty log forgets the account of the device too", () =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const store = yield* LogStore
    const device = freshDevice()
    yield* sql`insert into devices (id, name, gateway, upstream_id, jid, phone)
      values (${device}, 'kasir', 'default', 'one', '628111@s.whatsapp.net', '628111')`
    assert.strictEqual(yield* store.erase(device, null), 0)
    assert.deepStrictEqual(yield* sql`select jid, phone from devices where id = ${device}`, [{
      jid: null,
      phone: null
    }])
  }).pipe(Effect.provide(layerFreshPostgres)))

it.live("a page that has looked into its share of blocks returns where to continue; the newest events and an erasure skip none", () =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const store = yield* LogStore
    const messages = yield* MessageRepository
    const device = freshDevice()
    const second = (blocksMax + 10) * blockEvents + 7
    yield* sql`select columba_extend(${second})`
    yield* insertMessages(sql, device, `values (1::bigint), (${second})`, "true")

    const read = (after: number) => store.read({ device, after, limit: 10, anchor: 0, bytesMax })
    const [first, next] = [yield* read(0), yield* read(blocksMax * blockEvents - 1)]
    assert.deepStrictEqual(first.events.map(({ seq }) => seq), [1])
    assert.strictEqual(first.through, blocksMax * blockEvents - 1)
    assert.deepStrictEqual([next.events.map(({ seq }) => seq), next.through], [[second], second])

    assert.deepStrictEqual((yield* store.latest({ device, limit: 10 })).map(({ seq }) => seq), [second, 1])

    for (const filter of [{ device }, { device, chat }]) {
      const newest = yield* messages.list({ ...filter, limit: 10 })
      assert.deepStrictEqual(newest.items.map(({ body }) => body), [`b${second}`])
      const older = yield* messages.list({ ...filter, limit: 10, cursor: newest.next ?? "" })
      assert.deepStrictEqual(older.items.map(({ body }) => body), ["b1"])
      assert.isNull(older.next)
    }
    assert.strictEqual(yield* store.erase(device, null), 2)
  }).pipe(Effect.provide(layerFreshPostgres)))

it.live("a page of a rare kind looks at a bounded number of events, of all or of one device, and returns where to continue", () =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const store = yield* LogStore
    const device = freshDevice()
    const rare = scanSpan + 5_000
    // Every number is an event of the device, and one of them is no message.
    yield* insertMessages(sql, device, `select generate_series(1, ${rare + 10})`, "true")
    yield* sql`update events set kind = 'device.state', message = null, chat = null where seq = ${rare}`
    yield* sql`analyze events`
    for (const filter of [{ kinds: ["device.state"] }, { device, kinds: ["gateway.event"] }] as const) {
      const read = (after: number) => store.read({ ...filter, after, limit: 10, anchor: 0, bytesMax })
      const { answer: first, rows } = yield* countReads(read(0))
      assert.deepStrictEqual(first.events, [])
      assert.isAtLeast(first.through, scanSpan - 1, "it looks at its whole share")
      assert.isAtMost(first.through, scanSpan, "and at no more")
      assert.isAtMost(rows, 2.5 * scanSpan)
      const next = yield* read(first.through)
      assert.deepStrictEqual(next.events.map(({ seq }) => seq), "device" in filter ? [] : [rare])
      assert.strictEqual(next.through, rare + 10)
    }
  }).pipe(Effect.provide(layerFreshPostgres)))
