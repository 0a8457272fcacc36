/**
 * The typed client that other Effect programs import. Calls fail with typed errors; calls that are safe to repeat are
 * repeated for a while first. Streams outlive a lost connection: they reconnect automatically, after a growing and
 * randomised wait, and resume after the last item they returned. Runs in browsers too.
 */
import { Cause, Context, Deferred, Duration, Effect, Layer, Queue, Redacted, Stream } from "effect"
import { FetchHttpClient, Headers } from "effect/http"
import { RpcClient, RpcMiddleware, RpcSerialization } from "effect/rpc"
import type { RpcClientError } from "effect/rpc"
import { Socket } from "effect/socket"
import { RpcAuthorization } from "../contracts/Authorization.ts"
import type { Forbidden, TooManyRequests, Unauthorized } from "../contracts/Authorization.ts"
import { ColumbaRpcs, rpcHttpPath, rpcWebSocketPath } from "../contracts/ColumbaRpcs.ts"
import type { TooManyStreams } from "../contracts/Failures.ts"
import type { loginErrors } from "../contracts/LoginOperations.ts"
import type { EventsItem, WatchItem } from "../contracts/EventPayloads.ts"
import type { LoginStep, LoginWay } from "../domain/Login.ts"
import type { DeviceId, Position } from "../domain/Ids.ts"
import type { EventsExpired, LogReset, PositionInvalid } from "../domain/MessageErrors.ts"
import { makeCalls } from "./calls.ts"
import type { Calls, Rpcs } from "./calls.ts"
import { EarlierPositions } from "./EarlierPositions.ts"
import { endSilence, reconnectPolicy, resuming, serverStopped } from "./reconnecting.ts"
import type { Connection, Interruption } from "./reconnecting.ts"
import { makeFiles } from "./upload.ts"
import type { Files } from "./upload.ts"

export type { Files, Upload, UploadFailure } from "./upload.ts"

export interface ColumbaClientOptions {
  /** The address of Columba: `http://host:port` or `https://…`. */
  readonly url: string
  /** The API key, if the server requires one. */
  readonly apiKey?: string | Redacted.Redacted | undefined
  /**
   * How long a call that is safe to repeat is repeated while no answer comes or the database is unavailable; zero: it
   * is not repeated. Reads are safe, and so are calls with an `idempotencyKey`: if the caller sets none, the client
   * generates one.
   */
  readonly retryFor?: Duration.Input | undefined
  /**
   * Called each time a stream is about to be reopened, with the reason: nothing else shows that the stream is
   * interrupted.
   */
  readonly onReconnect?: ((reason: Interruption | LogReset) => void) | undefined
}

export interface WebSocketOptions extends ColumbaClientOptions {
  /** For a runtime without WebSockets, such as Node 20: the class `WebSocket` of the package `ws`. */
  readonly webSocket?: (new(url: string) => Socket.WebSocketLike) | undefined
}

/** Long enough for a server to restart, and short enough for a caller that waits for an answer. */
const retryForDefault = Duration.seconds(15)

/** The failures that can end a stream; the stream retries after all others. */
export type StreamFailure = PositionInvalid | EventsExpired | LogReset | Unauthorized | Forbidden

/** How a device is logged in: by QR code by default; a pairing code needs the phone's number. */
export interface LoginOptions {
  readonly id: DeviceId
  readonly method?: LoginWay
  readonly phone?: Redacted.Redacted
}

/** The start and the filter of a stream of events. */
export interface FollowOptions {
  /** A position from an earlier item or page, or `beginning`. */
  readonly after?: Position | undefined
  readonly device?: DeviceId | undefined
  readonly kinds?: ReadonlyArray<string> | undefined
  /**
   * The reaction when the server's log went back, because an older copy of its database was restored: end with
   * `LogReset` (the default), or resume after the newest position of this stream that the log still accepts. Then
   * nothing is missed; events may come again, under their ids, and some of those already returned are no longer in the
   * log. If the log accepts none, the stream continues with new events only.
   */
  readonly onReset?: "fail" | "resume" | undefined
}

/** Why a login does not begin, or that the connection was lost. */
export type LoginStreamFailure =
  | (typeof loginErrors)[number]["Type"]
  | TooManyRequests
  | TooManyStreams
  | Unauthorized
  | Forbidden
  | RpcClientError.RpcClientError

/** The calls of the table of operations, and the streams. */
export interface Columba extends Calls {
  readonly events: Calls["events"] & {
    /**
     * Replays the events after `after`, then continues live; without `after`, only new events. Across lost connections
     * no event is missing and none comes twice. Heartbeats show how far everything has been returned.
     */
    readonly follow: (options?: FollowOptions) => Stream.Stream<EventsItem, StreamFailure>
  }
  readonly files: Files
  /**
   * Logs a device in: the steps of its login, from the current one to the last one. Leaving the stream leaves the
   * login. A lost connection does too, and fails this stream: a login that is begun again shows another code.
   */
  readonly login: (asked: LoginOptions) => Stream.Stream<LoginStep, LoginStreamFailure>
  /** Every device, `Synced`, then changes; after a lost connection, or a log that went back, every device again. */
  readonly watchDevices: Stream.Stream<WatchItem, StreamFailure>
}

export class ColumbaClient extends Context.Service<ColumbaClient, Columba>()("columba/client/ColumbaClient") {
  /** Over one WebSocket: streams with backpressure, and the cheapest calls. */
  static readonly layer = (options: WebSocketOptions): Layer.Layer<ColumbaClient> =>
    presentKey.pipe(
      Layer.provideMerge(layerWith(options)),
      Layer.provide(RpcClient.layerProtocolSocket({ retryPolicy: reconnectPolicy })),
      Layer.provideMerge(Layer.effectContext(makeConnections)),
      Layer.provide(Socket.layerWebSocket(`${trimmed(options.url).replace(/^http/, "ws")}${rpcWebSocketPath}`)),
      Layer.provide([webSocketConstructor(options.webSocket), RpcSerialization.layerNdjson])
    )

