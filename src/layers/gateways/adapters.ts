/** The dialects of this build. A new one is an adapter and a line here. */
import { Layer } from "effect"
import { GatewayAdapters } from "../../services/GatewayAdapters.ts"
import * as BridgeGateway from "./bridge/BridgeGateway.ts"
import * as GowaGateway from "./gowa/GowaGateway.ts"
import * as WahaGateway from "./waha/WahaGateway.ts"

export const layer: Layer.Layer<GatewayAdapters> = Layer.succeed(
  GatewayAdapters,
  GatewayAdapters.of({
    byDialect: new Map([["bridge", BridgeGateway.open], ["gowa", GowaGateway.open], ["waha", WahaGateway.open]])
  })
)
