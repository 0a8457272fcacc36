/**
 * What spans and log lines of requests must not hold: the address of a chat, which is mostly a phone number. The framework
 * records the whole URL in a span. In the query the value is left out. A request with an address in its path gets no span
 * of its own; the span of its operation remains.
 */
import { Effect, Layer } from "effect"
import { HttpMiddleware, UrlParams } from "effect/http"

const addressInPath = /^[^?]*(\/chats\/|@|%40)/i

export const withoutAddresses: Layer.Layer<never> = Layer.merge(
  Layer.succeed(HttpMiddleware.TracerDisabledWhen, ({ url }) => addressInPath.test(url)),
  Layer.effect(
    UrlParams.CurrentRedactedNames,
    Effect.gen(function*() {
      return [...(yield* UrlParams.CurrentRedactedNames), "chat"]
    })
  )
)

/** A path for a log line. */
export const hideAddresses = (path: string): string =>
  path.replace(/(\/chats\/).*/i, "$1…").replace(/[^/]*(@|%40)[^/]*/gi, "…")
