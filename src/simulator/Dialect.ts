/**
 * A dialect's part of the simulated gateway: the form and transport of events, and the server's answers. Accounts,
 * conversations, history, faults and the ledger are in the core and the same for all dialects.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import { type WebSocket, WebSocketServer } from "ws"
import type { Fault, FaultPlan } from "./FaultPlan.ts"
import { plain, type Reply } from "./http.ts"
import type { SimulatedDevice } from "./SimulatedDevice.ts"

/** The dialects of the simulator. */
export const simulatedDialects = ["bridge", "gowa", "waha"] as const
export type SimulatedDialect = (typeof simulatedDialects)[number]

export type Payload = Readonly<Record<string, unknown>>

/** `replaced`: another client has taken the account's session; `banned`: WhatsApp has banned the account. */
export type AccountChange = "connected" | "disconnected" | "login" | "logged-out" | "replaced" | "banned"

/** A set of sockets that a fault strikes together. */
export interface SocketHolder {
  readonly sockets: Set<WebSocket>
  /** Open in TCP, but neither read nor written: the half-open fault. */
  readonly frozen: Set<WebSocket>
}

export interface Dialect {
  /** The number of receivers to which the event would go now: open sockets, webhook addresses. */
  readonly reach: (device: SimulatedDevice, event: string, payload: Payload) => number
  /** Stores an event for the dialect's own history, if it has one. Called for every event, received or not. */
  readonly remember?: (device: SimulatedDevice, event: string, payload: Payload) => void
  /** The id that readers see, where the dialect uses another than the event's own. */
  readonly idOf?: (event: string, payload: Payload) => string | null
  /** The statuses of its message that the event implies, where the dialect reports them in other events than acks. */
  readonly implies?: (event: string, payload: Payload) => ReadonlyArray<string>
  /** Whether the dialect's history will have this message. By default it has each. */
  readonly keeps?: (payload: Payload) => boolean
  /** The dialect retries refused events: a reader cannot distinguish an event from a repeat of an earlier one with the same text. */
  readonly repeats?: true
  /** Encodes an event as text. `slot` is the slot that it names, which a fault may change. */
  readonly encode: (device: SimulatedDevice, event: string, payload: Payload, slot: string) => string
  /** Sends the result of `encode`, or data that is not an event. */
  readonly send: (device: SimulatedDevice, data: string | Buffer) => void
  /** Whether a job without a rate should wait for the device's receivers. */
  readonly isFull: (device: SimulatedDevice) => boolean
  /** Data that is not an event of the dialect, for the fault `junk`. */
  readonly junk: ReadonlyArray<string>
  /** Sets a slot's status to one of the dialect's own; null: the one of its account. False for an unknown status. */
  readonly force?: (device: SimulatedDevice, status: string | null) => boolean
  /** Announces a change of the account, if the dialect announces such changes. */
  readonly announce: (device: SimulatedDevice, change: AccountChange) => void
  /** Announces that WhatsApp requires a passkey, or its next step, from `core.pairings`. Absent where the dialect has none. */
  readonly passkey?: (device: SimulatedDevice) => void
  /** The holders of the sockets that concern these devices. */
  readonly holders: (devices: Iterable<SimulatedDevice>) => Iterable<SocketHolder>
  /** The device has been added. */
  readonly added?: (device: SimulatedDevice) => void
  /** The device is about to be removed. */
  readonly removed: (device: SimulatedDevice) => void
  readonly request: (request: IncomingMessage, response: ServerResponse, url: URL) => void
  /** Null if the upgrade was accepted or is left unanswered; else the refusal. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer, url: URL) => Reply | null
  /** The process has died: state that was only in its memory is gone. */
  readonly crashed: () => void
  /** The process runs again. */
  readonly revived: () => void
  readonly close: () => void
}

/** An upgrade that a fault may strike. */
export interface Upgrade {
  readonly device: string
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
}

/** The faults of an upgrade: `taken` (the fault handles it), a refusal, or null where none strikes. `notReady` is the dialect's own. */
export const strikeUpgrade = (
  faults: FaultPlan,
  now: number,
  { device, head, request, socket }: Upgrade,
  notReady: Reply
): Reply | "taken" | null => {
  if (faults.strike("hang", device, now) !== undefined) {
    // A client that abandons the upgrade closes the connection, which must not count as open after that.
    socket.on("end", () => socket.destroy()).resume()
    return "taken"
  }
  const refusal = faults.strike("refuse", device, now)
  if (refusal?.code === undefined) return refusal === undefined ? null : refused(refusal, notReady)
  const { code } = refusal
  new WebSocketServer({ noServer: true }).handleUpgrade(request, socket, head, (opened) => {
    opened.on("error", () => {})
    opened.close(code)
  })
  return "taken"
}

const refused = (refusal: Extract<Fault, { readonly kind: "refuse" }>, notReady: Reply): Reply => {
  const reply = refusal.json === true ? { ...notReady, status: refusal.status } : plain(refusal.status, "no")
  return refusal.retryAfter === undefined
    ? reply
    : { ...reply, headers: { ...reply.headers, "retry-after": refusal.retryAfter } }
}

/** A socket that is closing receives no more frames. */
export const countOpen = (sockets: Iterable<WebSocket>): number => {
  let count = 0
  for (const socket of sockets) if (socket.readyState === socket.OPEN) count++
  return count
}

/** Maximum number of buffered bytes in one socket; above it a job without a rate waits. */
const bufferedMax = 256 * 1024

export const anyFull = (sockets: Iterable<WebSocket>): boolean => {
  for (const socket of sockets) if (socket.bufferedAmount > bufferedMax) return true
  return false
}

/** Holds an open socket until it closes. */
export const hold = (holder: SocketHolder, socket: WebSocket): void => {
  holder.sockets.add(socket)
  socket.on("close", () => {
    holder.sockets.delete(socket)
    holder.frozen.delete(socket)
  })
  // Every error is followed by a close.
  socket.on("error", () => {})
}

/**
 * A socket that fails during a write is closed, which is handled elsewhere. The ledger already has the frame as sent.
 */
export const ignoreSent = (): void => {}
