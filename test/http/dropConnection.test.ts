/** How the connection of a client that takes nothing ends. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Stream } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { connect } from "node:net"
import { dropConnection } from "../../src/http/dropConnection.ts"

describe("the connection of a client that takes nothing", () => {
  it.live("is reset, so that the kernel keeps nothing for it", () =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<() => void>()
      const routes = HttpRouter.add(
        "GET",
        "/",
        Effect.gen(function*() {
          yield* Deferred.succeed(asked, dropConnection(yield* HttpServerRequest.HttpServerRequest))
          return HttpServerResponse.stream(Stream.forever(Stream.make(new Uint8Array(64 * 1024))))
        })
      )
      const server = HttpRouter.serve(routes, { disableListenLog: true, disableLogger: true }).pipe(
        Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
      )
      const outcome = yield* Effect.gen(function*() {
        const { address } = yield* HttpServer.HttpServer
        const port = "port" in address ? address.port : 0
        const ended = yield* Deferred.make<string>()
        const socket = connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
        socket.pause()
        socket.on(
          "error",
          (error: NodeJS.ErrnoException) => Deferred.doneUnsafe(ended, Effect.succeed(error.code ?? ""))
        )
        socket.on("end", () => Deferred.doneUnsafe(ended, Effect.succeed("closed in order")))
        const drop = yield* Deferred.await(asked)
        drop()
        socket.resume()
        return yield* Deferred.await(ended)
      }).pipe(Effect.provide(server), Effect.scoped)
      assert.strictEqual(outcome, "ECONNRESET")
    }))
})
