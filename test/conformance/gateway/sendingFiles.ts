/** Messages with files: every kind of a dialect arrives byte for byte, and a file that breaks off early is not sent. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { MediaKind } from "../../../src/domain/OutgoingFile.ts"
import type { OutgoingFile, OutgoingMessage } from "../../../src/services/GatewayParts.ts"
import { fileBytes, hashOf, inParts, typeOfFile } from "../../support/files.ts"
import { type Adapter, type Having, setup, target } from "./harness.ts"
import { sent, text } from "./sending.ts"

const makeFile = (kind: MediaKind, bytes: Buffer, change: Partial<OutgoingFile> = {}): OutgoingFile => ({
  size: bytes.length,
  mimeType: typeOfFile(kind),
  fileName: kind === "image" ? "image.jpg" : `${kind}.bin`,
  content: inParts(bytes),
  ...change
})

const withFile = (
  kind: MediaKind,
  file: OutgoingFile,
  caption: string | null = null,
  change: Partial<OutgoingMessage> = {}
): OutgoingMessage =>
  text("", { content: { type: kind, file: { url: "https://unused" }, caption, fileName: null }, file, ...change })

export const sendingFilesConformance = (
  adapter: Adapter<Having<"send">>,
  kinds: ReadonlyArray<MediaKind>
): void => {
  describe(`${adapter.name}: sending files`, () => {
    it.live("delivers every kind of file byte for byte, with its type, name and caption", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        assert.sameMembers(
          MediaKind.literals.filter((kind) => gateway.send.contents.has(kind)),
          [...kinds]
        )
        for (const kind of kinds) {
          // Every remainder of three, since base64 takes three bytes at a time.
          for (const size of [3000, 3001, 20_002]) {
            const bytes = fileBytes(kind, size)
            const caption = kind === "image" || kind === "document" || kind === "video"
              ? `see "this"\r\n${size} 👋`
              : null
            const { waId } = yield* gateway.send.message(target, withFile(kind, makeFile(kind, bytes), caption))
            const last = sent(core).at(-1)!
            assert.deepStrictEqual([last.id, last.text], [waId, caption ?? ""], kind)
            assert.deepInclude(last.file, { type: typeOfFile(kind), size, hash: hashOf(bytes) }, kind)
            assert.strictEqual(last.file?.name, kind === "image" ? "image.jpg" : `${kind}.bin`)
          }
        }
      }))

    it.live("delivers a name unchanged that could end its header or its text", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        const fileName = "a\"; name=\"phone\"\\ 'ü👋' 発.pdf"
        const bytes = fileBytes("document")
        yield* gateway.send.message(target, withFile("document", makeFile("document", bytes, { fileName })))
        const { file } = sent(core).at(-1)!
        assert.deepInclude(file, { hash: hashOf(bytes), size: bytes.length })
        assert.include(file?.name, "'ü👋' 発.pdf")
      }))

    it.live("sends a reply with a file, and a file of 20 MB", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        const bytes = fileBytes("document", 20_000_000)
        yield* gateway.send.message(
          target,
          withFile("document", makeFile("document", bytes, { content: inParts(bytes, 65_536) }), null, {
            replyTo: { waId: "3EB0AA", fromMe: false, sender: "6281298765432@s.whatsapp.net" }
          })
        )
        assert.strictEqual(sent(core).at(-1)?.file?.hash, hashOf(bytes))
      }))

    it.live("does not send a file that cannot be read to its end, and allows to send it later", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        const bytes = fileBytes("document", 100_000)
        const content = Stream.concat(inParts(bytes.subarray(0, 50_000)), Stream.fail("the disk"))
        const refusal = yield* Effect.flip(
          gateway.send.message(target, withFile("document", makeFile("document", bytes, { content })))
        )
        assert.strictEqual(refusal._tag, "GatewayUnavailable")
        assert.deepStrictEqual(sent(core), [])
      }))

    it.live("leaves no doubt when the connection breaks before the whole file was sent, and allows to send it later", () =>
      Effect.gen(function*() {
        const { core, gateway, proxy } = yield* setup(adapter)
        const bytes = fileBytes("document", 100_000)
        const content = Stream.concat(
          inParts(bytes.subarray(0, 50_000)),
          Stream.unwrap(Effect.as(proxy.disable, Stream.concat(Stream.never, inParts(bytes.subarray(50_000)))))
        )
        const refusal = yield* Effect.flip(
          gateway.send.message(target, withFile("document", makeFile("document", bytes, { content })))
        )
        assert.strictEqual(refusal._tag, "GatewayUnavailable")
        assert.deepStrictEqual(sent(core), [])
      }))

    it.live("leaves the message in doubt when the answer is lost after the whole file was sent", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        core.applyFault({ kind: "send", when: "after", answer: "reset" })
        const doubt = yield* Effect.flip(
          gateway.send.message(target, withFile("image", makeFile("image", fileBytes("image"))))
        )
        assert.strictEqual(doubt._tag, "SendOutcomeUnknown")
        assert.strictEqual(sent(core).length, 1)
      }))
  })
}
