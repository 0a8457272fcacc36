/**
 * All routes, and the server that serves them on one port: HTTP API, RPC over HTTP and WebSocket, documents, health and
 * metrics.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Duration, Effect, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApiBuilder, OpenApi } from "effect/http-api"
import { RpcSerialization } from "effect/rpc"
import { createServer } from "node:http"
import type { Socket } from "node:net"
import { Api } from "../contracts/Api.ts"
import { rpcHttpPath, rpcWebSocketPath } from "../contracts/ColumbaRpcs.ts"
import { uploadTimeout } from "../contracts/FileEndpoint.ts"
import { AuditTrail } from "./AuditTrail.ts"
import * as AuthorizationHttp from "./AuthorizationHttp.ts"
import { Draining } from "./Draining.ts"
import { guard, requestBodyMax } from "./Edge.ts"
import { EventsHttp } from "./EventsHttp.ts"
import { FilesHttp } from "./FilesHttp.ts"
import { HealthRoutes } from "./Health.ts"
import { MediaHttp } from "./MediaHttp.ts"
import { OpenStreams } from "./OpenStreams.ts"
import { layerGroup, Operations } from "./Operations.ts"
import { QrHttp } from "./QrHttp.ts"
import { assetsPath, pagePaths, PageRoutes } from "./PagesHttp.ts"
import * as RequestValidationHttp from "./RequestValidationHttp.ts"
import { RpcHandlers } from "./RpcHandlers.ts"
import { rpcProtocols } from "./rpcProtocols.ts"
import { withoutAddresses } from "./tracing.ts"
import { CallerSockets } from "./CallerSockets.ts"
import { WebhookRoutes } from "./WebhooksHttp.ts"

export interface HttpServerOptions {
  readonly host: string
  /** 0 chooses any free one. */
  readonly port: number
  /** Origins whose web pages may call. */
  readonly corsOrigins: ReadonlyArray<string>
}

/** A client that takes longer to send its headers is broken or an attacker. */
const headersTimeout = Duration.seconds(10)

/** The same for a whole request, body included, where no narrower limit ends it (`Edge`). */
const requestTimeout = uploadTimeout

/**
 * Longer than common proxies keep an idle connection, so the proxy closes it first, and no request arrives on a closed
 * one.
 */
const keepAliveTimeout = Duration.seconds(75)

/** How often the time limits above are checked. */
const connectionsCheckInterval = Duration.seconds(2)

/** Silence after which the operating system probes whether the peer is still there. */
const keepAliveProbe = Duration.seconds(30)

/** How long requests in flight may take to end when the server stops. Streams end at once (`Draining`). */
const shutdownTimeout = Duration.seconds(5)

const ApiRoutes = HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(
  Layer.provide([
    layerGroup("devices"),
    layerGroup("gateways"),
    layerGroup("gaps"),
    layerGroup("messages"),
    layerGroup("schedules"),
    layerGroup("subscriptions"),
    layerGroup("deadLetters"),
    layerGroup("keys"),
    layerGroup("server"),
    EventsHttp,
    FilesHttp,
    MediaHttp,
    QrHttp
  ]),
  Layer.provide([AuthorizationHttp.layerHttp, RequestValidationHttp.layer])
)

const RpcRoutes = rpcProtocols.pipe(
  Layer.provide([RpcHandlers, AuthorizationHttp.layerRpc, RpcSerialization.layerNdjson])
)

/** All routes. They need a router and the services behind the handlers. */
export const Routes = Layer.mergeAll(ApiRoutes, RpcRoutes, HealthRoutes, WebhookRoutes, ...PageRoutes).pipe(
  Layer.provide(Operations.layer),
  Layer.provide(AuditTrail.layer)
)

