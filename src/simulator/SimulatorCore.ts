/**
 * The simulated gateway without its transport: slots, their events and the faults. The HTTP routes, the socket
 * server and tests in the same process use it.
 */
import type { WebSocket } from "ws"
import type { Dialect } from "./Dialect.ts"
import { Emitter } from "./Emitter.ts"
import { type Fault, FaultPlan } from "./FaultPlan.ts"
import { Ledger } from "./Ledger.ts"
import { Pairings } from "./Pairings.ts"
import { SimulatedDevice } from "./SimulatedDevice.ts"
import { SocketRecord } from "./SocketRecord.ts"

export interface CoreOptions {
  readonly seed: string
  /** Seeds the conversations, so that they can differ between runs with the same accounts. The seed by default. */
  readonly conversation?: string | undefined
  readonly ledgerFile: string | undefined
  /** Whether a slot is paired as soon as it is created; otherwise it shows a QR code until `pair`. */
  readonly autoPair: boolean
  readonly now: () => number
}

export interface SimulatorStats {
  readonly seed: string
  readonly devices: number
  readonly sockets: number
  readonly frozen: number
  /** Events emitted, whether or not a socket received them. */
  readonly events: number
  readonly frames: number
  readonly bytes: number
  readonly accepted: number
  readonly refused: number
  readonly jobs: ReadonlyArray<{ readonly id: number; readonly emitted: number; readonly count: number | null }>
  readonly faults: ReadonlyArray<{ readonly id: number; readonly fault: Fault; readonly strikes: number }>
}

export interface EmitRequest {
  /** All devices by default. */
  readonly devices?: ReadonlyArray<string> | undefined
  /** By default until stopped. */
  readonly count?: number | undefined
  /** Events per second in total. By default as fast as the sockets accept them. */
  readonly rate?: number | undefined
  /** Instead of a rate: the accounts' own time runs this many times faster than real time. */
  readonly speed?: number | undefined
}

export type Pace = Pick<EmitRequest, "rate" | "speed">

export class SimulatorCore {
  readonly options: CoreOptions
  readonly devices = new Map<string, SimulatedDevice>()
  readonly faults: FaultPlan
  readonly ledger: Ledger
  readonly sockets: SocketRecord
  readonly emitter: Emitter
  readonly pairings = new Pairings(this)
  readonly #timers = new Set<NodeJS.Timeout>()
  #kept: { readonly pace: Pace; readonly job: number | null } | null = null
  #dialect: Dialect | null = null
  accepted = 0
  refused = 0
  frames = 0
  bytes = 0
  /** Ends the process, or its stand-in in a test. */
  crash: () => void = () => {}
  /** Ends like a crash of its process, and starts again after this many milliseconds with its slots and its history. */
  restart: (millis: number) => void = () => {}

  constructor(options: CoreOptions) {
    this.options = options
    this.faults = new FaultPlan(options.seed)
    this.ledger = new Ledger(options.ledgerFile)
    this.sockets = new SocketRecord(options.now)
    const { now, seed } = options
    this.emitter = new Emitter({ seed, now, ledger: this.ledger, faults: this.faults, dialect: () => this.dialect })
  }

  /** Called once, by the code that starts the server. */
  use(dialect: Dialect): void {
    this.#dialect = dialect
  }

