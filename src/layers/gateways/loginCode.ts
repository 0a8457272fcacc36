/** A login code from a gateway's answer: its text, or its picture, which is decoded, and passed on where it cannot be. */
import { Effect, Redacted, Stream } from "effect"
import { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { GatewayName } from "../../domain/Ids.ts"
import type { LoginCode } from "../../services/GatewayParts.ts"
import { isQrText } from "../../services/qrCode.ts"
import { qrBytesMax, readQrImage } from "./qrImage.ts"
import type { RestClient } from "./RestClient.ts"

/** Gateways dial WhatsApp before they answer, and GOWA's own limit is 45 s. */
export const beginMillis = 50_000

/** A picture is available at once and small. */
const pictureMillis = 10_000

/** WhatsApp closes a connection without a login after this time. A pairing code ends with it. */
export const pairingMillis = 160_000

export const beginOperation = "begin a login"

/** `ABCD-EFGH`, as the phone expects it; some gateways leave out the hyphen. */
const pairingCode = /^[0-9A-Z]{4}-?[0-9A-Z]{4}$/

export const fromPairingCode = (
  name: GatewayName,
  code: string,
  millis = pairingMillis
): Effect.Effect<LoginCode, GatewayUnavailable> =>
  pairingCode.test(code)
    ? Effect.succeed({ _tag: "Code", code: Redacted.make(code.replace(/^(.{4})-?/, "$1-")), millis })
    : Effect.fail(GatewayUnavailable.of(name, beginOperation, "it answered with something that is no pairing code"))

export const fromText = (
  name: GatewayName,
  text: string,
  millis: number
): Effect.Effect<LoginCode, GatewayUnavailable> =>
  isQrText(text)
    ? Effect.succeed({ _tag: "Qr", text: Redacted.make(text), png: null, millis })
    : Effect.fail(GatewayUnavailable.of(name, beginOperation, "it answered with a text that is no code of WhatsApp"))

export const fromPicture = (
  name: GatewayName,
  bytes: Uint8Array,
  millis: number
): Effect.Effect<LoginCode, GatewayUnavailable> =>
  Effect.suspend((): Effect.Effect<LoginCode, GatewayUnavailable> => {
    const image = readQrImage(bytes)
    switch (image._tag) {
      case "Text":
        return Effect.succeed({ _tag: "Qr", text: Redacted.make(image.text), png: null, millis })
      case "Unread":
        return Effect.succeed({ _tag: "Qr", text: null, png: Redacted.make(bytes), millis })
      case "NoPicture":
        return Effect.fail(GatewayUnavailable.of(name, beginOperation, "its QR code is no picture that can be read"))
    }
  })

/** `data:image/png;base64,…`, or the base64 alone. Null where it is neither, or too long. */
export const decodePicture = (text: string): Uint8Array | null => {
  const base64 = text.replace(/^data:image\/png;base64,/, "")
  return base64.length > qrBytesMax * 4 / 3 + 4 || !/^[A-Za-z0-9+/\s]+={0,2}$/.test(base64.trimEnd())
    ? null
    : Buffer.from(base64, "base64")
}

/** Null where the picture does not exist. */
export const fetchPicture = (
  client: RestClient,
  name: GatewayName,
  url: URL
): Effect.Effect<Uint8Array | null, GatewayUnavailable> =>
  Effect.scoped(Effect.gen(function*() {
    const file = yield* client.open({ operation: beginOperation, url, millis: pictureMillis })
    if (file.status !== 200) return null
    const chunks: Array<Uint8Array> = []
    let size = 0
    yield* Stream.runForEach(file.content, (chunk) => {
      size += chunk.length
      if (size > qrBytesMax) {
        return Effect.fail(
          GatewayUnavailable.of(name, beginOperation, "its QR code is larger than a picture of one is")
        )
      }
      chunks.push(chunk)
      return Effect.void
    })
    return Buffer.concat(chunks)
  })).pipe(Effect.timeoutOrElse({
    duration: pictureMillis,
    orElse: () =>
      Effect.fail(GatewayUnavailable.of(name, beginOperation, `no picture of its code within ${pictureMillis} ms`))
  }))
