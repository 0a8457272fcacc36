/** Failures of message and event reads that a caller can act on. */
import { Schema } from "effect"
import { Position, positionAfter } from "./Ids.ts"
import type { EventId } from "./Ids.ts"

export class MessageNotFound extends Schema.TaggedError<MessageNotFound>()("MessageNotFound", {
  message: Schema.String,
  id: Schema.String
}, { httpApiStatus: 404 }) {
  static of(id: string): MessageNotFound {
    return new MessageNotFound({ id, message: `No message ${id}` })
  }
}

/** A page cursor that no page has returned. */
export class CursorInvalid extends Schema.TaggedError<CursorInvalid>()("CursorInvalid", {
  message: Schema.String,
  cursor: Schema.String
}, { httpApiStatus: 400 }) {
  static of(cursor: string): CursorInvalid {
    const shown = cursor.slice(0, 64)
    return new CursorInvalid({
      cursor: shown,
      message: `'${shown}' is not a cursor of this list; leave it out to start from the beginning`
    })
  }
}

/** A position that no answer has returned. */
export class PositionInvalid extends Schema.TaggedError<PositionInvalid>()("PositionInvalid", {
  message: Schema.String,
  position: Schema.String
}, { httpApiStatus: 400 }) {
  static of(position: string): PositionInvalid {
    const shown = position.slice(0, 64)
    return new PositionInvalid({
      position: shown,
      message: `'${shown}' is no position of the log; use one from an earlier answer, or '0' for the beginning`
    })
  }
}

/** Some events after the requested position have been removed by retention. */
export class EventsExpired extends Schema.TaggedError<EventsExpired>()("EventsExpired", {
  message: Schema.String,
  after: Schema.String,
  oldest: Schema.String
}, { httpApiStatus: 410 }) {
  static of(after: number, oldest: number): EventsExpired {
    return new EventsExpired({
      after: String(after),
      oldest: String(oldest),
      message: `Events after ${after} are no longer all stored; the oldest stored one is ${oldest}`
    })
  }
}

/**
 * The log is not the one from which the reader got its position: an older copy of the database was restored, a replica
 * that had not received everything took over, or the database was created anew. From some number on its events differ
 * from those that the reader has received. That number is not recorded; the log accepts a position only if the event
 * before it is still the same. A reader that must miss nothing therefore resumes after the newest of its earlier
 * positions that the log accepts, and skips the events whose ids it has already. A reader that needs only new events
 * resumes after `head`.
 */
export class LogReset extends Schema.TaggedError<LogReset>()("LogReset", {
  message: Schema.String,
  /** The current end of the log: only new events follow it. */
  head: Position,
  oldest: Schema.String,
  /** Distinguishes a restored log from the original. */
  logId: Schema.String
}, { httpApiStatus: 410 }) {
  static of(
    bounds: {
      readonly head: number
      readonly headId?: EventId | null | undefined
      readonly oldest: number
      readonly logId: string
    }
  ): LogReset {
    const head = positionAfter(bounds.head, bounds.headId)
    return new LogReset({
      head,
      oldest: String(bounds.oldest),
      logId: bounds.logId,
      message: `The log was restored or created anew and stands at ${head}; earlier positions may name other ` +
        "events: resume after an earlier one that it accepts, or after this one for new events only"
    })
  }
}