  get dialect(): Dialect {
    if (this.#dialect === null) throw new Error("the simulator has no dialect yet")
    return this.#dialect
  }

  /** For the dialect: a frame or a webhook was sent. */
  countFrame(bytes: number): void {
    this.frames++
    this.bytes += bytes
  }

  now(): number {
    return this.options.now()
  }

  addDevice(id: string): SimulatedDevice {
    const known = this.devices.get(id)
    if (known !== undefined) return known
    const device = new SimulatedDevice(
      this.options.seed,
      id,
      this.options.autoPair,
      this.now(),
      this.options.conversation
    )
    this.devices.set(id, device)
    this.#dialect?.added?.(device)
    this.#spread()
    return device
  }

  /** Adds `sim-1` to `sim-<count>`. Existing ones stay. */
  addDevices(count: number, prefix = "sim-"): ReadonlyArray<string> {
    return Array.from({ length: count }, (_, index) => this.addDevice(`${prefix}${index + 1}`).id)
  }

  removeDevice(id: string): void {
    const device = this.devices.get(id)
    if (device === undefined) return
    this.dialect.removed(device)
    this.devices.delete(id)
  }

  pair(device: SimulatedDevice): void {
    this.pairings.hide(device)
    device.pair()
    this.dialect.announce(device, "connected")
  }

  logOut(device: SimulatedDevice): void {
    device.logOut()
    this.dialect.announce(device, "logged-out")
  }

  /** The account loses its own connection to WhatsApp and stays paired. */
  disconnect(device: SimulatedDevice): void {
    device.connected = false
    this.dialect.announce(device, "disconnected")
  }

  /** Another client takes the account's session at WhatsApp. The account stays paired. */
  replace(device: SimulatedDevice): void {
    device.connected = false
    this.dialect.announce(device, "replaced")
  }

  /** WhatsApp bans the account. */
  ban(device: SimulatedDevice): void {
    device.logOut()
    this.dialect.announce(device, "banned")
  }

  emit(request: EmitRequest, done: () => void = () => {}): number {
    const devices = this.#chosen(request.devices)
    const { count = null, rate = null, speed = null } = request
    return this.emitter.start({ devices, count, rate, speed }, done)
  }

  /** Like `emit` over all devices, including later ones, until stopped. */
  keepEmitting(pace: Pace): void {
    this.#kept = { pace, job: null }
    this.#spread()
  }

  /** The devices of a job are fixed, so a new device needs a new job. */
  #spread(): void {
    if (this.#kept === null) return
    const { job, pace } = this.#kept
    if (job !== null) this.emitter.stop(job)
    this.#kept = { pace, job: this.emit(pace) }
  }

  /** `drop` and `half-open` strike the sockets that are open now. All others strike when their opportunity comes. */
  applyFault(fault: Fault): number {
    const id = this.faults.add(fault, this.now())
    if (fault.kind === "drop" || fault.kind === "half-open") {
      const struck = this.#strikeSockets(fault)
      if (fault.kind === "drop") this.faults.remove(id)
      else if (fault.forMillis !== undefined) this.after(fault.forMillis, () => this.#thaw(struck))
    }
    return id
  }

  clearFaults(id?: number): void {
    if (id === undefined) this.faults.clear()
    else this.faults.remove(id)
    this.emitter.release()
    if (!this.faults.active(this.now()).some(({ fault }) => fault.kind === "half-open")) {
      this.#thaw([...this.devices.values()])
    }
  }

  stats(): SimulatorStats {
    let sockets = 0
    let frozen = 0
    for (const holder of this.dialect.holders(this.devices.values())) {
      sockets += holder.sockets.size
      frozen += holder.frozen.size
    }
    return {
      seed: this.options.seed,
      devices: this.devices.size,
      sockets,
      frozen,
      events: this.ledger.count,
      frames: this.frames,
      bytes: this.bytes,
      accepted: this.accepted,
      refused: this.refused,
      jobs: this.emitter.jobs,
      faults: this.faults.active(this.now())
    }
  }

  close(): void {
    this.emitter.close()
    this.dialect.close()
    for (const timer of this.#timers) clearTimeout(timer)
    this.ledger.close()
  }

  #chosen(ids: ReadonlyArray<string> | undefined): ReadonlyArray<SimulatedDevice> {
    if (ids === undefined) return [...this.devices.values()]
    return ids.flatMap((id) => this.devices.get(id) ?? [])
  }

  #strikeSockets(fault: Extract<Fault, { readonly kind: "drop" | "half-open" }>): ReadonlyArray<SimulatedDevice> {
    const struck = this.#chosen(fault.devices)
      .filter((device) => this.faults.strike(fault.kind, device.id, this.now()) !== undefined)
    for (const { frozen, sockets } of this.dialect.holders(struck)) {
      for (const socket of sockets) {
        // Removed at once, so that the ledger counts no later event as sent to it.
        sockets.delete(socket)
        if (fault.kind === "half-open") {
          socket.pause()
          frozen.add(socket)
        } else if (fault.code !== undefined) socket.close(fault.code)
        else if (fault.reset === true) getRawSocket(socket).resetAndDestroy()
        else socket.terminate()
      }
    }
    return struck
  }

  #thaw(devices: ReadonlyArray<SimulatedDevice>): void {
    for (const { frozen, sockets } of this.dialect.holders(devices)) {
      for (const socket of frozen) {
        sockets.add(socket)
        socket.resume()
      }
      frozen.clear()
    }
  }

  /** Runs nothing once the core has ended. */
  after(millis: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, millis)
    this.#timers.add(timer)
  }
}

/** `ws` does not expose the TCP socket, and there is no other way to send an RST. */
const getRawSocket = (socket: WebSocket) =>
  (socket as unknown as { readonly _socket: import("node:net").Socket })._socket
