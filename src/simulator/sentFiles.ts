/** The files of sent messages: the files that gateways refuse, and the parts that they store. */
import { createHash } from "node:crypto"
import type { Payload } from "./Dialect.ts"
import type { FormFile } from "./http.ts"
import type { SentFile } from "./Ledger.ts"

export interface SentMedia {
  readonly content: Payload
  readonly text: string
  readonly file: SentFile
}

interface MediaRule {
  readonly types: RegExp
  readonly bytesMax: number
}

/** Keyed by the field of the file. */
export const mediaRules: Readonly<Record<string, MediaRule>> = {
  image: { types: /^image\/(?:jpeg|jpg|png)$/, bytesMax: 20_000_000 },
  file: { types: /./, bytesMax: 50_000_000 },
  video: { types: /^video\/(?:mp4|x-matroska|avi|x-msvideo)$/, bytesMax: 100_000_000 },
  audio: { types: /^audio\/(?:aac|amr|flac|m4a|mp4|m4r|mp3|mpeg|ogg|wma|x-ms-wma|wav)$/, bytesMax: 100_000_000 },
  sticker: { types: /^image\/(?:jpeg|png|webp|gif)$/, bytesMax: 100_000_000 }
}

/** The kind of the file in the chat. */
const kindOf = (field: string): string => field === "file" ? "document" : field

/** Why the file is refused, or null. */
export const refuseMedia = (field: string, { bytes, name, type }: FormFile): string | null => {
  const rule = mediaRules[field]
  if (rule === undefined || bytes.length === 0 || !rule.types.test(type)) {
    return `${field}: your file type is not allowed`
  }
  if (field === "image" && !/\.(?:jpe?g|png)$/i.test(name)) return "image: the name has no extension of an image"
  return bytes.length > rule.bytesMax ? `${field}: max file upload is ${rule.bytesMax} bytes` : null
}

/** In the form of an event of the account. */
export const describeMedia = (field: string, file: FormFile, caption: string): SentMedia => {
  const kind = kindOf(field)
  const { bytes, name, type } = file
  return {
    content: {
      [kind]: { path: `statics/media/${name}`, caption },
      filename: name,
      ...(caption === "" ? undefined : { body: caption })
    },
    text: caption,
    file: { kind, name, type, size: bytes.length, hash: createHash("sha256").update(bytes).digest("hex") }
  }
}
