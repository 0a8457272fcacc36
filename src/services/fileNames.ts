/**
 * How a file is described to a gateway: its type, and a name that is no path, breaks out of no header and shows the
 * kind of the file. Pure.
 */
import { Option } from "effect"
import { Mime } from "effect/http"
import type { MediaKind } from "../domain/OutgoingFile.ts"

/** Types whose name differs from the ending of their files. */
const extensions: Readonly<Record<string, string>> = {
  "image/jpeg": "jpg",
  "audio/ogg": "ogg",
  "audio/mpeg": "mp3",
  "audio/mp4": "m4a",
  "audio/aac": "aac",
  "audio/amr": "amr",
  "audio/wav": "wav",
  "audio/flac": "flac",
  "video/mp4": "mp4",
  "video/x-matroska": "mkv",
  "video/x-msvideo": "avi"
}

const opaque = "application/octet-stream"

/** The type sent to the gateway. The name decides the type of a document whose container holds many formats. */
export const chooseType = (kind: MediaKind, mimeType: string | null, fileName: string): string => {
  if (kind !== "document" || (mimeType !== null && mimeType !== "application/zip")) return mimeType ?? opaque
  return Option.getOrElse(Mime.getType(fileName), () => mimeType ?? opaque)
}

/** Longer names fit no file system, and no screen. */
const fileNameMax = 200

/** Separators of paths, the syntax of headers, and characters that change the direction of writing. */
// oxlint-disable-next-line no-control-regex
const unsafe = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff"<>|*?:]/gu

/** A name that is no path, breaks out of no header and shows the kind of the file. Never empty. */
export const safeFileName = (given: string | null, kind: MediaKind, mimeType: string | null): string => {
  const extension = mimeType === null
    ? "bin"
    : extensions[mimeType] ?? Option.getOrElse(Mime.getExtension(mimeType), () => "bin")
  const name = (given ?? "").toWellFormed().split(/[\\/]/).at(-1)!.replace(unsafe, "_").trim().replace(/^\.+/, "")
  if (kind !== "document" || name === "") return `${kind}.${extension}`
  const characters = [...name]
  if (characters.length <= fileNameMax) return name
  const ending = /\.[A-Za-z0-9]{1,10}$/.exec(name)?.[0] ?? ""
  return characters.slice(0, fileNameMax - ending.length).join("") + ending
}
