/** Three nodes and a process for readers, with the environment that the manifests for Kubernetes give them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { randomInt } from "node:crypto"
import { start as startSimulator } from "../../src/simulator/SimulatedGateway.ts"
import { freshVhost } from "../support/broker.ts"
import { freshDatabase } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import { environmentOf, manifestSecrets } from "../support/manifestEnvironment.ts"
import { readKubernetes } from "../support/manifests.ts"
import { until, untilSo } from "../support/until.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"
import { runProgram } from "./support/runProgram.ts"

const devices = 30
const auth = { user: "columba", password: "gateway-password" }
const key = "k".repeat(48)

interface Listed {
  readonly name: string
  readonly alive: boolean
  readonly devices: number
  readonly cluster: {
    readonly shards: number
    readonly roles: ReadonlyArray<string>
    readonly differs: ReadonlyArray<string>
    readonly moves: ReadonlyArray<{ readonly reason: string }>
  } | null
}

describe("the manifests for Kubernetes", () => {
  it.live("start nodes that share a fleet, and a process for readers that reaches them; one stops, and doctor is content", () =>
    Effect.gen(function*() {
      const [nodes] = yield* Effect.promise(() => readKubernetes("deploy/kubernetes/nodes.yaml"))
      const [api] = yield* Effect.promise(() => readKubernetes("deploy/kubernetes/api.yaml"))
      const { core, url } = yield* Effect.orDie(startSimulator({ seed: "manifests", auth }))
      core.addDevices(devices, "slot-")
      const secret = {
        ...manifestSecrets,
        DATABASE_URL: yield* freshDatabase,
        RABBITMQ_URL: yield* freshVhost,
        COLUMBA_API_KEYS: `operator:read+send+manage:${key}`,
        WHATSAPP_API_URL: url,
        WHATSAPP_API_DIALECT: "bridge",
        WHATSAPP_API_USER: auth.user,
        WHATSAPP_API_PASSWORD: auth.password
      }
      // Each pod has its own address, and the same ports. On this machine all that begin with 127 work.
      const network = `127.${randomInt(1, 255)}.${randomInt(1, 255)}`
      const addresses = Array.from({ length: nodes!.spec.replicas }, (_, index) => `${network}.${index + 1}`)
      assert.lengthOf(addresses, 3)
      const processOf = Effect.fnUntraced(function*(object: typeof nodes, podIp: string) {
        const env = environmentOf(object!, { podIp, secret })
        return { env, ...yield* ColumbaProcess.make({ directory: yield* freshDirectory, env }) }
      })
      const pods = yield* Effect.forEach(addresses, (address) => processOf(nodes, address))
      const reader = yield* processOf(api, `${network}.9`)
      yield* Effect.forEach([...pods, reader], ({ start }) => start, { concurrency: "unbounded" })

      const ask = <A>(path: string, body?: object) =>
        Effect.promise(async () => {
          const answer = await fetch(`${reader.url}/api/v1${path}`, {
            headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
            ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) })
          })
          if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
          return await answer.json() as A
        })
      const ids: Array<string> = []
      for (let index = 1; index <= devices; index++) {
        ids.push((yield* ask<{ id: string }>("/devices", { name: `${index}`, upstreamId: `slot-${index}` })).id)
      }
      const connected = Effect.sync(() => [...core.devices.values()].every(({ sockets }) => sockets.size === 1))
      yield* until("every device has a socket", connected)
      const listed = Effect.map(ask<{ items: ReadonlyArray<Listed> }>("/server/nodes"), ({ items }) => items)
      const sharing = (count: number) =>
        Effect.map(listed, (items) => {
          const holding = items.filter(({ cluster }) => cluster !== null && cluster.shards > 0)
          return holding.length === count && holding.every(({ devices }) => devices > 0) &&
            holding.reduce((sum, { cluster }) => sum + cluster!.shards, 0) === 300
        })
      yield* until("three nodes have all shards", sharing(3))
      const all = yield* listed
      assert.includeMembers(all.map(({ name }) => name), addresses.map((address) => `${address}:7800`))
      assert.deepStrictEqual(all.flatMap(({ cluster }) => cluster?.differs ?? ["none"]), [])
      assert.deepStrictEqual(
        all.filter(({ devices }) => devices === 0).map(({ cluster }) => cluster?.roles),
        [["api"]]
      )
      // It may be on its way between two nodes.
      const connection = yield* untilSo(
        "a node hosts the device",
        ask<{ node: string; hosted: object | null }>(`/devices/${ids[0]}/connection`),
        ({ hosted }) => hosted !== null
      )
      assert.include(addresses.map((address) => `${address}:7800`), connection.node)

      const { env } = pods[0]!
      const examine = Effect.gen(function*() {
        const doctor = yield* runProgram(["doctor", "--json"], { cwd: yield* freshDirectory, env })
        const findings = doctor.out.split("\n").flatMap((line) =>
          line.startsWith("{")
            ? [JSON.parse(line) as { readonly name: string; readonly state: string; readonly detail: string }]
            : []
        )
        return findings.find(({ name }) => name === "nodes")
      })
      // On a loaded machine the database may take longer than doctor waits for it.
      const found = yield* untilSo(
        "doctor had its answers in time",
        examine,
        (found) => found?.detail.startsWith("no answer within") !== true
      )
      assert.deepInclude(found, { state: "ok" })
      assert.match(found!.detail, /^4 processes: /)

      const { code } = yield* pods[2]!.terminate
      assert.strictEqual(code, 0)
      yield* until("two nodes have all shards", sharing(2))
      yield* until("every device has a socket again", connected)
      yield* until(
        "a node says why it has more shards",
        Effect.map(listed, (nodes) => nodes.some(({ cluster }) => cluster?.moves[0]?.reason === "node-left"))
      )
    }))
})
