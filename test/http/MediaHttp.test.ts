/** The files of messages over HTTP, with a gateway that follows the script of a test. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Stream } from "effect"
import { GatewayUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { MediaUnavailable } from "../../src/services/GatewayParts.ts"
import type { FetchMedia, MediaFile } from "../../src/services/GatewayParts.ts"
import { mediaBytesMax } from "../../src/services/MessageMedia.ts"
import type { Json } from "../support/surface.ts"
import { ask, makeScript, makeStorage, messageDraft, services, startServer } from "../support/surface.ts"

const bytes = Buffer.from("the bytes of a file")

const file: MediaFile = {
  mimeType: "image/jpeg",
  size: bytes.length,
  fileName: null,
  content: Stream.make<[Uint8Array]>(bytes)
}

const setUp = Effect.fnUntraced(function*(media: FetchMedia | null) {
  const storage = yield* makeStorage
  const context = yield* Layer.build(services({ storage }))
  const device = (yield* Effect.orDie(Context.get(context, DeviceManager).register({ name: "mine" }))).id
  const draft = messageDraft(device, 1)
  const image = { ...draft, data: { ...draft.data, media: { kind: "image" } } }
  yield* Effect.orDie(Context.get(context, EventLog).append([image, messageDraft(device, 2)]))
  const script = makeScript()
  if (media !== null) Object.assign(script.gateway, { media })
  const { url } = yield* startServer({
    storage,
    script,
    keys: [["all", ["read"], "all"], ["foreign", ["read"], "foreign", ["dev_0" as DeviceId]], [
      "send",
      ["send"],
      "send"
    ]]
  })
  const get = (id: string, key = "all") =>
    Effect.promise(async () => {
      const response = await fetch(`${url}/api/v1/messages/${id}/media`, { headers: { "x-api-key": key } })
      const { headers, status } = response
      const body = await response.arrayBuffer().then((all) => Buffer.from(all), () => null)
      return { status, headers, body }
    })
  return { get, image: image.data.messageId, text: messageDraft(device, 2).data.messageId, url }
})

const give = (change: Partial<MediaFile> = {}): FetchMedia => () => Effect.succeed({ ...file, ...change })

describe("the file of a message", () => {
  it.live("is served unchanged, and never executed by a browser", () =>
    Effect.gen(function*() {
      const { get, image } = yield* setUp(give())
      const { body, headers, status } = yield* get(image)
      assert.deepStrictEqual([status, body?.equals(bytes)], [200, true])
      assert.strictEqual(headers.get("content-type"), "image/jpeg")
      assert.strictEqual(headers.get("content-length"), String(bytes.length))
      assert.strictEqual(headers.get("content-disposition"), "attachment")
      assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
      assert.include(headers.get("content-security-policy") ?? "", "default-src 'none'")
    }))

  it.live.each(["text/html", "image/svg+xml", "application/javascript", "nonsense\r\nx: y", ""])(
    "of the type %o is bytes",
    (mimeType) =>
      Effect.gen(function*() {
        const { get, image } = yield* setUp(give({ mimeType }))
        assert.strictEqual((yield* get(image)).headers.get("content-type"), "application/octet-stream")
      })
  )

  it.live("has the sender's file name, whatever that contains", () =>
    Effect.gen(function*() {
      const { get, image } = yield* setUp(give({ fileName: "a\r\nb\";'(ü)\ud800.pdf" }))
      const { headers } = yield* get(image)
      const [, name] = /filename\*=UTF-8''(.*)$/.exec(headers.get("content-disposition") ?? "") ?? []
      assert.strictEqual(decodeURIComponent(name!), "a\r\nb\";'(ü)\ufffd.pdf")
    }))

  it.live("is missing if the message has none, the gateway has none or the message belongs to others", () =>
    Effect.gen(function*() {
      const gone: FetchMedia = () => Effect.fail(new MediaUnavailable({ message: "gone", reason: "gone" }))
      const { get, image, text } = yield* setUp(gone)
      const tagOf = (answer: { readonly body: Buffer | null }): Json => JSON.parse(String(answer.body))
      assert.deepInclude(tagOf(yield* get(image)), { _tag: "MediaAbsent", reason: "gone" })
      assert.deepInclude(tagOf(yield* get(text)), { _tag: "MediaAbsent", reason: "none" })
      assert.deepInclude(tagOf(yield* get("msg_00000000000000000000000000")), { _tag: "MessageNotFound" })
      assert.strictEqual((yield* get(image, "foreign")).status, 404)
      assert.strictEqual(tagOf(yield* get(image, "foreign"))._tag, "MessageNotFound")
      assert.strictEqual((yield* get(image, "send")).status, 403)
      const { get: getFromBridge, image: other } = yield* setUp(null)
      assert.deepInclude(tagOf(yield* getFromBridge(other)), { _tag: "MediaAbsent", reason: "unsupported" })
    }))

  it.live("above the limit is refused if its size is known, and cut off if it is not", () =>
    Effect.gen(function*() {
      const known = yield* setUp(give({ size: mediaBytesMax + 1 }))
      assert.strictEqual((yield* known.get(known.image)).status, 413)
      const block = new Uint8Array(16 * 1024 * 1024)
      const unknown = yield* setUp(give({ size: null, content: Stream.forever(Stream.make(block)) }))
      assert.isNull((yield* unknown.get(unknown.image)).body)
    }))

  it.live("is not taken as complete if its gateway does not finish", () =>
    Effect.gen(function*() {
      const broken = Stream.concat(
        Stream.make<[Uint8Array]>(bytes),
        Stream.fail(GatewayUnavailable.of("default", "give a file", "it broke off"))
      )
      const { get, image } = yield* setUp(give({ size: null, content: broken }))
      assert.isNull((yield* get(image)).body)
      const away: FetchMedia = () => Effect.fail(GatewayUnavailable.of("default", "give a file", "no answer"))
      const down = yield* setUp(away)
      assert.strictEqual((yield* down.get(down.image)).status, 502)
    }))

  it.live("requires a message id of valid form", () =>
    Effect.gen(function*() {
      const { url } = yield* setUp(give())
      const answer = yield* ask(`${url}/api/v1/messages/nonsense/media`, { headers: { "x-api-key": "all" } })
      assert.include([400, 404], answer.status)
    }))
})
