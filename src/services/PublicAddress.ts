/** The address under which gateways reach this installation, and the address to which each posts its webhooks. */
import { Context } from "effect"
import type { DeviceId, GatewayName } from "../domain/Ids.ts"

/** `http(s)://`, with a path if a proxy adds one, and without a slash at its end. Null: not configured. */
export const PublicAddress = Context.Reference<string | null>("columba/services/PublicAddress", {
  defaultValue: () => null
})

/** Stands for the address in advice while it is not configured. */
const placeholder = "https://<address of Columba>"

/** For the webhooks of all devices of the gateway, signed with the gateway's secret. */
export const gatewayWebhookUrl = (address: string | null, gateway: GatewayName): string =>
  `${address ?? placeholder}/webhooks/${gateway}`

/** For the webhooks of one device, signed with the device's own secret. */
export const deviceWebhookUrl = (address: string, gateway: GatewayName, device: DeviceId): string =>
  `${gatewayWebhookUrl(address, gateway)}?device=${device}`
