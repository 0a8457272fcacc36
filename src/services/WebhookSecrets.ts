/**
 * The secret with which a gateway signs the webhooks of one device. It is derived from a key of this installation, the
 * gateway and the device, so it is stored nowhere, every process computes the same one, and it is valid for that
 * device alone.
 */
import { hkdfSync } from "node:crypto"
import { Context, Layer, Redacted } from "effect"
import type { DeviceId, GatewayName } from "../domain/Ids.ts"
import type { SecretKey } from "./SecretSeal.ts"

/** As long as the key: more bytes would not add entropy. */
const secretBytes = 32

export class WebhookSecrets extends Context.Service<WebhookSecrets, {
  /**
   * One per key. The first is configured at the gateway; the others are earlier ones under older keys, valid until the
   * gateway is configured again. Empty if this process has no key.
   */
  readonly of: (gateway: GatewayName, device: DeviceId) => ReadonlyArray<Redacted.Redacted>
}>()("columba/services/WebhookSecrets") {
  static readonly layer = (keys: ReadonlyArray<SecretKey>): Layer.Layer<WebhookSecrets> =>
    Layer.succeed(
      WebhookSecrets,
      WebhookSecrets.of({ of: (gateway, device) => keys.map((key) => derive(key, gateway, device)) })
    )
}

/**
 * Unambiguous: neither name can contain a line feed. Hexadecimal, because gateways accept any such text in their
 * settings.
 */
const derive = (key: SecretKey, gateway: GatewayName, device: DeviceId): Redacted.Redacted => {
  const purpose = `columba webhook v1\n${gateway}\n${device}`
  return Redacted.make(Buffer.from(hkdfSync("sha256", Redacted.value(key), "", purpose, secretBytes)).toString("hex"))
}
