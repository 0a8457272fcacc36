/** The dialects that this build supports, and how a gateway of each is opened. */
import { Context } from "effect"
import type { Effect, Redacted, Scope } from "effect"
import type { GatewayDialect, GatewaySecretName } from "../domain/Gateway.ts"
import type { GatewayName } from "../domain/Ids.ts"
import type { WhatsAppGateway } from "./WhatsAppGateway.ts"

/** All that an adapter needs to reach its gateway. */
export interface GatewayConnection {
  readonly name: GatewayName
  readonly dialect: GatewayDialect
  /** `http(s)://` or `ws(s)://` with the gateway's base path, and without credentials. */
  readonly url: string
  readonly user: string | null
  readonly secrets: Readonly<Partial<Record<GatewaySecretName, Redacted.Redacted>>>
}

/** Opening makes no connection yet. Closing the scope releases the gateway's resources, except sessions. */
export type OpenGateway = (connection: GatewayConnection) => Effect.Effect<WhatsAppGateway, never, Scope.Scope>

export class GatewayAdapters extends Context.Service<GatewayAdapters, {
  readonly byDialect: ReadonlyMap<GatewayDialect, OpenGateway>
}>()("columba/services/GatewayAdapters") {}
