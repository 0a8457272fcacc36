/** Messages with files: every kind that a dialect has arrives byte for byte, and what broke off before its end was not sent. */
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
    it.live("gives every kind that it has byte for byte, with its type, its name and its caption", () =>
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

    it.live("a name that would end its header or its text arrives as the name that it is", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        const fileName = "a\"; name=\"phone\"\\ 'ü👋' 発.pdf"
        const bytes = fileBytes("document")
        yield* gateway.send.message(target, withFile("document", makeFile("document", bytes, { fileName })))
        const { file } = sent(core).at(-1)!
        assert.deepInclude(file, { hash: hashOf(bytes), size: bytes.length })
        assert.include(file?.name, "'ü👋' 発.pdf")
      }))

    it.live("a reply with a file, and one of 20 MB, are sent", () =>
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

    it.live("a file that cannot be read to its end was not sent, and may be sent later", () =>
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

    it.live("a connection that breaks before all of the file was sent leaves no doubt, and it may be sent later", () =>
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

    it.live("an answer that is lost after all of the file was sent leaves the message in doubt", () =>
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
