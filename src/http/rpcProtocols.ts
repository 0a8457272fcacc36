/**
 * The two transports of the RPCs: single requests over HTTP, and a WebSocket. The framework decodes a request before
 * it checks its key, and answers one that it cannot decode with details of the schemas. Callers without a key must not
 * get those, so such answers are replaced. Columba's own answers are never plain text, which distinguishes them.
 */
import { Effect, Layer } from "effect"
import { RpcServer } from "effect/rpc"
import type { RpcMessage } from "effect/rpc"
import { ColumbaRpcs, rpcHttpPath, rpcWebSocketPath } from "../contracts/ColumbaRpcs.ts"

const unreadable = {
  _tag: "RequestInvalid",
  message: "The request could not be read: no RPC has this tag, or its payload has another form",
  issues: []
}

const replaceWords = (response: RpcMessage.FromServerEncoded): RpcMessage.FromServerEncoded => {
  if (response._tag === "Defect") {
    return typeof response.defect === "string" ? { ...response, defect: unreadable } : response
  }
  if (response._tag !== "Exit" || response.exit._tag !== "Failure") return response
  const cause = response.exit.cause.map((reason) =>
    reason._tag === "Die" && typeof reason.defect === "string" ? { ...reason, defect: unreadable } : reason
  )
  return { ...response, exit: { ...response.exit, cause } }
}

const withoutForeignWords = Effect.map((protocol: RpcServer.Protocol["Service"]) =>
  RpcServer.Protocol.of({
    ...protocol,
    send: (clientId, response, transferables) => protocol.send(clientId, replaceWords(response), transferables)
  })
)

/**
 * Pieces of a stream that wait for a reader over HTTP, in addition to those in its socket. A piece is up to 64 KiB, or
 * one event that is larger, and no budget counts it once it is encoded: a thousand readers that do not read must not
 * hold sixteen each.
 */
const piecesAhead = 1

/** A defect ends its own call, not the connection with all others on it. */
const server = RpcServer.layer(ColumbaRpcs, { disableFatalDefects: true })

/** Serves the RPCs on both. Needs their handlers. */
export const rpcProtocols = Layer.mergeAll(
  Layer.provide(
    server,
    Layer.effect(
      RpcServer.Protocol,
      withoutForeignWords(RpcServer.makeProtocolHttp({ path: rpcHttpPath, streamBufferSize: piecesAhead }))
    )
  ),
  Layer.provide(
    Layer.fresh(server),
    Layer.effect(RpcServer.Protocol, withoutForeignWords(RpcServer.makeProtocolWebsocket({ path: rpcWebSocketPath })))
  )
)
