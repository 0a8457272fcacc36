/** The one connection, with a broker that refuses it, or closes it as soon as it is open. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted, Stream } from "effect"
import type { Scope } from "effect"
import { connect, createServer } from "node:net"
import type { AddressInfo } from "node:net"
import * as RabbitMq from "../../../src/layers/rabbitmq/RabbitMq.ts"
import { freshVhost } from "../../support/broker.ts"
import { untilSo } from "../../support/until.ts"

/** As a broker sends them: class 10, method 41, and class 10, method 50 with code 320. */
const openOk = Buffer.from([0, 10, 0, 41])
const forced = Buffer.from("CONNECTION_FORCED - as the test wants")
const closing = Buffer.concat([Buffer.from([0, 10, 0, 50, 1, 64, forced.length]), forced, Buffer.from([0, 0, 0, 0])])
const closeFrame = Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, closing.length]), closing, Buffer.from([0xce])])

/** Between Columba and a broker: the first connection is closed by the very packet that reports it open. */
const closingAtOnce = (upstream: string): Effect.Effect<
  { readonly url: string; readonly connections: () => number },
  never,
  Scope.Scope
> =>
  Effect.acquireRelease(
    Effect.callback<{ url: string; connections: () => number; end: () => void }>((resume) => {
      const { hostname, port } = new URL(upstream)
      let connections = 0
      const sockets = new Set<{ readonly destroy: () => void }>()
      const server = createServer((client) => {
        const spoilt = connections++ === 0
        const broker = connect(Number(port), hostname)
        sockets.add(client).add(broker)
        client.on("error", () => {}).on("close", () => broker.destroy()).pipe(broker)
        broker.on("error", () => {}).on("close", () => client.end())
        broker.on("data", (data: Buffer) => {
          const close = spoilt && data.includes(openOk)
          client.write(close ? Buffer.concat([data, closeFrame]) : data)
          if (close) broker.end()
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const url = new URL(upstream)
        url.hostname = "127.0.0.1"
        url.port = String((server.address() as AddressInfo).port)
        const end = () => {
          server.close()
          for (const socket of sockets) socket.destroy()
        }
        resume(Effect.succeed({ url: url.href, connections: () => connections, end }))
      })
    }),
    ({ end }) => Effect.sync(end)
  )

const refusedAs = Effect.fnUntraced(function*(change: (url: URL) => void) {
  const url = new URL(yield* freshVhost)
  change(url)
  const rabbit = yield* RabbitMq.make({ url: Redacted.make(url.href) })
  const refused = yield* Stream.runHead(
    Stream.filter(rabbit.changes, (state) => state._tag === "Disconnected" && state.cause !== "starting")
  )
  const state = Option.getOrThrow(refused)
  assert.strictEqual(state._tag, "Disconnected")
  const { message } = yield* Effect.flip(rabbit.usable("10 millis"))
  return { cause: state._tag === "Disconnected" ? state.cause : null, message }
})

describe("the connection to RabbitMQ", () => {
  it.live("reports that the broker refuses the password", () =>
    Effect.gen(function*() {
      const { cause, message } = yield* refusedAs((url) => {
        url.password = "hunter2"
      })
      assert.strictEqual(cause, "credentials")
      assert.include(message, "user or password refused")
      assert.notInclude(message, "hunter2")
    }))

  it.live("reports that the virtual host is missing", () =>
    Effect.gen(function*() {
      const { cause, message } = yield* refusedAs((url) => {
        url.pathname = "/nowhere"
      })
      assert.strictEqual(cause, "vhost")
      assert.include(message, "virtual host refused")
    }))

  it.live("reports that nothing answers at the address", () =>
    Effect.gen(function*() {
      const { cause, message } = yield* refusedAs((url) => {
        url.port = "1"
      })
      assert.strictEqual(cause, "unreachable")
      assert.include(message, "ECONNREFUSED")
    }))

  it.live("is opened again if the broker closes it as soon as it is open", () =>
    Effect.gen(function*() {
      const broker = yield* closingAtOnce(yield* freshVhost)
      const rabbit = yield* RabbitMq.make({ url: Redacted.make(broker.url) })
      yield* untilSo("the client has connected again", Effect.sync(broker.connections), (count) => count === 2)
      const connection = yield* rabbit.usable("10 seconds")
      yield* Effect.promise(() => connection.createChannel())
    }))
})
