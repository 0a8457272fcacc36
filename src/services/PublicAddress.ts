/** Where gateways reach this installation, and the address that each posts its webhooks to. */
import { Context } from "effect"
import type { DeviceId, GatewayName } from "../domain/Ids.ts"

/** `http(s)://`, with a path where a proxy adds one, and without a slash at its end. Null: nobody has said. */
export const PublicAddress = Context.Reference<string | null>("columba/services/PublicAddress", {
  defaultValue: () => null
})

/** What stands for the address in advice while nobody has said it. */
const placeholder = "https://<address of Columba>"

/** For the webhooks of all devices of the gateway, signed with the gateway's secret. */
export const gatewayWebhookUrl = (address: string | null, gateway: GatewayName): string =>
  `${address ?? placeholder}/webhooks/${gateway}`

/** For the webhooks of one device, signed with the device's own secret. */
export const deviceWebhookUrl = (address: string, gateway: GatewayName, device: DeviceId): string =>
  `${gatewayWebhookUrl(address, gateway)}?device=${device}`
