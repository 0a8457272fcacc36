/**
 * Another process that writes to the same log by the same function, and keeps each of its transactions open for a while
 * before it commits. A reader that continues from the highest number it has seen would miss late commits.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { makeDraft } from "../../bench/support/drafts.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { appendStatement } from "../../src/layers/postgres/appendStatement.ts"
import { prepare } from "../../src/log/PreparedDraft.ts"
import { makeEventId } from "../../src/services/EventIdentity.ts"
import type { Arrangement } from "../Arrangement.ts"
import type { FaultOf } from "../Scenario.ts"

export const writeBeside = Effect.fnUntraced(
  function*(
    on: Arrangement,
    { events, openMillis }: FaultOf<"write beside">
  ) {
    const client = yield* PgClient.makeClient({ url: Redacted.make(on.databaseUrl) })
    const device = [...on.devices.keys()][0] as DeviceId
    for (let index = 0; index < events; index++) {
      // Columba's own event, like a transition: no gateway has emitted it.
      const draft = { ...makeDraft(index), deviceId: device, via: "columba" as const }
      const prepared = prepare(draft, () => makeEventId(Date.now()))
      const groups = [{ drafts: [prepared], fence: null, effects: [] }]
      yield* client.withTransaction(Effect.gen(function*() {
        const [row] = yield* client.unsafe<{ readonly head: number }>(
          "select coalesce(max(seq), 0)::float8 as head from events"
        )
        const { parameters, sql } = appendStatement({ groups, moves: [], anchor: 0, floor: row!.head })
        yield* client.unsafe(sql, parameters)
        yield* Effect.sleep(openMillis)
      }))
      // Gives the program its turn.
      yield* Effect.sleep(openMillis)
    }
  },
  Effect.provide(Reactivity.layer),
  Effect.scoped,
  Effect.orDie
)
