import { Redacted } from "effect"
import type { GatewayName } from "../../../../src/domain/Ids.ts"
import * as BridgeGateway from "../../../../src/layers/gateways/bridge/BridgeGateway.ts"
import { gatewayConformance } from "../../../conformance/gateway.ts"

gatewayConformance("bridge", ({ password, ...options }) =>
  BridgeGateway.make({
    name: "default" as GatewayName,
    ...options,
    ...(password === undefined ? undefined : { password: Redacted.make(password) })
  }))
