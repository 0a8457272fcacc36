/**
 * The typed client that other Effect programs import. Calls fail with typed errors and are not repeated.
 * Streams do not end when the connection does: they reconnect by themselves, after a growing and scattered wait, and go
 * on after the last item they gave out. Runs in browsers too.
 */
import { Cause, Context, Duration, Effect, Layer, Queue, Schedule, Stream } from "effect"
import type { Redacted } from "effect"
import { FetchHttpClient, Headers } from "effect/http"
import { RpcClient, RpcMiddleware, RpcSerialization } from "effect/rpc"
import type { RpcClientError } from "effect/rpc"
import { Socket } from "effect/socket"
import { RpcAuthorization } from "../contracts/Authorization.ts"
import type { Forbidden, Unauthorized } from "../contracts/Authorization.ts"
import { ColumbaRpcs, rpcHttpPath, rpcWebSocketPath } from "../contracts/ColumbaRpcs.ts"
import type { TooManyStreams } from "../contracts/Failures.ts"
import type { EventsItem, WatchItem } from "../contracts/Payloads.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { LoginWay } from "../domain/Login.ts"
import type { DeviceId, Position } from "../domain/Ids.ts"
import type { EventsExpired, LogReset, PositionInvalid } from "../domain/MessageErrors.ts"
import { makeCalls, serverStopped } from "./calls.ts"
import type { Rpcs } from "./calls.ts"
import { EarlierPositions } from "./EarlierPositions.ts"

export interface ColumbaClientOptions {
  /** Where Columba listens: `http://host:port` or `https://…`. */
  readonly url: string
  /** Where the server asks for one. */
  readonly apiKey?: string | undefined
}

/** What a stream can end with; all else is waited out. */
export type StreamFailure = PositionInvalid | EventsExpired | LogReset | Unauthorized | Forbidden

/** How a device is logged in: by QR code, unless it says otherwise; a pairing code needs the phone's number. */
export interface LoginOptions {
  readonly id: DeviceId
  readonly method?: LoginWay
  readonly phone?: Redacted.Redacted
}

/** Where and what a stream of events reads. */
export interface FollowOptions {
  /** A position that an earlier item or page named, or `beginning`. */
  readonly after?: Position | undefined
  readonly device?: DeviceId | undefined
  readonly kinds?: ReadonlyArray<string> | undefined
  /**
   * What to do when the server's log went back, because an older copy of its database was restored: end with
   * `LogReset` (the default), or go on after the newest position of this stream that the log still accepts. Nothing is
   * missed then; events may come again, under their ids, and some of those given out are no longer in the log. If it
   * accepts none, the stream goes on with only what comes.
   */
  readonly onReset?: "fail" | "resume" | undefined
}

/** Short, so that a restart of the server is hardly noticed. */
const reconnectDelayMin = Duration.millis(250)

/** Long enough that a server that is down is not flooded. */
const reconnectDelayMax = Duration.seconds(10)

/**
 * After a connection that lasted this long the wait starts anew. With less, a server that fails again and again would
 * be flooded.
 */
const stableAfter = Duration.seconds(10)

/** A growing wait with jitter, so that a thousand clients of one server do not reconnect at the same moment. */
const reconnectPolicy = Schedule.fromStepWithMetadata(Effect.sync(() => {
  let wait = 0
  return ({ elapsedSincePrevious }: Schedule.InputMetadata<unknown>) => {
    const stood = elapsedSincePrevious - wait > Duration.toMillis(stableAfter)
    wait = stood || wait === 0
      ? Duration.toMillis(reconnectDelayMin)
      : Math.min(wait * 1.7, Duration.toMillis(reconnectDelayMax))
    return Effect.succeed<[number, Duration.Duration]>([wait, Duration.millis(wait)])
  }
})).pipe(Schedule.jittered)

export class ColumbaClient extends Context.Service<ColumbaClient, Effect.Success<typeof make>>()(
  "columba/client/ColumbaClient"
) {
  /** Over one WebSocket: streams with backpressure, and the cheapest calls. */
  static readonly layer = (options: ColumbaClientOptions): Layer.Layer<ColumbaClient> =>
    presentKey.pipe(
      Layer.provideMerge(layerWith(options)),
      Layer.provide(RpcClient.layerProtocolSocket({ retryPolicy: reconnectPolicy })),
      Layer.provideMerge(Layer.effectContext(makeConnections)),
      Layer.provide(Socket.layerWebSocket(`${trimmed(options.url).replace(/^http/, "ws")}${rpcWebSocketPath}`)),
      Layer.provide([Socket.layerWebSocketConstructorGlobal, RpcSerialization.layerNdjson])
    )

  /** Over plain HTTP requests, for networks that let no WebSocket through. */
  static readonly layerHttp = (options: ColumbaClientOptions): Layer.Layer<ColumbaClient> =>
    layerWith(options).pipe(
      Layer.provide(RpcClient.layerProtocolHttp({ url: `${trimmed(options.url)}${rpcHttpPath}` })),
      Layer.provide([FetchHttpClient.layer, RpcSerialization.layerNdjson])
    )
}

