/** The contract of every gateway adapter in every dialect: for each part that it has, the suite of that part. */
import { frameLimitConformance } from "./frameLimits.ts"
import type { Adapter, Having, SessionAdapter } from "./harness.ts"
import { historyConformance } from "./history.ts"
import { mediaConformance } from "./media.ts"
import { sessionConformance } from "./sessions.ts"
import { slotConformance } from "./slots.ts"
import { strangerConformance, strangerHandshakeConformance } from "./strangers.ts"
import { webhookConformance } from "./webhooks.ts"

/** For adapters with a connection per device. */
export const gatewayConformance = (adapter: SessionAdapter): void => {
  sessionConformance(adapter)
  slotConformance(adapter)
  frameLimitConformance(adapter)
  strangerConformance(adapter)
  strangerHandshakeConformance(adapter)
}

/** For adapters of gateways with a connection per device, webhooks, a history and files. */
export const completeGatewayConformance = (
  adapter: SessionAdapter & Adapter<Having<"open" | "ingest" | "webhook" | "history" | "media">>
): void => {
  gatewayConformance(adapter)
  webhookConformance(adapter)
  historyConformance(adapter)
  mediaConformance(adapter)
}

/** For adapters of gateways with webhooks, a history and files. */
export const webhookGatewayConformance = (
  adapter: Adapter<Having<"ingest" | "webhook" | "history" | "media">>
): void => {
  slotConformance(adapter)
  strangerConformance(adapter)
  webhookConformance(adapter)
  historyConformance(adapter)
  mediaConformance(adapter)
}
