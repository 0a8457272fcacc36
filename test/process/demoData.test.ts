/** Simulated devices and messages stay where they belong: with the built-in simulator, on the embedded database. */
import { assert, describe, it } from "@effect/vitest"
import { connect } from "amqplib"
import { Effect } from "effect"
import { start as startSimulator } from "../../src/simulator/SimulatedGateway.ts"
import { freshDirectory } from "../support/directory.ts"
import { freshVhost } from "../support/broker.ts"
import * as TestDatabase from "../support/database.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"
import { runProgram } from "./support/runProgram.ts"
import { until } from "../support/until.ts"

interface DevicePage {
  readonly items: ReadonlyArray<{ readonly gateway: string; readonly state: { readonly _tag: string } }>
}

interface EventsPage {
  readonly items: ReadonlyArray<{ readonly id: string }>
}

const hasDelivered = (columba: ColumbaProcess.ColumbaProcess) =>
  Effect.map(
    columba.readiness,
    (answer) =>
      answer?.checks.some(({ detail, name }) => name === "sinks" && detail.includes("running, 0 behind")) === true
  )

/** A queue that does not exist yet has no messages; the program declares it with the first event that it publishes. */
const countMessages = (url: string) =>
  Effect.promise(async () => {
    const connection = await connect(url)
    const channel = await connection.createChannel()
    channel.on("error", () => {})
    const count = await channel.checkQueue("columba.messages.incoming").then(
      ({ messageCount }) => messageCount,
      () => 0
    )
    await connection.close()
    return count
  })

const listDevices = (columba: ColumbaProcess.ColumbaProcess) =>
  Effect.map(columba.get<DevicePage>("/api/v1/devices"), ({ items }) => items)

const firstMessage = (columba: ColumbaProcess.ColumbaProcess) =>
  Effect.map(
    columba.get<EventsPage>("/api/v1/events?after=0&kind=message.received&limit=1"),
    ({ items }) => items[0]
  )

describe("demo data", () => {
  it.live("is not created on a real database: without a gateway the program runs with none and states how to set one", () =>
    Effect.gen(function*() {
      const columba = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: { DATABASE_URL: yield* TestDatabase.freshDatabase, COLUMBA_DEMO_DEVICES: "3" }
      })
      yield* columba.start
      assert.deepStrictEqual(yield* listDevices(columba), [])
      const log = yield* columba.log
      assert.include(log, `gateway="none (set WHATSAPP_API_URL, or: columba gateways add)"`)
      assert.include(log, "no gateway is configured, so no device can connect; set WHATSAPP_API_URL")
      assert.strictEqual((yield* columba.terminate).code, 0)
    }))

  it.live("reaches neither a gateway nor a broker that is configured later, and is shown as not running", () =>
    Effect.gen(function*() {
      const cwd = yield* freshDirectory
      const demo = yield* ColumbaProcess.make({ directory: cwd, env: { COLUMBA_DEMO_DEVICES: "3" } })
      yield* demo.start
      const [first] = yield* listDevices(demo)
      assert.strictEqual(first?.gateway, "simulator")
      yield* until(
        "the log holds a made-up message",
        Effect.map(firstMessage(demo), (message) => message !== undefined)
      )
      yield* demo.terminate

      const gateway = yield* Effect.orDie(startSimulator({ seed: "real" }))
      const rabbitUrl = yield* freshVhost
      const real = yield* ColumbaProcess.make({
        directory: cwd,
        env: { WHATSAPP_API_URL: gateway.url, RABBITMQ_URL: rabbitUrl }
      })
      yield* real.start
      const added = yield* runProgram(["devices", "add", "--name", "Front desk", "--url", real.url], { cwd })
      assert.strictEqual(added.code, 0, added.err)
      assert.strictEqual(gateway.core.devices.size, 1, "the gateway knows the added device alone")
      const states = (yield* listDevices(real)).slice(0, 3).map(({ gateway, state }) => [gateway, state._tag])
      assert.deepStrictEqual(states, [["simulator", "Inactive"], ["simulator", "Inactive"], ["simulator", "Inactive"]])
      assert.include(yield* real.log, "this database holds 3 devices of the built-in simulator. They are not started")

      assert.isDefined(yield* firstMessage(real), "the log holds made-up messages")
      yield* until("the broker has got all that it gets", hasDelivered(real))
      assert.strictEqual(yield* countMessages(rabbitUrl), 0, "and none of them is in the queue")

      yield* real.terminate
      const again = yield* ColumbaProcess.make({ directory: cwd, env: { COLUMBA_DEMO_DEVICES: "3" } })
      yield* again.start
      yield* until(
        "the simulated devices are online again",
        Effect.map(listDevices(again), (items) => items.filter(({ state }) => state._tag === "Online").length === 3)
      )
    }))
})
