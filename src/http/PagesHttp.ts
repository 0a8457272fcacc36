/**
 * The pages for browsers: the dashboard at `/`, the documents of the API at `/docs`, and the files that they load. The
 * build has compressed each. Pages are revalidated at each request; their files are named by their content and cached.
 */
import { Effect } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { gunzipSync } from "node:zlib"
import { rpcHttpPath, rpcWebSocketPath } from "../contracts/ColumbaRpcs.ts"
import { WebAssets } from "../services/WebAssets.ts"
import type { WebAsset } from "../services/WebAssets.ts"
import { refused } from "./errorResponses.ts"

export const pagePaths = ["/", "/docs"] as const
export const assetsPath = "/assets/"

/** For programs and people without a browser. */
const words = "Columba keeps WhatsApp devices connected and turns what they receive into a durable event log.\n\n" +
  "  /                the dashboard, in a browser\n" +
  "  /docs            the HTTP API, to read and to try\n" +
  "  /openapi.json    the same for programs\n" +
  `  ${rpcWebSocketPath}          typed RPC and streams (npm: columba-client), ${rpcHttpPath} over plain HTTP\n` +
  "  /healthz /readyz /metrics\n"

const notBuilt = `${words}\nThe pages for browsers are not built here: npm run build\n`

/** A year: the longest time that caches respect. */
const kept = "public, max-age=31536000, immutable"

/** Revalidated at each request; an unchanged page is not sent again. */
const revalidated = "no-cache"

const encodings = ["br", "gzip"] as const

const accepts = (request: HttpServerRequest.HttpServerRequest, encoding: string): boolean =>
  (request.headers["accept-encoding"] ?? "").split(",").some((offer) => {
    const [name = "", ...parameters] = offer.trim().toLowerCase().split(";")
    return name === encoding && !parameters.some((parameter) => /^\s*q=0(\.0*)?$/.test(parameter))
  })

const isForPeople = (request: HttpServerRequest.HttpServerRequest): boolean =>
  request.headers["accept"]?.includes("text/html") === true

const send = (asset: WebAsset, request: HttpServerRequest.HttpServerRequest) => {
  const headers = {
    etag: asset.etag,
    "cache-control": asset.immutable ? kept : revalidated,
    vary: "accept, accept-encoding"
  }
  if (request.headers["if-none-match"] === asset.etag) return HttpServerResponse.empty({ status: 304, headers })
  const encoding = encodings.find((one) => accepts(request, one))
  const options = { contentType: asset.contentType, headers }
  // Browsers accept both, so the plain form is made only for the few programs that accept neither.
  return encoding === undefined
    ? HttpServerResponse.uint8Array(gunzipSync(asset.gzip), options)
    : HttpServerResponse.uint8Array(encoding === "br" ? asset.brotli : asset.gzip, {
      ...options,
      headers: { ...headers, "content-encoding": encoding }
    })
}

const page = (path: (typeof pagePaths)[number]) =>
  HttpRouter.use(Effect.fnUntraced(function*(router) {
    const asset = (yield* WebAssets).get(path)
    yield* router.add(
      "GET",
      path,
      Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
        const wanted = path !== "/" || isForPeople(request)
        if (asset !== undefined && wanted) return send(asset, request)
        return HttpServerResponse.text(wanted ? notBuilt : words, { headers: { vary: "accept" } })
      })
    )
  }))

const noAsset = refused(404, "AssetNotFound", "There is no such file; reload the page")

const assets = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const known = yield* WebAssets
  yield* router.add(
    "GET",
    `${assetsPath}*`,
    Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
      const asset = known.get(request.url.split("?")[0] ?? "")
      return asset === undefined ? noAsset : send(asset, request)
    })
  )
}))

export const PageRoutes = [page("/"), page("/docs"), assets] as const