const make = Effect.gen(function*() {
  const rpc = yield* RpcClient.make(ColumbaRpcs)
  const calls = makeCalls(rpc)
  return {
    ...calls,
    events: {
      ...calls.events,
      /**
       * Replays what follows `after`, then goes on live; without `after`, what comes from now on. Over lost connections
       * no event is missing and none comes twice. Heartbeats say how far everything has been given out.
       */
      follow: (options: FollowOptions = {}): Stream.Stream<EventsItem, StreamFailure> => follow(rpc, options)
    },
    /**
     * Logs a device in: the steps of its login, the current one first, to the last one. Leaving the stream leaves the login,
     * and so does a lost connection, with which this stream fails: a login that is begun again shows another code.
     */
    login: (asked: LoginOptions) =>
      Stream.catchCauseIf(rpc.Login(asked), Cause.hasInterruptsOnly, (cause) => Stream.fail(serverStopped(cause))),
    /** Every device, `Synced`, then changes; after a lost connection, or a log that went back, every device again. */
    watchDevices: resuming(
      () => rpc.WatchDevices(undefined),
      ({ _tag }) => _tag === "LogReset"
    ) satisfies Stream.Stream<WatchItem, StreamFailure>
  }
})

const layerWith = (options: ColumbaClientOptions) =>
  Layer.effect(ColumbaClient, make).pipe(Layer.provide(authorization(options.apiKey)))

/** Has one element after a new connection. */
class Connections extends Context.Service<Connections, Queue.Dequeue<void>>()("columba/client/Connections") {}

const makeConnections = Effect.map(Queue.sliding<void>(1), (connections) =>
  Context.make(Connections, connections).pipe(
    Context.add(RpcClient.ConnectionHooks, {
      onConnect: Effect.asVoid(Queue.offer(connections, undefined)),
      onDisconnect: Effect.void
    })
  ))

/**
 * A server with keys closes a WebSocket by which no request with a key comes soon. So that an idle client keeps its
 * connection, each new one begins with a request.
 */
const presentKey = Layer.effectDiscard(Effect.gen(function*() {
  const connections = yield* Connections
  const { server } = yield* ColumbaClient
  yield* Effect.forkScoped(
    Effect.forever(Effect.andThen(Queue.take(connections), Effect.ignore(server.ping())))
  )
}))

/** Every request carries the key, because a browser cannot set headers on a WebSocket. */
const authorization = (apiKey: string | undefined) =>
  RpcMiddleware.layerClient(RpcAuthorization, ({ next, request }) =>
    next(
      apiKey === undefined
        ? request
        : { ...request, headers: Headers.set(request.headers, "authorization", `Bearer ${apiKey}`) }
    ))

const trimmed = (url: string): string => url.replace(/\/+$/, "")

const follow = (rpc: Rpcs, options: FollowOptions): Stream.Stream<EventsItem, StreamFailure> =>
  Stream.suspend(() => {
    let after = options.after
    const earlier = new EarlierPositions()
    if (after !== undefined) earlier.add(after)
    const filter = {
      ...(options.device === undefined ? {} : { device: options.device }),
      ...(options.kinds === undefined ? {} : { kinds: options.kinds })
    }
    const open = (): Stream.Stream<EventsItem, StreamFailure | Interruption> =>
      rpc.Events(after === undefined ? filter : { ...filter, after }).pipe(
        Stream.map((item) => {
          after = item._tag === "Event" ? item.position : item.through
          earlier.add(after)
          return item
        }),
        Stream.catchTag("LogReset", (error) => {
          const next = options.onReset === "resume" ? earlier.takeNewest() : null
          after = next ?? error.head
          // At once: these are few, and each is refused or accepted for good.
          return next === null ? Stream.fail(error) : open()
        })
      )
    return resuming(open, (error) => options.onReset === "resume" && error._tag === "LogReset")
  })

/** Failures that end one connection of a stream but not the stream. */
type Interruption = RpcClientError.RpcClientError | StorageUnavailable | TooManyStreams

/**
 * Opens the stream again, whenever it ends or fails for a reason that may pass or that `passes` accepts. A server that stops interrupts its
 * streams, which arrives here as an interruption that is not ours; it counts as a lost connection.
 */
const resuming = <A, E extends { readonly _tag: string }>(
  open: () => Stream.Stream<A, E | Interruption>,
  passes: (error: { readonly _tag: string }) => boolean
): Stream.Stream<A, Exclude<E, Interruption>> =>
  Stream.suspend(open).pipe(
    Stream.concat(Stream.fail(serverStopped(Cause.empty))),
    Stream.catchCauseIf(Cause.hasInterruptsOnly, (cause) => Stream.fail(serverStopped(cause))),
    Stream.retry(Schedule.while(reconnectPolicy, ({ input }) => {
      const error = input as { readonly _tag: string }
      return mayPass(error) || passes(error)
    }))
  ) as Stream.Stream<A, Exclude<E, Interruption>>

const mayPass = (error: { readonly _tag: string }): boolean =>
  error._tag === "RpcClientError" || error._tag === "StorageUnavailable" || error._tag === "TooManyStreams"
