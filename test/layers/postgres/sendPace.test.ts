/** The recent sends of a device, as its pacing reads them. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import type { GatewayName, UpstreamId } from "../../../src/domain/Ids.ts"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import * as SqlStorage from "../../../src/layers/postgres/SqlStorage.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { SendRepository } from "../../../src/services/SendRepository.ts"
import { newSend } from "../../conformance/sendRepository.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice } from "../../support/drafts.ts"

it.live("returns messages that were claimed within one millisecond in the order in which they were accepted", () =>
  Effect.gen(function*() {
    const context = yield* Layer.build(
      SqlStorage.layer.pipe(
        Layer.provideMerge(PostgresDatabase.layer(Redacted.make(yield* freshDatabase))),
        Layer.orDie
      )
    )
    const [devices, sends] = [Context.get(context, DeviceRepository), Context.get(context, SendRepository)]
    const id = freshDevice()
    yield* devices.insert({
      id,
      name: "shop",
      gateway: "default" as GatewayName,
      upstreamId: id as string as UpstreamId
    })
    const { epoch } = (yield* devices.claim("node", [id])).get(id)!
    const chats = ["1", "2", "3"].map((number) => `6281${number}@s.whatsapp.net`)
    for (const chat of chats) yield* sends.accept(newSend(id, "hello", { chat }))
    for (const _ of chats) yield* sends.claim(id, epoch)
    // One after the other, as the claims write them: rows of one time are found in the order of the writes, or in reverse.
    const sql = Context.get(context, SqlClient.SqlClient)
    yield* sql`update sends set claimed_at = date_trunc('second', clock_timestamp()) where device_id = ${id}`
    assert.deepStrictEqual((yield* sends.pace(id, 60_000))?.sent.map(({ chat }) => chat), chats)
  }).pipe(Effect.scoped))
