/**
 * The port to one gateway: the operations that every dialect has, and the parts (`GatewayParts`) that a dialect has or
 * lacks.
 *
 * Frames are delivered by plain calls, in arrival order, from the socket's callback. At this rate a fiber or a queue
 * per device is the main cost (see `docs/decisions/0004-per-device-cost.md`), and order needs neither.
 */
import type { Effect } from "effect"
import type { UpstreamStatus } from "../domain/Device.ts"
import type { GatewayUnavailable } from "../domain/DeviceErrors.ts"
import type { GatewayDialect } from "../domain/Gateway.ts"
import type { GatewayName, UpstreamId } from "../domain/Ids.ts"
import type {
  Capabilities,
  ConnectLink,
  FetchMedia,
  History,
  Ingest,
  Login,
  OpenSession,
  ReadStatuses,
  Send,
  SessionTarget,
  Start,
  Webhook
} from "./GatewayParts.ts"

/** The parts of a gateway. An absent property is a part that the dialect lacks. */
export interface GatewayParts {
  readonly statuses?: ReadStatuses
  readonly open?: OpenSession
  readonly link?: ConnectLink
  readonly ingest?: Ingest
  readonly webhook?: Webhook
  readonly start?: Start
  readonly history?: History
  readonly media?: FetchMedia
  readonly send?: Send
  readonly login?: Login
}

export interface WhatsAppGateway extends GatewayParts {
  readonly name: GatewayName
  readonly dialect: GatewayDialect
  /** One line for people: dialect and URL without secrets. */
  readonly description: string
  readonly capabilities: Capabilities
  /**
   * Asks the gateway about one slot. An unknown slot is not connected and not logged in. Bounded at 5 s. With
   * `accountKnown`, the answer about a usable slot may repeat the target's account unasked.
   */
  readonly status: (target: SessionTarget, accountKnown?: boolean) => Effect.Effect<UpstreamStatus, GatewayUnavailable>
  /** Creates the slot if the gateway lacks it. Repeating it is harmless. */
  readonly ensureSlot: (upstreamId: UpstreamId) => Effect.Effect<void, GatewayUnavailable>
  /** Whether the gateway's process answers at all. Cheap, bounded at 3 s. */
  readonly probe: Effect.Effect<void, GatewayUnavailable>
}

const partNames = [
  "statuses",
  "open",
  "link",
  "ingest",
  "webhook",
  "start",
  "history",
  "media",
  "send",
  "login"
] as const

/** The parts that this gateway has. */
export const listParts = (gateway: GatewayParts): ReadonlyArray<keyof GatewayParts> =>
  partNames.filter((part) => gateway[part] !== undefined)