  /** Over plain HTTP requests, for networks that block WebSockets. */
  static readonly layerHttp = (options: ColumbaClientOptions): Layer.Layer<ColumbaClient> =>
    layerWith(options).pipe(
      Layer.provide(RpcClient.layerProtocolHttp({ url: `${trimmed(options.url)}${rpcHttpPath}` })),
      Layer.provide([FetchHttpClient.layer, RpcSerialization.layerNdjson])
    )
}

const make = Effect.fnUntraced(function*(options: ColumbaClientOptions) {
  const rpc = yield* RpcClient.make(ColumbaRpcs)
  let closed = false
  yield* Effect.addFinalizer(() => Effect.sync(() => void (closed = true)))
  const connections = yield* Effect.serviceOption(Connections)
  const connected = connections._tag === "Some" ? connections.value.next : Effect.never
  const connection: Connection = { isClosed: () => closed, onReconnect: options.onReconnect, connected }
  const retryFor = Duration.fromInputUnsafe(options.retryFor ?? retryForDefault)
  const calls = makeCalls(rpc, retryFor, connection.isClosed)
  return ColumbaClient.of({
    ...calls,
    files: yield* makeFiles({ url: trimmed(options.url), apiKey: options.apiKey, retryFor }),
    events: { ...calls.events, follow: (options = {}) => follow(rpc, options, connection) },
    login: (asked) =>
      Stream.catchCauseIf(rpc.Login(asked), Cause.hasInterruptsOnly, (cause) => Stream.fail(serverStopped(cause))),
    watchDevices: resuming(() => endSilence(rpc.WatchDevices(undefined)), ({ _tag }) => _tag === "LogReset", connection)
  })
})

const layerWith = (options: ColumbaClientOptions) =>
  Layer.effect(ColumbaClient, make(options)).pipe(Layer.provide(authorization(options.apiKey)))

const webSocketConstructor = (given: WebSocketOptions["webSocket"]) =>
  given === undefined
    ? Layer.unwrap(Effect.sync(() => {
      if (globalThis.WebSocket === undefined) throw new Error(noWebSocket)
      return Socket.layerWebSocketConstructorGlobal
    }))
    : Layer.succeed(Socket.WebSocketConstructor, (url) => new given(url))

const noWebSocket =
  "This runtime has no WebSocket: pass one as `webSocket`, such as that of the package ws, or use plain requests"

/** Notifies of new connections of the WebSocket. */
class Connections extends Context.Service<Connections, {
  /** Has one element after a new connection. */
  readonly opened: Queue.Dequeue<void>
  /** Returns once there is a newer connection than now. */
  readonly next: Effect.Effect<void>
}>()("columba/client/Connections") {}

const makeConnections = Effect.map(Queue.sliding<void>(1), (opened) => {
  let next = Deferred.makeUnsafe<void>()
  const notify = Effect.sync(() => {
    Queue.offerUnsafe(opened, undefined)
    Deferred.doneUnsafe(next, Effect.void)
    next = Deferred.makeUnsafe()
  })
  return Context.make(Connections, { opened, next: Effect.suspend(() => Deferred.await(next)) }).pipe(
    Context.add(RpcClient.ConnectionHooks, { onConnect: notify, onDisconnect: Effect.void })
  )
})

/**
 * A server with keys closes a WebSocket that sends no request with a key soon. Each new connection therefore begins
 * with a request, so that an idle client keeps it.
 */
const presentKey = Layer.effectDiscard(Effect.gen(function*() {
  const { opened } = yield* Connections
  const { server } = yield* ColumbaClient
  yield* Effect.forkScoped(
    Effect.forever(Effect.andThen(Queue.take(opened), Effect.ignore(server.ping())))
  )
}))

/** Every request carries the key, because a browser cannot set headers on a WebSocket. */
const authorization = (apiKey: ColumbaClientOptions["apiKey"]) => {
  const key = Redacted.isRedacted(apiKey) ? Redacted.value(apiKey) : apiKey
  return RpcMiddleware.layerClient(RpcAuthorization, ({ next, request }) =>
    next(
      key === undefined
        ? request
        : { ...request, headers: Headers.set(request.headers, "authorization", `Bearer ${key}`) }
    ))
}

const trimmed = (url: string): string => url.replace(/\/+$/, "")

const follow = (
  rpc: Rpcs,
  options: FollowOptions,
  connection: Connection
): Stream.Stream<EventsItem, StreamFailure> =>
  Stream.suspend(() => {
    let after = options.after
    const earlier = new EarlierPositions()
    if (after !== undefined) earlier.add(after)
    const filter = {
      ...(options.device === undefined ? {} : { device: options.device }),
      ...(options.kinds === undefined ? {} : { kinds: options.kinds })
    }
    const open = (): Stream.Stream<EventsItem, StreamFailure | Interruption> =>
      endSilence(rpc.Events(after === undefined ? filter : { ...filter, after })).pipe(
        Stream.map((item) => {
          after = item._tag === "Event" ? item.position : item.through
          earlier.add(after)
          return item
        }),
        Stream.catchTag("LogReset", (error) => {
          const next = options.onReset === "resume" ? earlier.takeNewest() : null
          after = next ?? error.head
          // Reopened at once: the earlier positions are few, and each is refused or accepted for good.
          return next === null ? Stream.fail(error) : open()
        })
      )
    return resuming(open, (error) => options.onReset === "resume" && error._tag === "LogReset", connection)
  })
