/**
 * Many readers by the typed client over three processes that run no devices: each reader gets every event of its device, once and
 * in order, also when one of the processes is killed and started again.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { beginning, ColumbaClient } from "../../src/client/index.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { start as startSimulator } from "../../src/simulator/SimulatedGateway.ts"
import { freshDatabase } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import { freePort } from "../support/servers/ServerHome.ts"
import { readLog } from "../support/Ledger.ts"
import { until } from "../support/until.ts"
import * as ClusterNode from "./support/clusterNode.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"
import { addDevices } from "./support/viaApi.ts"

const readers = 300
const devices = 60
const events = 600

/** Per second. */
const rate = 60

it.live("readers of three processes by the typed client get every event of their device, over a death of one of these", () =>
  Effect.gen(function*() {
    const databaseUrl = yield* freshDatabase
    const { core, url } = yield* Effect.orDie(startSimulator({ seed: "rpc readers" }))
    core.addDevices(devices, "slot-")
    const shared = {
      DATABASE_URL: databaseUrl,
      COLUMBA_SECRET_KEY: ClusterNode.secretKey,
      COLUMBA_CLUSTER: "on",
      COLUMBA_NODE_PORT: String(yield* freePort)
    }
    const make = Effect.fnUntraced(function*(env: Readonly<Record<string, string>>) {
      const made = yield* ColumbaProcess.make({ directory: yield* freshDirectory, env: { ...shared, ...env } })
      yield* made.start
      return made
    })
    const node = yield* make({ WHATSAPP_API_URL: url })
    const serving = yield* Effect.forEach([1, 2, 3], () => make({ COLUMBA_ROLES: "api" }))
    const ids = [...(yield* addDevices(node, devices)).keys()]
    yield* until("every device is online", Effect.sync(() => core.stats().sockets === devices))

    let reconnects = 0
    const got = Array.from({ length: readers }, () => [] as Array<number>)
    const reading = yield* Effect.forEach(
      got,
      (seqs, index) =>
        Effect.flatMap(ColumbaClient, (client) =>
          Stream.runForEach(
            client.events.follow({ after: beginning, device: ids[index % devices] as DeviceId }),
            (item) => Effect.sync(() => item._tag === "Event" && seqs.push(Number(item.event.seq)))
          )).pipe(
            Effect.provide(ColumbaClient.layer({ url: serving[index % 3]!.url, onReconnect: () => reconnects++ })),
            Effect.forkScoped
          )
    )
    yield* until("all read", Effect.sync(() => got.every((seqs) => seqs.length > 0)))
    core.emit({ count: events, rate })
    yield* until("a third is emitted", Effect.sync(() => core.stats().events >= events / 3))
    yield* serving[0]!.kill
    yield* serving[0]!.start
    yield* until("all is emitted", Effect.sync(() => core.stats().jobs.length === 0))

    const expected = Effect.map(readLog(databaseUrl), (rows) => {
      const byDevice = Map.groupBy(rows, ({ deviceId }) => deviceId)
      return got.map((_, index) => (byDevice.get(ids[index % devices]!) ?? []).map(({ seq }) => seq))
    })
    yield* until(
      "every reader has every event of its device",
      Effect.map(expected, (lists) => lists.every((list, index) => list.length <= got[index]!.length))
    )
    assert.deepStrictEqual(got, yield* expected)
    assert.isAtLeast(reconnects, readers / 3)
    yield* Effect.forEach(reading, Fiber.interrupt, { discard: true })
    console.log(`${got.flat().length} events to ${readers} readers, ${reconnects} reconnects`)
  }))
