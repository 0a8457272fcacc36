/**
 * The cost of subscriptions per event: `node bench/subscriptions.ts [database url]`, over storage in memory without one.
 *
 * Prints JSON, one line per number of subscriptions: CPU of this process per event and per delivery, reads of the log's
 * store, and the bare floor: the same requests by Node's HTTP client with kept connections and one signature each.
 * The receiver is a process of its own. CPU and not wall time, because both processes share the machine.
 */
import { spawn } from "node:child_process"
import { createHmac } from "node:crypto"
import { Agent, request } from "node:http"
import { Effect, Layer, Redacted } from "effect"
import * as WebhookDispatcher from "../src/actors/delivery/webhooks/WebhookDispatcher.ts"
import * as MemoryDatabase from "../src/layers/memory/MemoryDatabase.ts"
import * as MemoryLogStore from "../src/layers/memory/MemoryLogStore.ts"
import * as MemorySubscriptionRepository from "../src/layers/memory/MemorySubscriptionRepository.ts"
import * as Outbound from "../src/layers/outbound/Outbound.ts"
import * as PostgresDatabase from "../src/layers/postgres/Postgres.ts"
import * as SqlStorage from "../src/layers/postgres/SqlStorage.ts"
import * as AesSecretSeal from "../src/layers/secrets/AesSecretSeal.ts"
import * as GroupCommit from "../src/log/GroupCommit.ts"
import { LogStore } from "../src/log/LogStore.ts"
import { EventLog } from "../src/services/EventLog.ts"
import { SubscriptionManager } from "../src/services/SubscriptionManager.ts"
import { makeDraft } from "./support/drafts.ts"

/** Answers everything, and reports the number on request. */
const receiver = `
let count = 0
require("node:http").createServer((request, response) => {
  if (request.method === "GET") return response.end(String(count))
  request.resume().on("end", () => { count++; response.writeHead(204).end() })
}).listen(0, "0.0.0.0", function() { console.log(this.address().port) })
`

const events = Number(process.env["EVENTS"] ?? 100)
const numbers = (process.env["SUBSCRIPTIONS"] ?? "1,50,200").split(",").map(Number)

const startReceiver = (): Promise<{ readonly url: string; readonly stop: () => void }> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, ["-e", receiver], { stdio: ["ignore", "pipe", "inherit"] })
    child.stdout.once("data", (port: Buffer) =>
      resolve({ url: `http://127.0.0.1:${String(port).trim()}/`, stop: () => child.kill() }))
  })

const countReceived = (url: string) => fetch(url).then((response) => response.text()).then(Number)

const cpuMicros = (since: NodeJS.CpuUsage): number => {
  const { system, user } = process.cpuUsage(since)
  return system + user
}

/** The same requests, eight at a time, with Node alone. */
const floor = async (url: string, count: number): Promise<number> => {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  const body = Buffer.from(JSON.stringify(makeDraft(0).data).padEnd(600))
  const key = Buffer.alloc(32)
  const post = () =>
    new Promise<void>((resolve) => {
      const signature = createHmac("sha256", key).update("id.1.").update(body).digest("base64")
      request(url, {
        method: "POST",
        agent,
        headers: {
          "content-length": body.length,
          "content-type": "application/json",
          "webhook-id": "id",
          "webhook-timestamp": "1",
          "webhook-signature": `v1,${signature}`
        }
      }, (response) => response.resume().on("end", resolve)).end(body)
    })
  const before = process.cpuUsage()
  for (let at = 0; at < count; at += 8) await Promise.all(Array.from({ length: Math.min(8, count - at) }, post))
  agent.destroy()
  return cpuMicros(before) / count
}

let reads = 0
const memory = Layer.mergeAll(
  GroupCommit.layer.pipe(
    Layer.provide(
      Layer.effect(
        LogStore,
        Effect.map(
          LogStore,
          (store) => LogStore.of({ ...store, read: (options) => Effect.suspend(() => (reads++, store.read(options))) })
        )
      ).pipe(Layer.provide(MemoryLogStore.layer))
    )
  ),
  MemorySubscriptionRepository.layer
).pipe(Layer.provide(MemoryDatabase.layer))

const target = process.argv[2]
const storage = target === undefined
  ? memory
  : Layer.orDie(SqlStorage.layer.pipe(Layer.provide(PostgresDatabase.layer(Redacted.make(target)))))
const services = SubscriptionManager.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(
    storage,
    Outbound.layer({ allowPrivate: true }),
    AesSecretSeal.layer([Redacted.make(new Uint8Array(32))])
  ))
)

const measure = Effect.fnUntraced(function*(count: number) {
  const { stop, url } = yield* Effect.promise(startReceiver)
  const manager = yield* SubscriptionManager
  const log = yield* EventLog
  const ids = yield* Effect.forEach(
    Array.from({ length: count }),
    // Each is a separate server with regard to connections.
    (_, index) =>
      Effect.map(
        manager.create({ url: Redacted.make(url.replace("127.0.0.1", `127.0.1.${index + 1}`)) }, undefined),
        ({ id }) => id
      )
  )
  yield* Effect.asVoid(WebhookDispatcher.make())
  const deliver = Effect.fnUntraced(function*(first: number, of: number, before: number) {
    for (let index = 0; index < of; index++) {
      yield* Effect.orDie(log.append([makeDraft(first + index)]))
      yield* Effect.sleep("20 millis")
    }
    let received = 0
    while (received < before + of * count) {
      yield* Effect.sleep("50 millis")
      received = yield* Effect.promise(() => countReceived(url))
    }
    return received
  })
  const offset = count * 1_000_000
  const warm = yield* deliver(offset, 10, 0)
  const readsBefore = reads
  const before = process.cpuUsage()
  const began = performance.now()
  yield* deliver(offset + 10, events, warm)
  const cpu = cpuMicros(before)
  const seconds = (performance.now() - began) / 1000
  const bare = yield* Effect.promise(() => floor(url, Math.min(5_000, events * count)))
  yield* Effect.forEach(ids, (id) => manager.remove(id, undefined), { discard: true })
  stop()
  return {
    subscriptions: count,
    events,
    cpuMillisPerEvent: Number((cpu / events / 1000).toFixed(2)),
    cpuMicrosPerDelivery: Math.round(cpu / events / count),
    floorMicrosPerRequest: Math.round(bare),
    deliveriesPerSecond: Math.round(events * count / seconds),
    storeReads: target === undefined ? reads - readsBefore : null
  }
}, Effect.scoped)

const program = Effect.gen(function*() {
  for (const count of numbers) console.log(JSON.stringify(yield* measure(count)))
})

await Effect.runPromise(Effect.provide(program, services))
