/**
 * Files that messages are sent with: what each kind of message accepts. The first bytes decide the type of a file; the
 * type that a caller, a server or a name claims counts only for documents whose content has no recognisable type.
 * Pure.
 */
import { Schema } from "effect"

/** Derived from the content, so the same file always has the same id for a device. */
export const FileId = Schema.String.check(Schema.isPattern(/^file_[0-9A-Z]{26}$/u, {
  message: "Expected a file id like file_01K…"
})).pipe(Schema.brand("FileId")).annotate({
  description: "The id of a file that was uploaded for the device"
})
export type FileId = typeof FileId.Type

export const MediaKind = Schema.Literals(["image", "document", "audio", "voice", "video", "sticker"])
export type MediaKind = typeof MediaKind.Type

/** The source of a message's file: uploaded before, or fetched when the message is sent. */
export type FileSource = { readonly id: FileId } | { readonly url: string }

/** The properties of a file, determined from its content. */
export interface FileFacts {
  readonly size: number
  /** Null if the first bytes match no type in the table below. */
  readonly mimeType: string | null
}

interface KindRule {
  readonly bytesMax: number
  /** The accepted types; null for any. */
  readonly types: ReadonlySet<string> | null
}

const audioTypes = new Set([
  "audio/ogg",
  "audio/mpeg",
  "audio/mp4",
  "audio/aac",
  "audio/amr",
  "audio/wav",
  "audio/flac"
])

/**
 * The smallest of the limits of gateways and WhatsApp. GOWA accepts images of 20 MB, documents of 50 MB and whole
 * requests of 100 MB; WhatsApp itself accepts 16 MB of sound, and stickers that are small.
 */
export const kindRules: Readonly<Record<MediaKind, KindRule>> = {
  image: { bytesMax: 20_000_000, types: new Set(["image/jpeg", "image/png"]) },
  document: { bytesMax: 50_000_000, types: null },
  audio: { bytesMax: 16_000_000, types: audioTypes },
  voice: { bytesMax: 16_000_000, types: audioTypes },
  video: { bytesMax: 95_000_000, types: new Set(["video/mp4", "video/x-matroska", "video/x-msvideo"]) },
  sticker: { bytesMax: 2_000_000, types: new Set(["image/webp", "image/png", "image/jpeg", "image/gif"]) }
}

/** The maximum size over all kinds. */
export const fileBytesMax = Math.max(...Object.values(kindRules).map(({ bytesMax }) => bytesMax))

/** Why a file cannot be sent as this kind; null if it can. */
export const refuseFile = (
  kind: MediaKind,
  { mimeType, size }: FileFacts
): { readonly reason: "empty" | "size" | "type"; readonly detail: string } | null => {
  const { bytesMax, types } = kindRules[kind]
  if (size === 0) return { reason: "empty", detail: "the file has no bytes" }
  if (size > bytesMax) {
    return { reason: "size", detail: `the file has ${size} bytes; a message of this kind takes at most ${bytesMax}` }
  }
  if (types === null || (mimeType !== null && types.has(mimeType))) return null
  const is = mimeType === null ? "of no known type" : mimeType
  return { reason: "type", detail: `by its content the file is ${is}; this kind takes ${[...types].join(", ")}` }
}

/** Number of bytes from which every type is recognised. */
export const headBytes = 32

const ascii = (head: Uint8Array, from: number, to: number): string => String.fromCharCode(...head.subarray(from, to))

const containers: Readonly<Record<string, string>> = {
  WEBP: "image/webp",
  WAVE: "audio/wav",
  "AVI ": "video/x-msvideo"
}

const beginnings: ReadonlyArray<readonly [prefix: string, type: string]> = [
  ["\xff\xd8\xff", "image/jpeg"],
  ["\x89PNG\r\n\x1a\n", "image/png"],
  ["GIF87a", "image/gif"],
  ["GIF89a", "image/gif"],
  ["OggS", "audio/ogg"],
  ["fLaC", "audio/flac"],
  ["#!AMR", "audio/amr"],
  ["ID3", "audio/mpeg"],
  ["\x1aE\xdf\xa3", "video/x-matroska"],
  ["%PDF-", "application/pdf"],
  ["PK\x03\x04", "application/zip"]
]

/** The type of a file by its first bytes. */
export const detectType = (head: Uint8Array): string | null => {
  const text = ascii(head, 0, 16)
  if (text.startsWith("RIFF")) return containers[ascii(head, 8, 12)] ?? null
  if (text.slice(4, 8) === "ftyp") {
    const brand = text.slice(8, 12)
    return brand === "M4A " || brand === "M4B " ? "audio/mp4" : brand.startsWith("hei") ? "image/heic" : "video/mp4"
  }
  const known = beginnings.find(([prefix]) => text.startsWith(prefix))
  if (known !== undefined) return known[1]
  // Frames without a header: 11 set bits, then the version and the layer, of which AAC has none.
  const [first = 0, second = 0] = head
  if (first !== 0xff || (second & 0xe0) !== 0xe0) return null
  return (second & 0xf6) === 0xf0
    ? "audio/aac"
    : (second & 0x18) === 0x08 || (second & 0x06) === 0
    ? null
    : "audio/mpeg"
}
