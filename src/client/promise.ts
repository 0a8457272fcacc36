/**
 * `columba-client/promise`: the same client for programs without Effect. Calls are promises, streams are async
 * iterators, and arguments and results are the JSON of the HTTP API. A promise is rejected with the typed error
 * itself, identified by its `_tag`.
 */
import { Data, Deferred, Effect, ManagedRuntime, Option, Schema, Stream } from "effect"
import { Headers, HttpTraceContext } from "effect/http"
import { RpcClientError } from "effect/rpc"
import type { Rpc } from "effect/rpc"
import { RpcAuthorization } from "../contracts/Authorization.ts"
import { ColumbaRpcs } from "../contracts/ColumbaRpcs.ts"
import { RequestInvalid } from "../contracts/Failures.ts"
import { FileToSend } from "../contracts/FileEndpoint.ts"
import { FollowLoginFields } from "../contracts/LoginOperations.ts"
import { operations } from "../contracts/Operations.ts"
import type { AnyOperation } from "../contracts/Operations.ts"
import { EventsItem, FollowEventsFields, WatchItem } from "../contracts/EventPayloads.ts"
import type { EventsPage } from "../contracts/EventPayloads.ts"
import { DeviceId } from "../domain/Ids.ts"
import type { Event } from "../domain/Event.ts"
import { LoginStep } from "../domain/Login.ts"
import { ColumbaClient } from "./ColumbaClient.ts"
import type { Columba, FollowOptions, LoginStreamFailure, StreamFailure, WebSocketOptions } from "./ColumbaClient.ts"
import { UploadError } from "./upload.ts"
import type { Upload, UploadFailure } from "./upload.ts"

export { beginning } from "../domain/Ids.ts"

export interface ConnectOptions extends WebSocketOptions {
  /** `websocket` if the runtime has one or `webSocket` is set, otherwise `http`. */
  readonly transport?: "websocket" | "http" | undefined
}

export interface StreamOptions {
  /** Ends the stream: the iterator throws the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

export interface CallOptions extends StreamOptions {
  /** The caller's trace, as W3C Trace Context writes it: the server's spans become part of it. */
  readonly traceparent?: string | undefined
}

/** The client was closed before the call had its answer. */
export class ClientClosed extends Data.TaggedError("ClientClosed")<{ readonly message: string }> {}

/** All failures of a call or a stream. */
export type Failure =
  | Rpc.Error<AnyOperation["rpc"]>
  | LoginStreamFailure
  | StreamFailure
  | UploadFailure
  | RequestInvalid
  | ClientClosed

/**
 * Whether a caught value is a failure of this client, and not of the program around it. Its `_tag` identifies the
 * failure.
 */
export const isFailure = (error: unknown): error is Failure =>
  error instanceof ClientClosed || error instanceof RpcClientError.RpcClientError ||
  failures.some((isOne) => isOne(error))

/** One for each declared union of errors; `Schema.is` checks for an instance of the class. */
const failures: ReadonlyArray<(error: unknown) => boolean> = [
  ...[...ColumbaRpcs.requests.values()].map(({ errorSchema }) => errorSchema),
  RpcAuthorization.error,
  UploadError
].map((schema) => Schema.is(schema))

type Input<Op extends AnyOperation> = Op["rpc"]["payloadSchema"]["Encoded"]

type Call<Op extends AnyOperation> = (
  ...request: {} extends Input<Op> ? [payload?: Input<Op>, options?: CallOptions]
    : [payload: Input<Op>, options?: CallOptions]
) => Promise<Op["rpc"]["successSchema"]["Encoded"]>

export type PromiseCalls = {
  readonly [Group in AnyOperation["group"]]: {
    readonly [Op in Extract<AnyOperation, { readonly group: Group }> as Op["endpoint"]["identifier"]]: Call<Op>
  }
}

/** The start and the filter of a stream of events. */
export interface PlainFollowOptions extends Pick<FollowOptions, "onReset"> {
  /** A position from an earlier item or page, or `beginning`; without it, only new events. */
  readonly after?: string | undefined
  readonly device?: string | undefined
  readonly kinds?: ReadonlyArray<string> | undefined
}

const Uploaded = Schema.Struct({ id: DeviceId })
const FollowEvents = Schema.Struct(FollowEventsFields)
const FollowLogin = Schema.Struct(FollowLoginFields)

