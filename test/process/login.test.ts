/**
 * The program is killed without warning in the middle of a login, at gateways of every dialect: while a code is shown, and just
 * after the phone has accepted. Nothing of the login is stored; the next process starts anew, or finds the account linked.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SimulatedDialect } from "../../src/simulator/Dialect.ts"
import { start as startSimulator } from "../../src/simulator/SimulatedGateway.ts"
import { freshDatabase } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import { query } from "../support/Ledger.ts"
import { untilSo } from "../support/until.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"

const dialects: ReadonlyArray<SimulatedDialect> = ["bridge", "gowa", "waha"]

interface Step {
  readonly _tag: string
  readonly text?: string
  readonly attempt?: number
  readonly jid?: string
}

interface Device {
  readonly id: string
  readonly jid: string | null
  readonly state: { readonly _tag: string }
}

/** Every row of every table, as text. */
const dump = Effect.fnUntraced(function*(databaseUrl: string) {
  const tables = yield* query<{ readonly name: string }>(
    databaseUrl,
    "select quote_ident(table_name) as name from information_schema.tables where table_schema = 'public'"
  )
  assert.isAbove(tables.length, 10)
  const rows = yield* Effect.forEach(
    tables,
    ({ name }) => query<{ readonly text: string }>(databaseUrl, `select t::text as text from ${name} t`)
  )
  return rows.flat().map(({ text }) => text).join("\n")
})

const setup = Effect.fnUntraced(function*(dialect: SimulatedDialect) {
  const databaseUrl = yield* freshDatabase
  const { core, url } = yield* Effect.orDie(startSimulator({
    dialect,
    autoPair: false,
    gowa: { pace: 0.1 },
    waha: { waitMillis: 100 }
  }))
  const columba = yield* ColumbaProcess.make({
    directory: yield* freshDirectory,
    env: { WHATSAPP_API_URL: url, WHATSAPP_API_DIALECT: dialect, DATABASE_URL: databaseUrl }
  })
  yield* columba.start
  const { id } = yield* columba.post<Device>("/api/v1/devices", { name: "desk", upstreamId: "slot-1" })
  const at = `/api/v1/devices/${id}`
  const become = (state: string) =>
    untilSo(`the device is ${state}`, columba.get<Device>(at), (device) => device.state._tag === state)
  yield* become("AwaitingLogin")
  /** A device that was claimed a moment ago has no actor yet. */
  const begin = untilSo(
    "a login shows a code",
    columba.post<Step>(`${at}/login`, {}).pipe(Effect.catchDefect(() => Effect.succeed<Step>({ _tag: "refused" }))),
    ({ _tag }) => _tag === "Qr"
  )
  const scan = (step: Step) => core.pairings.scan(core.devices.get("slot-1")!, step.text, false)
  const said = Effect.map(dump(databaseUrl), (rows) => rows + readFileSync(columba.logFile, "utf8"))
  return { at, become, begin, columba, core, said, scan }
})

describe("killed in the middle of a login", () => {
  it.live.each([...dialects])(
    "at %s, while a code is shown: nothing of it is stored, and the next login is a new one",
    (dialect) =>
      Effect.gen(function*() {
        const { at, become, begin, columba, core, said, scan } = yield* setup(dialect)
        const first = yield* begin
        assert.isAbove(first.text!.length, 10)
        yield* columba.kill
        assert.notInclude(yield* said, first.text!)
        yield* columba.start
        const next = yield* begin
        assert.strictEqual(next.attempt, 1)
        assert.strictEqual(scan(next), "paired")
        const ended = yield* untilSo(
          "it is logged in",
          columba.get<Step>(`${at}/login`),
          ({ _tag }) => _tag === "LoggedIn"
        )
        const { jid } = core.devices.get("slot-1")!
        assert.strictEqual(ended.jid, jid)
        assert.strictEqual((yield* become("Online")).jid, jid)
        for (const { text } of [first, next]) assert.notInclude(yield* said, text!)
        assert.strictEqual((yield* columba.terminate).code, 0)
      })
  )

  it.live.each([...dialects])(
    "at %s, when the phone has accepted: the account is found linked, with no further login",
    (dialect) =>
      Effect.gen(function*() {
        const { become, begin, columba, core, said, scan } = yield* setup(dialect)
        const step = yield* begin
        yield* columba.freeze
        assert.strictEqual(scan(step), "paired")
        yield* columba.kill
        yield* columba.start
        const { jid } = core.devices.get("slot-1")!
        assert.isString(jid)
        assert.strictEqual((yield* become("Online")).jid, jid)
        assert.notInclude(yield* said, step.text!)
        assert.strictEqual((yield* columba.terminate).code, 0)
      })
  )
})
