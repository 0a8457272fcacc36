/** The places at which rows let the program die or fail. */
import { dieThere, whilePlanted } from "./planted.ts"
import type { Planted } from "./planted.ts"

export const afterCommit: Planted = {
  name: "after-commit",
  file: "src/http/WebhooksHttp.ts",
  changes: [[
    "const answer = (outcome: WebhookOutcome): HttpServerResponse.HttpServerResponse => {\n",
    `const answer = (outcome: WebhookOutcome): HttpServerResponse.HttpServerResponse => {\n  ${dieThere}`
  ]]
}

export const afterConfirm: Planted = {
  name: "after-confirm",
  file: "src/actors/delivery/SinkRelay.ts",
  changes: [[
    "  if (confirmed <= progress.settled) return\n",
    `  if (confirmed <= progress.settled) return\n  ${dieThere}`
  ]]
}

export const afterAnswer: Planted = {
  name: "after-answer",
  file: "src/actors/sending/SendQueue.ts",
  changes: [[
    "      const answer = yield* ask(cell, send, claimedAt)\n",
    `      const answer = yield* ask(cell, send, claimedAt)\n      ${dieThere}`
  ]]
}

/** A dead letter is in its queue again, and is still a dead letter. */
export const afterRetry: Planted = {
  name: "after-retry",
  file: "src/layers/rabbitmq/RabbitDeadLetters.ts",
  changes: [[
    "          yield* how(channel, message)\n",
    `          yield* how(channel, message)\n          ${dieThere}`
  ]]
}

/** The slot whose frames make its actor fail. */
export const defectiveSlot = "slot-1"

export const defect: Planted = {
  name: "defect",
  file: "src/actors/device/DeviceCell.ts",
  changes: [[
    "    try {\n      this.#handle(cell, event)\n",
    `    try {
      ${whilePlanted(`if (cell.device.upstreamId === "${defectiveSlot}") throw new Error("planted")`)}
      this.#handle(cell, event)
`
  ]]
}

/** The next version's migration: it adds, and removes nothing. */
export const laterMigration: Planted = {
  name: "later-migration",
  file: "src/layers/postgres/Migrations.ts",
  changes: [[
    "const loader = Migrator.fromRecord({\n",
    `const later = Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.forEach([
  "alter table events add column later text",
  "alter table devices add column later text not null default 'later'",
  "create table later (id bigint primary key)"
], (text) => sql.unsafe(text), { discard: true }))
const loader = Migrator.fromRecord({
  "9000_later": later,
`
  ]]
}