/** The event as every reader gets it. An event of a kind added by a later version is included, as it is stored. */
export type PlainEvent = typeof Event.Encoded
export type PlainEventsItem =
  | { readonly _tag: "Event"; readonly event: PlainEvent; readonly position: string }
  | { readonly _tag: "Heartbeat"; readonly through: string }
export type PlainEventsPage = typeof EventsPage.Encoded
export type PlainWatchItem = typeof WatchItem.Encoded
export type PlainLoginStep = typeof LoginStep.Encoded

export type PlainFileToSend = typeof FileToSend.Encoded

/** A `Blob` or `File` is read from where it is; a stream can be read once, so its upload is not repeated. */
export interface PlainUpload {
  readonly id: string
  readonly content: Blob | Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>
}

export interface PromiseColumba extends Omit<PromiseCalls, "events"> {
  readonly events: {
    readonly page: (...request: Parameters<PromiseCalls["events"]["page"]>) => Promise<PlainEventsPage>
    /**
     * Replays the events after `after`, then continues live. Across lost connections no event is missing and none
     * comes twice. To resume later, store the `position` of the last event in one transaction with the effects of that
     * event.
     */
    readonly follow: (asked?: PlainFollowOptions, options?: StreamOptions) => AsyncIterable<PlainEventsItem>
  }
  readonly files: {
    /**
     * Uploads a file that messages of the device can be sent with, at most 95 MB, while it is read. Its id is derived
     * from its content, so that a repeat gives the same one. Browsers send a stream only over HTTP/2, and only some of
     * them: pass them a `Blob`. In Node, `openAsBlob` makes one of a file.
     */
    readonly upload: (asked: PlainUpload, options?: CallOptions) => Promise<PlainFileToSend>
  }
  /** The steps of a login, from the current one to the last one. Leaving the loop leaves the login. */
  readonly login: (
    asked: typeof FollowLogin.Encoded,
    options?: StreamOptions
  ) => AsyncIterable<PlainLoginStep>
  /** Every device, `Synced`, then changes; after a lost connection every device again. */
  readonly watchDevices: (options?: StreamOptions) => AsyncIterable<PlainWatchItem>
  /** Ends the loops over streams, and fails the calls that are under way with `ClientClosed`. */
  readonly close: () => Promise<void>
}

/** Connects at the first call, and reconnects automatically whenever the connection is lost. */
export const connect = (options: ConnectOptions): PromiseColumba => {
  const runtime = ManagedRuntime.make(chooseLayer(options))
  const closed = Deferred.makeUnsafe<void>()

  const call = async (effect: Effect.Effect<unknown, unknown, ColumbaClient>, options: CallOptions = {}) => {
    options.signal?.throwIfAborted()
    try {
      if (Deferred.isDoneUnsafe(closed)) throw clientClosed()
      const traced = withCaller(Effect.raceFirst(effect, failWhenClosed(closed)), options.traceparent)
      return await runtime.runPromise(traced, options.signal === undefined ? {} : { signal: options.signal })
    } catch (error) {
      options.signal?.throwIfAborted()
      throw error
    }
  }

  const iterate = async function*<A>(
    open: (columba: Columba) => Stream.Stream<A, unknown>,
    options: StreamOptions = {}
  ): AsyncGenerator<A, void, undefined> {
    options.signal?.throwIfAborted()
    if (Deferred.isDoneUnsafe(closed)) return
    const stream = Stream.unwrap(Effect.map(ColumbaClient, open)).pipe(
      Stream.interruptWhen(Deferred.await(closed)),
      Stream.interruptWhen(failWhenAborted(options.signal))
    )
    yield* Stream.toAsyncIterableWith(stream, await runtime.context())
  }

  const calls = makeCalls(call)
  return {
    ...calls,
    events: {
      page: calls.events.page as PromiseColumba["events"]["page"],
      follow: ({ onReset, ...asked } = {}, options) =>
        iterate(
          (columba) =>
            decoding(FollowEvents, asked, (decoded) => columba.events.follow({ ...decoded, onReset })).pipe(
              encoded(EventsItem),
              Stream.map((item) => item as PlainEventsItem)
            ),
          options
        )
    },
    files: {
      upload: (asked, options) =>
        call(
          Effect.gen(function*() {
            const { id } = yield* decodeAs(Uploaded)({ id: asked.id })
            const { files } = yield* ColumbaClient
            const file = yield* files.upload({ id, content: readContent(asked.content) })
            return yield* Schema.encodeEffect(FileToSend)(file)
          }),
          options
        ) as Promise<PlainFileToSend>
    },
    login: (asked, options) =>
      iterate((columba) => decoding(FollowLogin, asked, columba.login).pipe(encoded(LoginStep)), options),
    watchDevices: (options) => iterate(({ watchDevices }) => watchDevices.pipe(encoded(WatchItem)), options),
    close: async () => {
      Deferred.doneUnsafe(closed, Effect.void)
      await runtime.dispose()
    }
  }
}

