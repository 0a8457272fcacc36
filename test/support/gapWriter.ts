/**
 * A process that owns the device `argv[3]` in the database `argv[2]` and has one gap after the other, forever: it opens
 * one, records that reception is back, and appends the events of the history together with the close and the watermark. It
 * prints a line per gap. Once it is fenced, it tries one more whole gap before it ends.
 */
import { Effect, Layer, Redacted } from "effect"
import * as PostgresDatabase from "../../src/layers/postgres/Postgres.ts"
import * as SqlStorage from "../../src/layers/postgres/SqlStorage.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { makeGapId } from "../../src/services/EventIdentity.ts"
import { gapClosed, gapEnded, gapOpened, watermark } from "../../src/services/GapDrafts.ts"
import { GapRepository } from "../../src/services/GapRepository.ts"
import { messageDraft } from "./drafts.ts"

const rowsOfGap = 3

const proven = ["messages", "other-messages", "acks"] as const

const program = Effect.gen(function*() {
  const log = yield* EventLog
  const ledger = yield* GapRepository
  const id = (process.argv[3] ?? "") as DeviceId
  const claim = (yield* (yield* DeviceRepository).claim(`writer ${process.pid}`, [id])).get(id)!
  const fence = { deviceId: id, epoch: claim.epoch }
  console.log("owner")
  let gapsFenced = 0
  for (let count = 0;; count++) {
    const openedAt = yield* ledger.now
    const gap = { gapId: makeGapId(Date.now()), cause: "socket-down", openedAt, detail: "" } as const
    let fenced = false
    const append: EventLog["Service"]["append"] = (drafts, options) =>
      Effect.catchTag(log.append(drafts, { fence, ...options }), "Fenced", () =>
        Effect.sync(() => {
          fenced = true
          return []
        }))
    yield* append([gapOpened(id, gap, Date.now())])
    const endedAt = yield* ledger.now
    yield* append([], { effects: [gapEnded(id, gap, endedAt)] })
    const rows = Array.from(
      { length: rowsOfGap },
      (_, row) => messageDraft({ device: id, body: gap.gapId, waId: `${gap.gapId} ${row}` })
    )
    const close = gapClosed(id, { ...gap, endedAt, proven, recovered: rowsOfGap }, Date.now())
    yield* append([...rows, close], { effects: [watermark(id, endedAt)] })
    console.log(fenced ? "fenced" : `closed ${count}`)
    if (fenced && ++gapsFenced === 2) return
  }
})

const storage = SqlStorage.layer.pipe(
  Layer.provide(PostgresDatabase.layer(Redacted.make(process.argv[2] ?? "")))
)
Effect.runPromise(Effect.provide(program, storage)).then(() => process.exit(0), (error: unknown) => {
  console.log(`failed ${String(error)}`)
  process.exit(1)
})
