/**
 * Failures of the API itself and not of an operation: requests that cannot be read, and defects. Every answer that is
 * not a success has `_tag` and `message`.
 */
import { Schema, SchemaIssue } from "effect"
import { HttpApiMiddleware } from "effect/http-api"

/** One fault of a request. `path` begins with the part of the request: `payload`, `query`, `params` or `headers`. */
export const RequestIssue = Schema.Struct({
  path: Schema.Array(Schema.Union([Schema.String, Schema.Finite])),
  message: Schema.String
})
export type RequestIssue = typeof RequestIssue.Type

export class RequestInvalid extends Schema.TaggedError<RequestInvalid>()("RequestInvalid", {
  message: Schema.String,
  issues: Schema.Array(RequestIssue)
}, { httpApiStatus: 400 }) {
  static of(issues: ReadonlyArray<RequestIssue>): RequestInvalid {
    const first = issues[0]
    const where = first === undefined || first.path.length === 0 ? "request" : first.path.join(".")
    const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ""
    return new RequestInvalid({ issues, message: `${where}: ${first?.message ?? "could not be read"}${more}` })
  }

  /** The faults of one part of a request, field by field. */
  static ofIssue(part: string, issue: SchemaIssue.Issue): RequestInvalid {
    return RequestInvalid.of(
      format(issue).issues.slice(0, issuesShown).map(({ message, path }) => ({
        path: [part, ...(path ?? []).map(formatSegment)],
        message
      }))
    )
  }
}

/** Enough to fix a request. A body can have a million faults, so there is a bound. */
const issuesShown = 20

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const formatSegment = (segment: PropertyKey | { readonly key: PropertyKey }): string | number => {
  const key = typeof segment === "object" ? segment.key : segment
  return typeof key === "number" ? key : String(key)
}

/** A defect in this program. The server's log has the details; the answer has none. */
export class InternalError extends Schema.TaggedError<InternalError>()("InternalError", {
  message: Schema.String
}, { httpApiStatus: 500 }) {
  static of(): InternalError {
    return new InternalError({ message: "Something went wrong in Columba itself; its log has the details" })
  }
}

/**
 * This process, or this key at this process, has the maximum number of streams open. Another process may have room, or
 * this one later.
 */
export class TooManyStreams extends Schema.TaggedError<TooManyStreams>()("TooManyStreams", {
  message: Schema.String,
  max: Schema.Int
}, { httpApiStatus: 503 }) {
  static of(max: number): TooManyStreams {
    return new TooManyStreams({ max, message: `This server already has ${max} streams open` })
  }

  static ofKey(caller: string, max: number): TooManyStreams {
    return new TooManyStreams({ max, message: `Key '${caller}' already has ${max} streams open at this server` })
  }
}

/** Turns undecodable requests into `RequestInvalid`, and any defect into `InternalError`. */
export class RequestValidation extends HttpApiMiddleware.Service<RequestValidation>()(
  "columba/contracts/Failures/RequestValidation",
  { error: [RequestInvalid, InternalError] }
) {}
