/** Refusals by the HTTP layer itself, in the common form of errors. */
import { HttpServerResponse } from "effect/http"

export const refused = (
  status: number,
  tag: string,
  message: string,
  headers: Readonly<Record<string, string>> = {}
): HttpServerResponse.HttpServerResponse => HttpServerResponse.jsonUnsafe({ _tag: tag, message }, { status, headers })
