/** The QR code of a login as a picture: drawn here, never cached, and for callers that may log the device in. */
import { Effect, Redacted } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "../contracts/Api.ts"
import { CurrentCaller, isVisible } from "../contracts/Authorization.ts"
import { DeviceNotFound } from "../domain/DeviceErrors.ts"
import type { DeviceId } from "../domain/Ids.ts"
import { LoginNotFound } from "../domain/Login.ts"
import { DeviceManager } from "../services/DeviceManager.ts"
import { drawSvg } from "../services/qrCode.ts"

const headers = { "cache-control": "private, no-store", "content-disposition": "inline" }

export const QrHttp = HttpApiBuilder.group(
  Api,
  "qr",
  Effect.fnUntraced(function*(handlers) {
    const manager = yield* DeviceManager
    const find = Effect.fnUntraced(function*(id: DeviceId) {
      const { devices: visible } = yield* CurrentCaller
      if (!isVisible(visible, id)) return yield* DeviceNotFound.of(id)
      const step = yield* manager.currentLogin(id)
      return step._tag === "Qr" ? step : yield* LoginNotFound.withoutPicture(id)
    })
    return handlers
      .handle(
        "qrPng",
        Effect.fnUntraced(function*({ params }) {
          const { image } = yield* find(params.id)
          const png = Buffer.from(Redacted.value(image).replace(/^data:image\/png;base64,/, ""), "base64")
          return HttpServerResponse.uint8Array(png, { contentType: "image/png", headers })
        })
      )
      .handle(
        "qrSvg",
        Effect.fnUntraced(function*({ params }) {
          const { text } = yield* find(params.id)
          if (text === undefined) return yield* LoginNotFound.withoutPicture(params.id)
          return HttpServerResponse.text(drawSvg(Redacted.value(text)), { contentType: "image/svg+xml", headers })
        })
      )
  })
)
