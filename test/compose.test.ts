/** The guarantees of `docker compose up` that can be checked without an engine. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect } from "effect"
import * as Settings from "../src/layers/Settings.ts"

const text = readFileSync(resolve(import.meta.dirname, "../docker-compose.yml"), "utf8")

/** The text of each service by its name: keys of two spaces below `services:`. */
const services = new Map(
  (/^services:\n([\s\S]*?)^\w/m.exec(text)?.[1] ?? "").split(/^(?= {2}\w+:$)/m).flatMap((block) => {
    const name = /^ {2}(\w+):$/m.exec(block)?.[1]
    return name === undefined ? [] : [[name, block] as const]
  })
)

const environment = (service: string): Record<string, string> =>
  Object.fromEntries(
    [...(services.get(service) ?? "").matchAll(/^ {6}([A-Z_]+): (.+)$/gm)].map(([, name, value]) => [name, value])
  )

describe("docker-compose.yml", () => {
  it("starts nothing without a profile that no other service uses", () => {
    const required = [...services].filter(([, block]) => !block.includes("profiles:")).map(([name]) => name)
    assert.deepStrictEqual(required.sort(), ["columba", "consumer", "postgres", "rabbitmq", "scheduler", "telemetry"])
    const dependencies = [...text.matchAll(/^ {4}(\w+): \{ condition:/gm)].map(([, name]) => name)
    assert.deepStrictEqual(dependencies, ["postgres", "rabbitmq"])
  })

  it.effect("shows devices with the profile demo, on a separate database without a broker", () =>
    Effect.gen(function*() {
      assert.include(services.get("demo"), "profiles: [demo]")
      const provider = ConfigProvider.fromEnvRecord({ ...environment("demo"), HOST: "0.0.0.0" })
      const settings = yield* Effect.provideService(Settings.parse, ConfigProvider.ConfigProvider, provider)
      assert.deepStrictEqual(settings.gateway, { _tag: "Simulator", demoDevices: 25 })
      assert.deepStrictEqual([settings.database._tag, settings.rabbitUrl], ["Embedded", null])
    }))

  it("checks Postgres over TCP, since the server that creates the database listens only on the Unix socket", () => {
    assert.include(services.get("postgres"), "pg_isready -h 127.0.0.1 ")
  })
})
