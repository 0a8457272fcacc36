import { Redacted } from "effect"
import type { GatewayName } from "../../../../src/domain/Ids.ts"
import * as GowaGateway from "../../../../src/layers/gateways/gowa/GowaGateway.ts"
import { type Adapter, enveloped } from "../../../conformance/gateway/harness.ts"

const simulator = { dialect: "gowa", gowa: { pace: 0 } } as const

/** The adapter against a GOWA that has no delays of its own. */
export const adapter: Adapter<GowaGateway.GowaGateway> = {
  name: "gowa",
  make: ({ password, ...options }) =>
    GowaGateway.make({
      name: "default" as GatewayName,
      ...options,
      ...(password === undefined ? undefined : { password: Redacted.make(password) })
    }),
  simulator,
  ...enveloped(simulator)
}