/** The failure of the caller's stream is the one its promise is rejected with. */
const readContent = (content: PlainUpload["content"]): Upload<unknown>["content"] =>
  content instanceof Blob || content instanceof Uint8Array
    ? content
    : content instanceof ReadableStream
    ? Stream.fromReadableStream({ evaluate: () => content, onError: (error): unknown => error })
    : Stream.fromAsyncIterable(content, (error): unknown => error)

const chooseLayer = (options: ConnectOptions) => {
  const hasWebSocket = options.webSocket !== undefined || globalThis.WebSocket !== undefined
  const transport = options.transport ?? (hasWebSocket ? "websocket" : "http")
  return transport === "websocket" ? ColumbaClient.layer(options) : ColumbaClient.layerHttp(options)
}

type ErasedCall = (payload: object) => Effect.Effect<unknown, unknown>

type Run = (effect: Effect.Effect<unknown, unknown, ColumbaClient>, options?: CallOptions) => Promise<unknown>

/** As in `calls.ts`, the loop works on erased types. */
const makeCalls = (run: Run): PromiseCalls => {
  const groups: Record<string, Record<string, (payload?: object, options?: CallOptions) => Promise<unknown>>> = {}
  for (const { endpoint, group, rpc } of operations) {
    const name = endpoint.identifier
    const decode = decodeAs(rpc.payloadSchema as Schema.Codec<object, unknown>)
    const encode = Schema.encodeEffect(rpc.successSchema as Schema.Codec<unknown, unknown>)
    const calls = (groups[group] ??= {})
    calls[name] = (payload = {}, options) =>
      run(
        Effect.gen(function*() {
          const decoded = yield* decode(payload)
          const columba = yield* ColumbaClient
          const send = (columba[group] as unknown as Record<string, ErasedCall>)[name]!
          return yield* Effect.flatMap(send(decoded), encode)
        }),
        options
      )
  }
  return groups as unknown as PromiseCalls
}

/** JSON leaves out fields that are undefined. */
const decodeAs = <A>(schema: Schema.Codec<A, unknown>) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (payload: object): Effect.Effect<A, RequestInvalid> =>
    Effect.mapError(
      decode(JSON.parse(JSON.stringify(payload))),
      ({ issue }) => RequestInvalid.ofIssue("payload", issue)
    )
}

const decoding = <P, A, E>(
  schema: Schema.Codec<P, unknown>,
  asked: object,
  open: (decoded: P) => Stream.Stream<A, E>
): Stream.Stream<A, E | RequestInvalid> => Stream.unwrap(Effect.map(decodeAs(schema)(asked), open))

const encoded = <A, I>(schema: Schema.Codec<A, I>) => {
  const encode = Schema.encodeSync(schema)
  return Stream.map((item: A) => encode(item))
}

const clientClosed = () => new ClientClosed({ message: "The client was closed" })

const failWhenClosed = (closed: Deferred.Deferred<void>) =>
  Effect.andThen(Deferred.await(closed), Effect.suspend(() => Effect.fail(clientClosed())))

const failWhenAborted = (signal: AbortSignal | undefined): Effect.Effect<never, unknown> =>
  signal === undefined ? Effect.never : Effect.callback((resume) => {
    const abort = () => resume(Effect.fail(signal.reason))
    if (signal.aborted) return abort()
    signal.addEventListener("abort", abort, { once: true })
    return Effect.sync(() => signal.removeEventListener("abort", abort))
  })

const withCaller = <A, E, R>(effect: Effect.Effect<A, E, R>, traceparent: string | undefined) =>
  traceparent === undefined ? effect : Option.match(HttpTraceContext.w3c(Headers.fromInput({ traceparent })), {
    onNone: () => effect,
    onSome: (span) => Effect.withParentSpan(effect, span)
  })
