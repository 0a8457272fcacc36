/** Failures of message and event reads that a caller can act on. */
import { Schema } from "effect"

export class MessageNotFound extends Schema.TaggedError<MessageNotFound>()("MessageNotFound", {
  message: Schema.String,
  id: Schema.String
}, { httpApiStatus: 404 }) {
  static of(id: string): MessageNotFound {
    return new MessageNotFound({ id, message: `No message ${id}` })
  }
}

/** A page cursor that no page of ours gave out. */
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

/** A position that no answer of ours gave out. */
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

/**
 * The asked-for place is none of this log any more: older than what retention has kept, or past its end, because the
 * log was restored or begun anew since the place was given out.
 */
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

  static pastEnd(after: number, head: number, oldest: number): EventsExpired {
    return new EventsExpired({
      after: String(after),
      oldest: String(oldest),
      message: `The log ends at ${head}, so ${after} was given out by another log; the oldest kept here is ${oldest}`
    })
  }
}
