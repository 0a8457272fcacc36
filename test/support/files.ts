/** Files of every kind that a message may have, of any length, with the leading bytes that identify the type. */
import { createHash } from "node:crypto"
import { Stream } from "effect"
import type { MediaKind } from "../../src/domain/OutgoingFile.ts"

const beginnings: Readonly<Record<MediaKind, readonly [type: string, beginning: string]>> = {
  image: ["image/jpeg", "\xff\xd8\xff\xe0"],
  document: ["application/pdf", "%PDF-1.7\n"],
  audio: ["audio/mpeg", "ID3\x04"],
  voice: ["audio/ogg", "OggS\x00"],
  video: ["video/mp4", "\x00\x00\x00\x18ftypisom"],
  sticker: ["image/webp", "RIFF\x10\x00\x00\x00WEBPVP8 "]
}

/** By default the length is no multiple of three. */
export const fileBytes = (kind: MediaKind, size = 1000): Buffer => {
  const head = Buffer.from(beginnings[kind][1], "latin1")
  const rest = Buffer.alloc(Math.max(size - head.length, 0))
  for (let index = 0; index < rest.length; index++) rest[index] = (index * 31 + size) % 256
  return Buffer.concat([head, rest])
}

export const typeOfFile = (kind: MediaKind): string => beginnings[kind][0]

export const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** In parts of a prime size, which fit no buffer evenly. */
export const inParts = (bytes: Buffer, partBytes = 4093): Stream.Stream<Uint8Array> =>
  Stream.fromIterable(
    Array.from({ length: Math.ceil(bytes.length / partBytes) }, (_, n) =>
      bytes.subarray(n * partBytes, (n + 1) * partBytes))
  )
