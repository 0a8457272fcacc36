/** Failures of schedules that a caller can act on. */
import { Schema } from "effect"

export class ScheduleNotFound extends Schema.TaggedError<ScheduleNotFound>()("ScheduleNotFound", {
  message: Schema.String,
  id: Schema.String
}, { httpApiStatus: 404 }) {
  static of(id: string): ScheduleNotFound {
    return new ScheduleNotFound({ id, message: `No schedule ${id}` })
  }
}

/** The expression or the end matches no time in the future. Nothing was stored. */
export class CronInvalid extends Schema.TaggedError<CronInvalid>()("CronInvalid", {
  message: Schema.String
}, { httpApiStatus: 400 }) {
  static of(message: string): CronInvalid {
    return new CronInvalid({ message })
  }
}

/** The schedule has ended and can no longer be changed. */
export class ScheduleEnded extends Schema.TaggedError<ScheduleEnded>()("ScheduleEnded", {
  message: Schema.String,
  id: Schema.String,
  reason: Schema.String
}, { httpApiStatus: 409 }) {
  static of(id: string, reason: string): ScheduleEnded {
    return new ScheduleEnded({ id, reason, message: `Schedule ${id} has ended (${reason}); create a new one` })
  }
}

export class TooManySchedules extends Schema.TaggedError<TooManySchedules>()("TooManySchedules", {
  message: Schema.String,
  max: Schema.Int
}, { httpApiStatus: 409 }) {
  static of(max: number): TooManySchedules {
    return new TooManySchedules({ max, message: `There are already ${max} schedules; delete some that have ended` })
  }
}
