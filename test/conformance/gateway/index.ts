/** What every gateway adapter with a connection per device keeps, whatever its dialect. */
import { frameLimitConformance } from "./frameLimits.ts"
import type { Adapter } from "./harness.ts"
import { sessionConformance } from "./sessions.ts"
import { slotConformance } from "./slots.ts"
import { strangerConformance } from "./strangers.ts"

export const gatewayConformance = (adapter: Adapter): void => {
  sessionConformance(adapter)
  slotConformance(adapter)
  frameLimitConformance(adapter)
  strangerConformance(adapter)
}
