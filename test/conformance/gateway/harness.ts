/**
 * The parts of every gateway adapter's tests: the simulator over real sockets, a proxy that disturbs connections, and a
 * ping wheel fast enough to wait for.
 */
import { Effect, type Scope } from "effect"
import type { WebSocket } from "ws"
import { PingWheel } from "../../../src/layers/gateways/PingWheel.ts"
import type { GatewayParts, WhatsAppGateway } from "../../../src/services/WhatsAppGateway.ts"
import type { FaultOf } from "../../../src/simulator/FaultPlan.ts"
import * as SimulatedGateway from "../../../src/simulator/SimulatedGateway.ts"
import type { Answer } from "../../support/answeringServer.ts"
import * as FaultProxy from "../../support/FaultProxy.ts"
import { makeTarget, type Recording } from "../../support/gateway.ts"

/** The options that the suite sets on an adapter. */
export interface AdapterOptions {
  readonly url: string
  readonly user?: string
  readonly password?: string
  readonly frameBytesMax?: number
  readonly frameBytesHardMax?: number
  readonly handshakeMillis?: number
  readonly wheel?: PingWheel
}

/** A gateway that has these parts. */
export type Having<Part extends keyof GatewayParts> = WhatsAppGateway & Required<Pick<GatewayParts, Part>>

export interface Adapter<Gateway extends WhatsAppGateway = WhatsAppGateway> {
  readonly name: string
  readonly make: (options: AdapterOptions) => Effect.Effect<Gateway, never, Scope.Scope>
  /** The simulator options for its dialect. */
  readonly simulator: SimulatedGateway.SimulatorOptions
  /** A simulator that requires credentials, and the right ones. */
  readonly locked: Locked
  /** Answers by path that show that the gateway is there. */
  readonly signsOfLife: ReadonlyArray<(path: string) => Answer>
}

interface Locked {
  readonly simulator: SimulatedGateway.SimulatorOptions
  readonly right: Partial<AdapterOptions>
}

/** An adapter with a connection per device. Expected failures are written `class code`. */
export interface SessionAdapter extends Adapter<Having<"open">> {
  /** Whether a session receives its account as soon as it opens. */
  readonly greets: boolean
  /** Whether a session of an unknown slot is refused. Otherwise it opens, and the slot's status shows it. */
  readonly refusesUnknownSlot: boolean
  /** Refusals that only this dialect has. */
  readonly refusals: ReadonlyArray<readonly [refusal: Omit<FaultOf<"refuse">, "kind">, expected: string]>
  /** Close codes with a special meaning in this dialect. */
  readonly closes: ReadonlyArray<readonly [drop: Omit<FaultOf<"drop">, "kind">, expected: string]>
  /** Answers of the gateway itself to an upgrade. */
  readonly handshakes: ReadonlyArray<readonly [name: string, answer: Answer, expected: string]>
  /** An event of the dialect for a slot, as text; the payload is JSON already. */
  readonly encode: (slot: string, event: string, payload: string) => string
}

export const target = makeTarget("sim-1")

export const html = (status: number): Answer => ({
  status,
  body: "<html><body>not found</body></html>",
  headers: { "content-type": "text/html" }
})

export const json = (status: number, body: unknown): Answer => ({
  status,
  body: JSON.stringify(body),
  headers: { "content-type": "application/json" }
})

/** Gateways behind HTTP Basic that answer in the envelope. */
export const enveloped = (simulator: SimulatedGateway.SimulatorOptions): Pick<Adapter, "locked" | "signsOfLife"> => ({
  locked: {
    simulator: { ...simulator, auth: { user: "u", password: "p" } },
    right: { user: "u", password: "p" }
  },
  // A gateway without a health page still answers for its slots; one that requires credentials is there as well.
  signsOfLife: [
    (path) => path === "/health" ? html(404) : json(200, { code: "SUCCESS", message: "List devices" }),
    (path) => path === "/health" ? html(404) : { status: 401, body: "Unauthorized" }
  ]
})

/** A simulator with one device, and a gateway onto it. */
export const setup = Effect.fnUntraced(function*<Gateway extends WhatsAppGateway>(adapter: Adapter<Gateway>, options: {
  readonly simulator?: SimulatedGateway.SimulatorOptions
  readonly gateway?: Partial<AdapterOptions>
  readonly turn?: number
  /** Bypasses the proxy, whose buffers would hide backpressure. */
  readonly direct?: boolean
} = {}) {
  const simulator = yield* SimulatedGateway.start({ devices: 1, ...adapter.simulator, ...options.simulator })
  const proxy = yield* FaultProxy.make({ host: "127.0.0.1", port: simulator.port })
  const wheel = new PingWheel({ turn: options.turn ?? 20_000, slots: 4, missesMax: 2 })
  const url = options.direct === true ? simulator.url : `http://127.0.0.1:${proxy.port}`
  const gateway = yield* adapter.make({ url, wheel, ...options.gateway })
  const { core } = simulator
  return { simulator, core, device: core.devices.get("sim-1")!, proxy, gateway, wheel }
})

export const serverSocket = (device: { readonly sockets: ReadonlySet<WebSocket> }) => [...device.sockets][0]!

/** Succeeds once the session has received the first events of a new session. */
export const greeted = ({ greets }: Pick<SessionAdapter, "greets">, listener: Recording): Effect.Effect<void> =>
  greets ? listener.until(({ events }) => events.length > 0) : Effect.void

export const say = (index: number, body = `message ${index}`) => ({
  id: `ID${index}`,
  chat_id: "628999000111@s.whatsapp.net",
  from: "628999000111@s.whatsapp.net",
  timestamp: "2026-08-22T10:00:00Z",
  body
})

export const listIds = (listener: Recording) =>
  listener.drafts().flatMap((draft) => draft.kind === "message.received" ? [draft.data.waId] : [])

export const listRejects = (listener: Recording) =>
  listener.drafts().flatMap((draft) => draft.kind === "frame.rejected" ? [draft.data] : [])

export const pings = (socket: WebSocket, count: number) =>
  Effect.callback<void>((resume) => {
    let seen = 0
    socket.on("ping", () => {
      if (++seen === count) resume(Effect.void)
    })
  })

export const awaitClose = (socket: WebSocket): Effect.Effect<number> => {
  const closed = new Promise<number>((resolve) => socket.once("close", resolve))
  return Effect.promise(() => closed)
}