/** Paths outside the HTTP API, as expressions, by the methods they take. */
const otherRoutes: ReadonlyArray<readonly [path: string, method: string]> = [
  ...pagePaths.map((path) => [path, "GET"] as const),
  [`${assetsPath}[^/]+`, "GET"],
  ["/openapi.json", "GET"],
  ["/healthz", "GET"],
  ["/readyz", "GET"],
  ["/metrics", "GET"],
  [rpcHttpPath, "POST"],
  [rpcWebSocketPath, "GET"]
]

/** The methods that a path accepts, to distinguish a 405 from a 404. */
export const methodsAt: (path: string) => ReadonlyArray<string> = (() => {
  const routes = Object.entries(OpenApi.fromApi(Api).paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => ({
      pattern: new RegExp(`^${path.replace(/[.]/g, "\\.").replace(/\{\w+\}/g, "[^/]+")}/?$`),
      method: method.toUpperCase()
    }))
  )
  const others = otherRoutes.map(([path, method]) => ({
    pattern: new RegExp(`^${path.replace(/\/$/, "")}/?$`),
    method
  }))
  return (path) => [...routes, ...others].filter(({ pattern }) => pattern.test(path)).map(({ method }) => method)
})()

/** Serves all routes until its scope closes. Listens when the layer is built. */
export const HttpServerLayer = (options: HttpServerOptions) => makeServer(HttpRouter.toHttpEffect(Routes), options)

/** For a process that does not serve the API: health and metrics alone. */
export const HealthServerLayer = (options: HttpServerOptions) =>
  makeServer(HttpRouter.toHttpEffect(HealthRoutes), options)

type Answering = Effect.Success<ReturnType<typeof HttpRouter.toHttpEffect<never, never, never>>>

const makeServer = <R>(answering: Effect.Effect<Answering, never, R>, options: HttpServerOptions) => {
  const served = Layer.unwrap(Effect.gen(function*() {
    const routes = yield* answering
    const { findKey, open } = yield* AuthorizationHttp.Authorizer
    const draining = yield* Draining
    const sockets = yield* CallerSockets
    const { corsOrigins } = options
    return HttpServer.serve(guard(routes, { open, findKey, methodsAt, draining, sockets, corsOrigins }))
  }))
  // Built last, so released first: streams end before the server waits for its connections.
  const drainFirst = Layer.effectDiscard(
    Effect.flatMap(Draining, ({ begin }) => Effect.addFinalizer(() => begin))
  )
  return drainFirst.pipe(
    Layer.provideMerge(served),
    Layer.provideMerge(nodeServer(options)),
    Layer.provide([
      AuthorizationHttp.Authorizer.layer,
      Draining.layer,
      OpenStreams.layer,
      CallerSockets.layer
    ]),
    Layer.provide(withoutAddresses),
    Layer.provide(Layer.succeed(HttpRouter.RouterConfig, { ignoreTrailingSlash: true }))
  )
}

const nodeServer = ({ host, port }: HttpServerOptions) => {
  const sockets = new Set<Socket>()
  const listening = NodeHttpServer.layer(() => {
    const server = createServer({
      headersTimeout: Duration.toMillis(headersTimeout),
      requestTimeout: Duration.toMillis(requestTimeout),
      keepAliveTimeout: Duration.toMillis(keepAliveTimeout),
      connectionsCheckingInterval: Duration.toMillis(connectionsCheckInterval),
      keepAlive: true,
      keepAliveInitialDelay: Duration.toMillis(keepAliveProbe)
    })
    return server.on("connection", (socket) => {
      sockets.add(socket)
      socket.once("close", () => sockets.delete(socket))
    })
  }, {
    host,
    port,
    gracefulShutdownTimeout: shutdownTimeout,
    websocket: { maxPayload: Number(requestBodyMax), perMessageDeflate: false }
  })
  // Runs after the graceful end, and before the wait for the last connection, which has no limit of its own.
  const endRest = Layer.effectDiscard(
    Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
      })
    )
  )
  return Layer.provideMerge(endRest, listening)
}
