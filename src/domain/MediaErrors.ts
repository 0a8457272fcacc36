/** Why the file of a message cannot be returned. */
import { Schema } from "effect"

/**
 * No file is available. `none`: the message has none; `gone`: the gateway no longer has it, or could not get it from
 * WhatsApp; `unsupported`: the gateway does not serve files.
 */
export class MediaAbsent extends Schema.TaggedError<MediaAbsent>()("MediaAbsent", {
  message: Schema.String,
  id: Schema.String,
  reason: Schema.Literals(["none", "gone", "unsupported"])
}, { httpApiStatus: 404 }) {
  static of(id: string, reason: "none" | "gone" | "unsupported"): MediaAbsent {
    return new MediaAbsent({ id, reason, message: `No file for message ${id}: ${reasons[reason]}` })
  }
}

const reasons = {
  none: "it has none",
  gone: "the gateway no longer has it",
  unsupported: "its gateway does not serve files"
} as const

export class MediaTooLarge extends Schema.TaggedError<MediaTooLarge>()("MediaTooLarge", {
  message: Schema.String,
  id: Schema.String,
  size: Schema.Int,
  max: Schema.Int
}, { httpApiStatus: 413 }) {
  static of(id: string, size: number, max: number): MediaTooLarge {
    return new MediaTooLarge({ id, size, max, message: `The file of message ${id} has ${size} bytes; at most ${max}` })
  }
}
