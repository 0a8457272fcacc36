/** Who may call a node: real connections on this machine, of programs that have its keys and of others. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted, Schema } from "effect"
import { RunnerAddress, Runners } from "effect/cluster"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
import * as net from "node:net"
import * as tls from "node:tls"
import * as NodeWire from "../../../src/layers/cluster/NodeWire.ts"
import type { SecretKey } from "../../../src/services/SecretSeal.ts"
import { freePort } from "../../support/servers/ServerHome.ts"

const key = (n: number): SecretKey => Redacted.make(new Uint8Array(32).fill(n)) as SecretKey
const [first, second, strange] = [key(1), key(2), key(3)]

const Questions = RpcGroup.make(Rpc.make("Echo", { payload: { text: Schema.String }, success: Schema.String }))
const serialization = RpcSerialization.layerSchemaBinary()

/** A node's port, until the end of the test. */
const listen = Effect.fnUntraced(function*(keys: ReadonlyArray<SecretKey>) {
  const port = yield* freePort
  let asked = 0
  yield* Layer.build(
    RpcServer.layer(Questions).pipe(
      Layer.provide(Questions.toLayer({
        Echo: ({ text }) =>
          Effect.sync(() => {
            asked++
            return text
          })
      })),
      Layer.provide(RpcServer.layerProtocolSocketServer),
      Layer.provide(NodeWire.layerServer({ host: "127.0.0.1", port }, keys)),
      Layer.provide(serialization)
    )
  )
  return { port, asked: () => asked }
})

/** Calls the node at this port as a program with these keys. */
const ask = (port: number, keys: ReadonlyArray<SecretKey>) =>
  Effect.scoped(Effect.gen(function*() {
    const { make } = yield* Runners.RpcClientProtocol
    const protocol = yield* make(RunnerAddress.make("127.0.0.1", port))
    const client = yield* Effect.provideService(RpcClient.make(Questions), RpcClient.Protocol, protocol)
    return yield* client.Echo({ text: "here" })
  })).pipe(Effect.provide(Layer.provide(NodeWire.layerClient(keys), serialization)))

/** What a node reveals of its keys to any client. */
const readHint = (port: number) =>
  Effect.callback<string>((resume) => {
    const socket = tls.connect({
      port,
      host: "127.0.0.1",
      ciphers: "PSK",
      maxVersion: "TLSv1.2",
      pskCallback: (hint) => {
        resume(Effect.succeed(hint ?? ""))
        return null
      }
    })
    socket.on("error", () => {})
  })

describe("the connections between nodes", () => {
  it.live("carry only the calls of programs that have the key", () =>
    Effect.scoped(Effect.gen(function*() {
      const node = yield* listen([first])
      assert.strictEqual(yield* ask(node.port, [first]), "here")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(ask(node.port, [strange]))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(ask(node.port, []))))
      assert.strictEqual(node.asked(), 1)
    })))

  it.live("use the first key that both sides have, so that keys can be replaced node by node", () =>
    Effect.scoped(Effect.gen(function*() {
      const [old, both, replaced] = [yield* listen([first]), yield* listen([second, first]), yield* listen([second])]
      assert.strictEqual(yield* ask(old.port, [second, first]), "here")
      assert.strictEqual(yield* ask(both.port, [first]), "here")
      assert.strictEqual(yield* ask(both.port, [second]), "here")
      assert.strictEqual(yield* ask(replaced.port, [second, first]), "here")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(ask(replaced.port, [first]))))
    })))

  it.live("are not made with a server that has only the name of the key", () =>
    Effect.scoped(Effect.gen(function*() {
      const node = yield* listen([first])
      const name = yield* readHint(node.port)
      const port = yield* freePort
      let admitted = 0
      yield* Effect.acquireRelease(
        Effect.callback<tls.Server>((resume) => {
          const impostor = tls.createServer({
            ciphers: "PSK",
            maxVersion: "TLSv1.2",
            pskIdentityHint: name,
            pskCallback: () => Buffer.alloc(32)
          }, () => admitted++)
          impostor.listen(port, "127.0.0.1", () => resume(Effect.succeed(impostor)))
        }),
        (impostor) => Effect.sync(() => impostor.close())
      )
      assert.isTrue(Exit.isFailure(yield* Effect.exit(ask(port, [first]))))
      assert.strictEqual(admitted, 0)
    })))

  it.live("accept no plain TCP", () =>
    Effect.scoped(Effect.gen(function*() {
      const node = yield* listen([first])
      const answered = yield* Effect.callback<number>((resume) => {
        let bytes = 0
        const socket = net.connect(node.port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\n\r\n"))
        socket.on("data", (chunk) => bytes += chunk.length)
        socket.on("error", () => {})
        socket.on("close", () => resume(Effect.succeed(bytes)))
      })
      // At most the alert by which TLS refuses it.
      assert.isBelow(answered, 16)
      assert.strictEqual(node.asked(), 0)
      assert.strictEqual(yield* ask(node.port, [first]), "here")
    })))
})
