/** Failures of sending that a caller can act on. Phone numbers and texts are not part of any message. */
import { Schema } from "effect"
import { MessageStatus } from "./Message.ts"

/** The address is not a possible recipient. Nothing was stored. */
export class RecipientInvalid extends Schema.TaggedError<RecipientInvalid>()("RecipientInvalid", {
  message: Schema.String,
  reason: Schema.Literals(["leading-zero", "length", "form", "kind"])
}, { httpApiStatus: 400 }) {
  static of(reason: typeof RecipientInvalid.fields.reason.Type): RecipientInvalid {
    return new RecipientInvalid({ reason, message: `to: ${recipientAdvice[reason]}` })
  }
}

const recipientAdvice = {
  "leading-zero": "a phone number begins with the country code and not with 0, like 6281234567890",
  length: "a phone number has 7 to 15 digits with its country code, like 6281234567890",
  form: "expected a phone number like 6281234567890, or an address like 120363025246125486@g.us",
  kind: "nothing can be sent to an address of this kind"
} as const

/** The request does not have exactly one content, or the content does not fit the recipient. Nothing was stored. */
export class ContentInvalid extends Schema.TaggedError<ContentInvalid>()("ContentInvalid", {
  message: Schema.String
}, { httpApiStatus: 400 }) {
  static of(message: string): ContentInvalid {
    return new ContentInvalid({ message })
  }
}

/** The time is too far ahead, or invalid. Nothing was stored. */
export class ScheduleInvalid extends Schema.TaggedError<ScheduleInvalid>()("ScheduleInvalid", {
  message: Schema.String
}, { httpApiStatus: 400 }) {
  static of(daysMax: number): ScheduleInvalid {
    return new ScheduleInvalid({
      message: `scheduledAt: expected a time of the next ${daysMax} days with its zone, like 2026-12-31T09:00:00+07:00`
    })
  }
}

/** The device's gateway cannot send this. Nothing was stored. */
export class ContentUnsupported extends Schema.TaggedError<ContentUnsupported>()("ContentUnsupported", {
  message: Schema.String,
  gateway: Schema.String,
  content: Schema.String,
  /** The types of content that the gateway can send. */
  supported: Schema.Array(Schema.String)
}, { httpApiStatus: 422 }) {
  static of(gateway: string, content: string, supported: ReadonlyArray<string>): ContentUnsupported {
    const can = supported.length === 0 ? "it cannot send at all" : `it can send: ${supported.join(", ")}`
    return new ContentUnsupported({
      gateway,
      content,
      supported,
      message: `Gateway '${gateway}' cannot send '${content}'; ${can}`
    })
  }
}

/** The file cannot be sent as this kind of message. Nothing was stored. */
export class FileInvalid extends Schema.TaggedError<FileInvalid>()("FileInvalid", {
  message: Schema.String,
  /** `url`: Columba sends no requests to this URL. The message does not repeat it, because it may hold a secret. */
  reason: Schema.Literals(["empty", "size", "type", "url"])
}, { httpApiStatus: 422 }) {
  static of(reason: FileInvalid["reason"], message: string): FileInvalid {
    return new FileInvalid({ reason, message })
  }
}

/** The file was never uploaded for this device, or was deleted since. Upload it again. */
export class FileNotFound extends Schema.TaggedError<FileNotFound>()("FileNotFound", {
  message: Schema.String,
  id: Schema.String
}, { httpApiStatus: 404 }) {
  static of(id: string): FileNotFound {
    return new FileNotFound({ id, message: `No file ${id} of this device; upload it (again)` })
  }
}

/** An upload above the size of the largest file that any message accepts. */
export class FileTooLarge extends Schema.TaggedError<FileTooLarge>()("FileTooLarge", {
  message: Schema.String,
  bytesMax: Schema.Int
}, { httpApiStatus: 413 }) {
  static of(bytesMax: number): FileTooLarge {
    return new FileTooLarge({ bytesMax, message: `A file to send may have at most ${bytesMax} bytes` })
  }
}

/**
 * This process does not accept the file now. `full`: the waiting files leave no room; `busy`: the maximum number of
 * uploads is under way; `broken`: the upload ended early or stalled; `disk`: it could not be written.
 */
export class UploadRefused extends Schema.TaggedError<UploadRefused>()("UploadRefused", {
  message: Schema.String,
  reason: Schema.Literals(["full", "busy", "broken", "disk"])
}, { httpApiStatus: 503 }) {
  static of(reason: UploadRefused["reason"], message: string): UploadRefused {
    return new UploadRefused({ reason, message })
  }
}

/** This process runs no devices, and the process that does cannot read its disk. */
export class UploadMisdirected extends Schema.TaggedError<UploadMisdirected>()("UploadMisdirected", {
  message: Schema.String
}, { httpApiStatus: 421 }) {
  static of(): UploadMisdirected {
    return new UploadMisdirected({
      message:
        "This process runs no devices, and the process that does cannot read its files: upload to that, or send by URL"
    })
  }
}

/** The key was used for another request within the last 24 hours. Nothing was stored. */
export class IdempotencyKeyReused extends Schema.TaggedError<IdempotencyKeyReused>()("IdempotencyKeyReused", {
  message: Schema.String
}, { httpApiStatus: 422 }) {
  static of(): IdempotencyKeyReused {
    return new IdempotencyKeyReused({
      message: "This Idempotency-Key was used for another request of this device; use a new one for a new request"
    })
  }
}

/** The message can no longer be cancelled; `status` is its current status. */
export class MessageNotCancellable extends Schema.TaggedError<MessageNotCancellable>()("MessageNotCancellable", {
  message: Schema.String,
  id: Schema.String,
  status: MessageStatus
}, { httpApiStatus: 409 }) {
  static of(id: string, status: MessageStatus, isOnItsWay: boolean): MessageNotCancellable {
    return new MessageNotCancellable({
      id,
      status,
      message: isOnItsWay
        ? `Message ${id} is being sent to the gateway at this moment and cannot be cancelled`
        : `Message ${id} is ${status} and cannot be cancelled`
    })
  }
}
