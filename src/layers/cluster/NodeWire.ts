/**
 * The connections between the nodes of a cluster: TLS with a pre-shared key, derived from `COLUMBA_SECRET_KEY`. A program
 * without the key gets no further than the handshake, in either direction, and the traffic between nodes cannot be read or
 * changed on its way. There are no certificates: nothing expires, and nothing has to be issued.
 *
 * The server offers its keys by ids that reveal nothing of them, and the client takes the first of its own keys among
 * them. So keys are replaced node by node, as in all other uses of `COLUMBA_SECRET_KEY`.
 */
import { createHash, hkdfSync } from "node:crypto"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import { Effect, Layer, Redacted } from "effect"
import { Runners } from "effect/cluster"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { Socket } from "effect/socket"
import type { SocketServer } from "effect/socket"
import type { SecretKey } from "../../services/SecretSeal.ts"

/**
 * Node has suites with a pre-shared key up to TLS 1.2. This one has forward secrecy: somebody who obtains the key later
 * cannot read recorded traffic.
 */
const tls = {
  ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2"
} as const

const keyBytes = 32

/** A connection that has not shown the key is closed after this time. A handshake takes milliseconds. */
const handshakeMax = 5000

/** A node that does not answer a connection within this time is away for now. */
const openMax = 1000

/** Maximum number of key ids in a server's hint; OpenSSL takes 128 bytes. More keys than that are never in use at a time. */
const hintedMax = 7

interface NodeKey {
  readonly id: string
  readonly psk: Buffer
}

const derive = (key: SecretKey): NodeKey => {
  const psk = Buffer.from(hkdfSync("sha256", Redacted.value(key), "", "columba node port v1", keyBytes))
  return { id: createHash("sha256").update(psk).digest("hex").slice(0, 16), psk }
}

/** The server for the other nodes. */
export const layerServer = (
  { host, port }: { readonly host: string; readonly port: number },
  keys: ReadonlyArray<SecretKey>
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError> => {
  const known = keys.map(derive)
  return NodeSocketServer.layerTls({
    ...tls,
    host,
    port,
    handshakeTimeout: handshakeMax,
    pskIdentityHint: known.slice(0, hintedMax).map(({ id }) => id).join(),
    // OpenSSL compares what is derived from the key, in constant time; the id is no secret.
    pskCallback: (_socket, identity) => known.find(({ id }) => id === identity)?.psk ?? null
  })
}

/** The client to the other nodes. */
export const layerClient = (
  keys: ReadonlyArray<SecretKey>
): Layer.Layer<Runners.RpcClientProtocol, never, RpcSerialization.RpcSerialization> => {
  const known = keys.map(derive)
  return Layer.effect(
    Runners.RpcClientProtocol,
    Effect.gen(function*() {
      const serialization = yield* RpcSerialization.RpcSerialization
      return {
        codecFor: serialization.codecFor,
        make: Effect.fnUntraced(function*({ host, port }) {
          const socket = yield* NodeSocket.makeTls({
            ...tls,
            host,
            port,
            openTimeout: openMax,
            // There is no certificate to check: the handshake proves that the server has the key.
            checkServerIdentity: () => undefined,
            pskCallback: (hint) => {
              const offered = (hint ?? "").split(",")
              const key = known.find(({ id }) => offered.includes(id))
              return key === undefined ? null : { psk: key.psk, identity: key.id }
            }
          })
          return yield* RpcClient.makeProtocolSocket().pipe(
            Effect.provideService(Socket.Socket, socket),
            Effect.provideService(RpcSerialization.RpcSerialization, serialization)
          )
        }, Effect.orDie)
      }
    })
  )
}
