import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { freshDevice } from "../../support/drafts.ts"
import { layerFreshPostgres } from "../../support/storage.ts"

it.live("shows a name that was written by SQL, bypassing the API, in a valid form, and lists all devices", () =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const devices = yield* DeviceRepository
    const names = ["plain", "Shop\u001b[2J\nx", "", "x".repeat(200), "\u009b".repeat(119)]
    const ids = names.map(freshDevice)
    for (const [index, id] of ids.entries()) {
      yield* devices.insert({ id, name: "a", gateway: "default" as never, upstreamId: id as never })
      yield* sql`update devices set name = ${names[index]!} where id = ${id}`
    }
    const { items } = yield* devices.list({ limit: 10 })
    assert.deepStrictEqual(items.map(({ name }) => name), [
      "plain",
      "Shop\\x1b[2J\\nx",
      ids[2]!,
      "x".repeat(120),
      "\\x9b".repeat(30)
    ])
    assert.deepStrictEqual(yield* devices.get(ids[1]!), items[1])
  }).pipe(Effect.provide(layerFreshPostgres)))

it.live("distinguishes a refusal of the server, as with a full disk, from a server that did not answer", () =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const devices = yield* DeviceRepository
    yield* sql.unsafe(
      "create function refuse() returns trigger language plpgsql as $$ begin raise exception using errcode = '53100'; end $$"
    )
    yield* sql`create trigger refuse before insert on devices for each row execute function refuse()`
    const refused = yield* Effect.flip(
      devices.insert({ id: freshDevice(), name: "a", gateway: "default" as never, upstreamId: "a" as never })
    )
    assert.match(refused.message, /^The database refused to add a device \(.*SQLSTATE 53100\); nothing was changed$/)
  }).pipe(Effect.provide(layerFreshPostgres)))
