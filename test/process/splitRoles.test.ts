/**
 * The API and the devices in separate processes, on one database: what the process without devices answers, what it leaves
 * to the other, and what reaches the gateway through both.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { start as startSimulator } from "../../src/simulator/SimulatedGateway.ts"
import { freshDatabase } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import { fileBytes } from "../support/files.ts"
import { untilSo } from "../support/until.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"

interface Answer {
  readonly status: number
  readonly body: {
    readonly _tag?: string
    readonly message?: string
    readonly text?: string
    readonly id?: string
    readonly jid?: string
    readonly status?: string
    readonly waId?: string | null
    readonly state?: { readonly _tag: string }
  }
}

const setup = Effect.gen(function*() {
  const databaseUrl = yield* freshDatabase
  const { core, url } = yield* Effect.orDie(startSimulator({ seed: "split", autoPair: false }))
  const make = Effect.fnUntraced(function*(roles: string) {
    const columba = yield* ColumbaProcess.make({
      directory: yield* freshDirectory,
      env: { WHATSAPP_API_URL: url, DATABASE_URL: databaseUrl, COLUMBA_ROLES: roles }
    })
    yield* columba.start
    const ask = (method: string, path: string, body?: object | Uint8Array<ArrayBuffer>) =>
      Effect.promise(async (): Promise<Answer> => {
        const answer = await fetch(`${columba.url}/api/v1${path}`, {
          method,
          ...(body instanceof Uint8Array
            ? { body }
            : body === undefined
            ? {}
            : { body: JSON.stringify(body), headers: { "content-type": "application/json" } })
        })
        const text = await answer.text()
        return { status: answer.status, body: text === "" ? {} : JSON.parse(text) as Answer["body"] }
      })
    return { ...columba, ask }
  })
  const api = yield* make("api,scheduler")
  const owner = yield* make("api,devices")
  return { api, owner, core }
})

const tagOf = ({ body, status }: Answer) => [status, body._tag]

describe("a process without the role 'devices'", () => {
  it.live("names the process of the device if only that can answer, and does all else itself", () =>
    Effect.gen(function*() {
      const { api, core, owner } = yield* setup
      const { body: { id } } = yield* api.ask("POST", "/devices", { name: "desk", upstreamId: "slot-1" })
      const at = `/devices/${id}`
      const become = (state: string) =>
        untilSo(`the device is ${state}`, api.ask("GET", at), ({ body }) => body.state?._tag === state)
      yield* become("AwaitingLogin")

      // A code is a secret of the process that runs the device.
      const refused = yield* api.ask("POST", `${at}/login`, {})
      assert.deepStrictEqual(tagOf(refused), [421, "DeviceElsewhere"])
      const [connection] = [yield* api.ask("GET", `${at}/connection`)]
      assert.strictEqual(connection.status, 200)
      const elsewhere: ReadonlyArray<readonly [method: string, path: string]> = [
        ["GET", `${at}/login`],
        ["DELETE", `${at}/login`],
        ["GET", `${at}/qr.png`],
        ["GET", `${at}/qr.svg`]
      ]
      for (const [method, path] of elsewhere) {
        assert.deepStrictEqual(tagOf(yield* api.ask(method, path)), [421, "DeviceElsewhere"], `${method} ${path}`)
      }
      const begun = yield* untilSo(
        "a code is shown",
        owner.ask("POST", `${at}/login`, {}),
        ({ body }) => body._tag === "Qr"
      )
      assert.strictEqual(core.pairings.scan(core.devices.get("slot-1")!, begun.body.text, false), "paired")
      const { body: online } = yield* become("Online")
      assert.strictEqual(online.jid, core.devices.get("slot-1")!.jid)

      // Files lie on the disk of the process that sends them.
      const bytes = new Uint8Array(fileBytes("image", 10_000))
      assert.deepStrictEqual(tagOf(yield* api.ask("POST", `${at}/files`, bytes)), [421, "UploadMisdirected"])
      const { body: { id: file } } = yield* owner.ask("POST", `${at}/files`, bytes)
      const withFile = { to: "6281298765432", image: { file, caption: "one" } }
      assert.deepStrictEqual(tagOf(yield* api.ask("POST", `${at}/messages`, withFile)), [421, "UploadMisdirected"])
      for (const [process, message] of [[owner, withFile], [api, { to: "6281298765432", text: "two" }]] as const) {
        const accepted = yield* process.ask("POST", `${at}/messages`, message)
        assert.strictEqual(accepted.status, 202)
        yield* untilSo(
          "it is sent",
          api.ask("GET", `/messages/${accepted.body.id}`),
          ({ body }) => body.waId !== null && body.waId !== undefined
        )
      }
      const said = core.ledger.entries().flatMap(({ sent }) => sent === undefined ? [] : [sent.text])
      assert.deepStrictEqual(said, ["one", "two"])

      assert.strictEqual((yield* api.ask("GET", `${at}/status`)).status, 200)
      assert.strictEqual((yield* api.ask("POST", `${at}/disconnect`)).status, 200)
      yield* become("LoggedOut")
      yield* owner.kill
      assert.deepStrictEqual(tagOf(yield* api.ask("POST", `${at}/login`, {})), [421, "DeviceElsewhere"])
      assert.strictEqual((yield* api.ask("GET", at)).status, 200)
      assert.strictEqual((yield* api.terminate).code, 0)
    }))
})
