/** For orchestrators and monitoring: liveness, readiness and metrics. */
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { Readiness } from "../services/Readiness.ts"
import { Authorizer } from "./AuthorizationHttp.ts"

/** The permission that a key needs to see figures of the whole fleet. */
const readsAll = { scope: "read", reach: "fleet" } as const

/**
 * The process runs and its event loop turns. It does not check the process's dependencies: a restart would not fix
 * those.
 */
const healthz = HttpRouter.add("GET", "/healthz", HttpServerResponse.jsonUnsafe({ status: "ok" }))

/**
 * Probes send no key, so it needs none. Failing checks are shown to everyone; the details of passing checks reveal the
 * size and the traffic of the fleet, and are for keys that may read all of it.
 */
const readyz = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const readiness = yield* Readiness
  const { authorize } = yield* Authorizer
  yield* router.add(
    "GET",
    "/readyz",
    Effect.gen(function*() {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      const detailed = yield* Effect.isSuccess(authorize(headers, readsAll))
      const report = yield* readiness.report
      const checks = detailed ? report : report.map((check) => check.ready ? { ...check, detail: "" } : check)
      const missing = checks.filter(({ ready }) => !ready)
      return missing.length === 0
        ? HttpServerResponse.jsonUnsafe({ status: "ready", checks })
        : HttpServerResponse.jsonUnsafe({
          _tag: "NotReady",
          message: `Not ready: ${missing.map(({ detail, name }) => `${name} (${detail})`).join(", ")}`,
          status: "not ready",
          checks
        }, { status: 503 })
    })
  )
}))

/** Requires the scope `read` if keys are configured; scrapers can send a bearer token. */
const metrics = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const { authorize } = yield* Authorizer
  yield* router.add(
    "GET",
    "/metrics",
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      yield* authorize(request.headers, readsAll)
      const body = yield* PrometheusMetrics.format()
      return HttpServerResponse.text(body, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
    }).pipe(
      Effect.catchTags({
        Unauthorized: ({ _tag, message }) =>
          Effect.succeed(HttpServerResponse.jsonUnsafe({ _tag, message }, { status: 401 })),
        TooManyRequests: ({ _tag, message, retryAfterSeconds }) =>
          Effect.succeed(HttpServerResponse.jsonUnsafe({ _tag, message, retryAfterSeconds }, {
            status: 429,
            headers: { "retry-after": String(retryAfterSeconds) }
          })),
        Forbidden: ({ _tag, message, required }) =>
          Effect.succeed(HttpServerResponse.jsonUnsafe({ _tag, message, required }, { status: 403 }))
      })
    )
  )
}))

export const HealthRoutes = Layer.mergeAll(healthz, readyz, metrics)
