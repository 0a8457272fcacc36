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
      message: `'${shown}' is no position of the log; give one that an earlier answer named, or '0' for the beginning`
    })
  }
}

/** Events after the asked-for position are no longer all kept: retention has removed some of them. */
export class EventsExpired extends Schema.TaggedError<EventsExpired>()("EventsExpired", {
  message: Schema.String,
  after: Schema.String,
  oldest: Schema.String
}, { httpApiStatus: 410 }) {
  static of(after: number, oldest: number): EventsExpired {
    return new EventsExpired({
      after: String(after),
      oldest: String(oldest),
      message: `Events after ${after} are no longer all kept; the oldest kept is ${oldest}`
    })
  }
}

/**
 * The log is not the one from which the reader got its position: an older copy of the database was restored, a replica
 * that had not received everything took over, or the database was created anew. From some number on its events are
 * others than those that the reader has received. Nobody recorded which number that is; the log accepts a position only
 * if the event before it is still the same. So a reader that must miss nothing resumes after the newest of its earlier
 * positions that the log accepts, and leaves out by their ids the events that it has. One that needs only what comes
 * resumes after `head`.
 */
export class LogReset extends Schema.TaggedError<LogReset>()("LogReset", {
  message: Schema.String,
  /** Where the log stands now: after it comes only what is new. */
  head: Position,
  oldest: Schema.String,
  /** Tells a restored log from another one. */
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
      message: `The log was restored or created anew and stands at ${head}; positions from before may name other ` +
        "events: resume after an earlier one that it accepts, or after this one for only what comes"
    })
  }
}
