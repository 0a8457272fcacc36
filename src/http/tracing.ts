/**
 * Spans and log lines of requests must not contain the address of a chat, which is mostly a phone number, or a key
 * that a caller put into the URL by mistake. The framework records the whole URL in a span. Of its query only values
 * that are known to be harmless are kept. A request with an address in its path gets no span of its own; the span of
 * its operation remains.
 */
import { Layer } from "effect"
import { HttpMiddleware, UrlParams } from "effect/http"

/** Every other parameter of the query, also one that the API does not define, is recorded by its name alone. */
const sensitive = /^(?!(?:limit|after|kind|kinds|state|status|device|gateway)$)/i

const addressInPath = /^[^?]*(\/chats\/|@|%40)/i

export const withoutAddresses: Layer.Layer<never> = Layer.merge(
  Layer.succeed(HttpMiddleware.TracerDisabledWhen, ({ url }) => addressInPath.test(url)),
  Layer.succeed(UrlParams.CurrentRedactedNames, [sensitive])
)

/** A path for a log line. */
export const hideAddresses = (path: string): string =>
  path.replace(/(\/chats\/).*/i, "$1…").split("/").map((part) => /@|%40/i.test(part) ? "…" : part).join("/")
