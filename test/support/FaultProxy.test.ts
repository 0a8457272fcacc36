/** The proxy disturbs connections and does not change the data that they carry. */
import { once } from "node:events"
import { connect, createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as FaultProxy from "./FaultProxy.ts"
import type { Toxic } from "./FaultProxy.ts"

/** A server that sends numbers to each client, some per millisecond, and then ends the connection. */
const countingServer = (to: number) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const server = createServer((socket) => {
          let number = 0
          const timer = setInterval(() => {
            for (let index = 0; index < 3 && number < to; index++) socket.write(`${String(++number).padStart(5)}\n`)
            if (number < to) return
            clearInterval(timer)
            socket.end()
          }, 1)
        })
        server.listen(0, "127.0.0.1")
        await once(server, "listening")
        return server
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => (server.address() as AddressInfo).port
  )

for (
  const toxic of [
    { type: "latency", millis: 100 },
    { type: "bandwidth", bytesPerSecond: 15_000 }
  ] satisfies ReadonlyArray<Toxic>
) {
  it.live(`keeps the order of data that ${toxic.type} delays, also when the toxic is added and removed meanwhile`, () =>
    Effect.gen(function*() {
      const numbers = 1_500
      const proxy = yield* FaultProxy.make({ host: "127.0.0.1", port: yield* countingServer(numbers) })
      const received = yield* Effect.promise(async () => {
        let remove = proxy.add("downstream", toxic)
        const socket = connect(proxy.port, "127.0.0.1").setEncoding("latin1")
        let text = ""
        let pieces = 0
        for await (const piece of socket) {
          text += piece
          if (++pieces % 40 !== 0) continue
          if (pieces % 80 === 0) remove = proxy.add("downstream", toxic)
          else remove()
        }
        return text.split("\n").slice(0, -1).map(Number)
      })
      assert.deepStrictEqual(received, Array.from({ length: numbers }, (_, index) => index + 1))
    }))
}
