/** Files are stored as their messages arrive, also over restarts, and are deleted with their messages. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, Scope, Stream } from "effect"
import * as MediaKeeper from "../../../src/actors/delivery/MediaKeeper.ts"
import { GatewayUnavailable } from "../../../src/domain/DeviceErrors.ts"
import type { EventDraft } from "../../../src/domain/Event.ts"
import type { DeviceId, GatewayName, MessageId, UpstreamId } from "../../../src/domain/Ids.ts"
import * as FileMediaStore from "../../../src/layers/files/FileMediaStore.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { GatewayDirectory } from "../../../src/services/GatewayDirectory.ts"
import { MediaUnavailable } from "../../../src/services/GatewayParts.ts"
import type { FetchMedia } from "../../../src/services/GatewayParts.ts"
import { MediaStore } from "../../../src/services/MediaStore.ts"
import { MessageMedia } from "../../../src/services/MessageMedia.ts"
import { freshDirectory } from "../../support/directory.ts"
import { ScriptedGateway } from "../../support/scriptedGateway.ts"
import { makeStorage, messageDraft } from "../../support/surface.ts"
import { until } from "../../support/until.ts"

const device = "dev_01K0000000000000000000TEST" as DeviceId

const setUp = Effect.gen(function*() {
  const gateway = new ScriptedGateway()
  const asked: Array<string> = []
  const script = {
    answer: ((_target, { waId }) =>
      Effect.succeed({
        mimeType: "image/jpeg",
        size: null,
        fileName: null,
        content: Stream.make<[Uint8Array]>(Buffer.from(`file of ${waId}`))
      })) as FetchMedia
  }
  const media: FetchMedia = (target, message) =>
    Effect.suspend(() => {
      asked.push(message.waId)
      return script.answer(target, message)
    })
  Object.assign(gateway, { media })
  const directory = join(yield* freshDirectory, "media")
  const store = FileMediaStore.layer({ directory, keep: Duration.days(1), quotaBytes: 1_000_000 })
  const services = MessageMedia.layer.pipe(
    Layer.provideMerge(store),
    Layer.provideMerge(GatewayDirectory.layerFixed([gateway])),
    Layer.provideMerge(yield* makeStorage)
  )
  const context = yield* Effect.orDie(Layer.build(services))
  const log = Context.get(context, EventLog)
  const kept = Context.get(context, MediaStore)
  yield* Effect.orDie(
    Context.get(context, DeviceRepository).insert({
      id: device,
      name: "one",
      gateway: "default" as GatewayName,
      upstreamId: "slot-1" as UpstreamId
    })
  )
  const receive = (number: number, withFile = true) => {
    const draft = messageDraft(device, number)
    const image: EventDraft = withFile ? { ...draft, data: { ...draft.data, media: { kind: "image" } } } : draft
    return Effect.as(Effect.orDie(log.append([image])), draft.data.messageId)
  }
  /** A keeper, and a function to end it. */
  const start = Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    yield* MediaKeeper.make.pipe(Scope.provide(scope), Effect.provideContext(context))
    return { stop: Scope.close(scope, Exit.void) }
  })
  const untilKept = (id: MessageId) => until(`the file of ${id} is kept`, kept.has(device, id), "20 seconds")
  return { asked, log, kept, media: Context.get(context, MessageMedia), receive, script, start, untilKept }
})

describe("the files of messages", () => {
  it.live("are stored as their messages arrive, and served from then on without their gateway", () =>
    Effect.gen(function*() {
      const { asked, media, receive, script, start, untilKept } = yield* setUp
      const before = yield* receive(1)
      yield* start
      yield* receive(2, false)
      const id = yield* receive(3)
      yield* untilKept(id)
      assert.deepStrictEqual(asked, ["WA3"], "what came before is not fetched, and what has no file neither")
      script.answer = () => Effect.fail(new MediaUnavailable({ message: "gone", reason: "gone" }))
      const given = yield* Effect.scoped(
        Effect.flatMap(media.open(id, undefined), ({ content }) => Stream.runCollect(content))
      )
      assert.strictEqual(Buffer.concat([...given]).toString(), "file of WA3")
      assert.strictEqual((yield* Effect.flip(Effect.scoped(media.open(before, undefined))))._tag, "MediaAbsent")
    }))

  it.live("that arrived while no process ran are fetched by the next one, and none is fetched twice", () =>
    Effect.gen(function*() {
      const { asked, kept, receive, start, untilKept } = yield* setUp
      const { stop } = yield* start
      yield* untilKept(yield* receive(1))
      yield* until("its place is noted", Effect.map(kept.readPlace, (place) => place !== null))
      yield* stop
      const missed = yield* receive(2)
      yield* start
      yield* untilKept(missed)
      assert.deepStrictEqual(asked, ["WA1", "WA2"])
    }))

  it.live("that were being fetched when the process ended are fetched by the next one", () =>
    Effect.gen(function*() {
      const { asked, receive, script, start, untilKept } = yield* setUp
      const give = script.answer
      script.answer = () => Effect.never
      const { stop } = yield* start
      const cut = yield* receive(1)
      yield* until("it is being fetched", Effect.sync(() => asked.length === 1))
      yield* stop
      script.answer = give
      yield* start
      yield* untilKept(cut)
    }))

  it.live("that are unavailable are skipped, and delay no other", () =>
    Effect.gen(function*() {
      const { receive, script, start, untilKept } = yield* setUp
      const give = script.answer
      script.answer = (target, message) => {
        if (message.waId === "WA1") return Effect.fail(new MediaUnavailable({ message: "gone", reason: "gone" }))
        if (message.waId === "WA2") return Effect.die(new Error("planted defect"))
        return give(target, message)
      }
      yield* start
      yield* receive(1)
      yield* receive(2)
      yield* untilKept(yield* receive(3))
    }))

  it.live("of a gateway that is unavailable for a moment are requested again", () =>
    Effect.gen(function*() {
      const { asked, receive, script, start, untilKept } = yield* setUp
      const give = script.answer
      script.answer = (target, message) =>
        asked.length === 1 ? Effect.fail(GatewayUnavailable.of("default", "give", "away")) : give(target, message)
      yield* start
      yield* untilKept(yield* receive(1))
      assert.strictEqual(asked.length, 2)
    }))

  it.live("are deleted with their messages when a chat is erased, also while they are being fetched", () =>
    Effect.gen(function*() {
      const { kept, log, media, receive, script, start, untilKept } = yield* setUp
      yield* start
      const id = yield* receive(1)
      yield* untilKept(id)
      const give = script.answer
      let erased = false
      script.answer = (target, message) =>
        Effect.andThen(
          Effect.sync(() => {
            erased = true
          }),
          Effect.andThen(Effect.ignore(log.eraseDevice(device)), give(target, message))
        )
      const second = yield* receive(2)
      yield* until("the second is erased while it is fetched", Effect.sync(() => erased))
      // The second may have been stored by now, or is dropped when it has been fetched.
      assert.isAtLeast(yield* Effect.orDie(media.forget(device)), 1)
      assert.isFalse(yield* kept.has(device, id))
      script.answer = give
      yield* untilKept(yield* receive(3))
      assert.isFalse(yield* kept.has(device, second))
    }))
})
