/**
 * The simulated gateway as GOWA: REST in its envelope (`gowaRoutes`), a socket that carries control frames and no
 * messages (`GowaHub`), and webhooks (`GowaWebhooks`). It is as strict as the real server: it refuses, drops and omits
 * the same things.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import { WebSocketServer } from "ws"
import type { AccountChange, Dialect, Payload } from "../Dialect.ts"
import { strikeUpgrade } from "../Dialect.ts"
import { sessionNotReady } from "../envelope.ts"
import { plain, readBody, type Reply, send } from "../http.ts"
import { hasTextOrFile, type SimulatedDevice } from "../SimulatedDevice.ts"
import type { SimulatorCore } from "../SimulatorCore.ts"
import { checkAuth, scope } from "./access.ts"
import { companionJid } from "../sending.ts"
import { encodeEvent, junk } from "./events.ts"
import { Files } from "./files.ts"
import { answer } from "./gowaRoutes.ts"
import { GowaHub } from "./GowaHub.ts"
import {
  type GlobalWebhooks,
  GowaWebhooks,
  noWebhook,
  realTimes,
  scaleTimes,
  type WebhookConfig
} from "./GowaWebhooks.ts"

export interface GowaOptions {
  readonly auth?: { readonly user: string; readonly password: string } | undefined
  readonly basePath?: string | undefined
  /** The webhooks of the process; a slot's own addresses replace these. */
  readonly webhooks?: Partial<GlobalWebhooks> | undefined
  /** Multiplies its waits: 1 is real time, and with 0 an account is connected immediately when it is paired. */
  readonly pace?: number | undefined
  /** Multiplies pauses and time limits of webhooks; 1 is real time. */
  readonly webhookPace?: number | undefined
  /** Whether files of incoming messages are downloaded automatically; if not, payloads have their encrypted address. */
  readonly autoDownload?: boolean | undefined
}

/** The state of one slot besides its account. */
export interface GowaSlot {
  webhook: WebhookConfig
  /** Set by a successful authentication, cleared only by a logout or the end of the process. */
  loggedIn: boolean
  /** A client object exists: some requests need one. */
  client: boolean
  /** Time until which a login waits for the phone, by the core's clock. */
  pairingUntil: number
  /** Created by a login of an unknown slot: in memory only. */
  ghost: boolean
  /** Whether it has connected at least once since the pairing: before, its own webhook has no effect. */
  everConnected: boolean
}

/** Real waits, in milliseconds: after a pairing, after a start of the process, and how long QR codes are offered. */
const pairedMillis = 3000
const startMillis = 2000
const oneByOneMillis = 300
const pairingMillis = 160_000

export class GowaServer implements Dialect {
  readonly junk = junk
  readonly core: SimulatorCore
  readonly options: GowaOptions
  readonly repeats = true
  readonly hub: GowaHub
  readonly webhooks: GowaWebhooks
  readonly files: Files
  readonly basePath: string
  readonly #slots = new WeakMap<SimulatedDevice, GowaSlot>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 1024 * 1024 })

  constructor(core: SimulatorCore, options: GowaOptions) {
    this.core = core
    this.options = options
    this.basePath = options.basePath ?? ""
    this.files = new Files(() => core.now())
    this.webhooks = new GowaWebhooks(scaleTimes(realTimes, options.webhookPace ?? 1))
    this.hub = new GowaHub((bytes) => core.countFrame(bytes), () => ({
      code: "LIST_DEVICES",
      message: "Device found",
      result: this.listAccounts()
    }))
  }

  get pace(): number {
    return this.options.pace ?? 1
  }

  slotOf(device: SimulatedDevice): GowaSlot {
    const known = this.#slots.get(device)
    if (known !== undefined) return known
    const slot: GowaSlot = {
      webhook: noWebhook,
      loggedIn: device.connected,
      client: device.connected,
      pairingUntil: 0,
      ghost: false,
      everConnected: device.connected
    }
    this.#slots.set(device, slot)
    return slot
  }

  /** Finds a slot by its id, then by the address with the companion's number, then by the account's. */
  find(name: string): SimulatedDevice | undefined {
    const bySlot = this.core.devices.get(name)
    if (bySlot !== undefined) return bySlot
    for (const device of this.core.devices.values()) {
      if (device.jid !== null && (name === device.jid || name === companionJid(device.jid))) return device
    }
    return undefined
  }

  listAccounts(): ReadonlyArray<unknown> | null {
    const devices = [...this.core.devices.values()]
    return devices.length === 0
      ? null
      : devices.map(({ id, jid, name }) => ({ name: jid === null ? "" : name, device: id, jid: jid ?? "" }))
  }

  reach(device: SimulatedDevice, event: string, { chat_id }: Payload): number {
    if (typeof chat_id === "string" && chat_id.endsWith("@broadcast")) return 0
    const { events, urls } = this.#targets(device)
    const wanted = events.split(",").map((name) => name.trim().toLowerCase()).filter((name) => name !== "")
    return wanted.length === 0 || wanted.includes(event.toLowerCase()) ? urls.length : 0
  }

  keeps(payload: Payload): boolean {
    return hasTextOrFile(payload)
  }

  encode(device: SimulatedDevice, event: string, payload: Payload, slot: string): string {
    return encodeEvent(device.jid, slot, event, payload, this.options.autoDownload ?? true)
  }

  send(device: SimulatedDevice, data: string | Buffer): void {
    const { secret, urls } = this.#targets(device)
    if (urls.length === 0) return
    this.core.countFrame(data.length)
    this.webhooks.post(urls, secret, data)
  }

  isFull(): boolean {
    return this.webhooks.pending >= pendingMax
  }

  /** GOWA announces only a pairing and a logout. A session that is replaced ends the whole process. */
  announce(device: SimulatedDevice, change: AccountChange): void {
    const slot = this.slotOf(device)
    if (change === "logged-out") {
      this.forgetLogin(device)
      void this.hub.broadcast({
        code: "DEVICE_LOGGED_OUT",
        message: "Device logged out (slot kept)",
        result: { device_id: device.id }
      })
    } else if (change === "replaced") {
      this.core.crash()
    } else if (change === "connected" && device.jid !== null) {
      slot.pairingUntil = 0
      slot.client = true
      device.connected = false
      void this.hub.broadcast({
        code: "LOGIN_SUCCESS",
        message: `Successfully pair with ${companionJid(device.jid)}`,
        result: null
      })
      this.after(pairedMillis, () => this.connect(device))
    }
  }

  passkey(device: SimulatedDevice): void {
    const pending = this.core.pairings.passkey(device)
    if (pending === null) return
    void this.hub.broadcast(
      pending.stage === "challenge"
        ? {
          code: "PASSKEY_REQUEST",
          message: "Passkey requested: POST /app/passkey/response",
          result: { device_id: device.id, challenge: pending.challenge }
        }
        : {
          code: "PASSKEY_CONFIRMATION",
          message: `Compare this code with the phone: ${pending.code}`,
          result: { device_id: device.id, code: pending.code, skip_handoff_ux: false }
        }
    )
  }

  /** The account is connected and authenticated. */
  connect(device: SimulatedDevice): void {
    if (device.jid === null) return
    const slot = this.slotOf(device)
    device.connected = true
    slot.client = true
    slot.loggedIn = true
    slot.everConnected = true
  }

  forgetLogin(device: SimulatedDevice): void {
    device.logOut()
    Object.assign(this.slotOf(device), { loggedIn: false, client: false, pairingUntil: 0, everConnected: false })
  }

  beginPairing(device: SimulatedDevice): void {
    const slot = this.slotOf(device)
    slot.client = true
    // The socket is replaced: earlier codes are no longer valid.
    this.core.pairings.hide(device)
    slot.pairingUntil = this.core.now() + pairingMillis * (this.pace === 0 ? 1 : this.pace)
  }

  /** After a wait of the real server's length, or immediately where waits are disabled. */
  after(millis: number, run: () => void): void {
    if (this.pace === 0) return run()
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, millis * this.pace)
    this.#timers.add(timer)
  }

  holders(): Iterable<GowaHub> {
    return [this.hub]
  }

  added(device: SimulatedDevice): void {
    this.slotOf(device)
  }

  /** No frame announces it. */
  removed(): void {}

  request(request: IncomingMessage, response: ServerResponse, url: URL): void {
    if (url.pathname === "/health") return send(response, plain(200, "OK"))
    const path = this.pathOf(url)
    if (path === null) return send(response, plain(404, "Not Found"))
    const file = path.startsWith("/statics/") ? this.files.read(path.slice(1)) : null
    if (file !== null) return send(response, file)
    const refusal = checkAuth(this.options.auth, request, url, false)
    if (refusal !== null) return send(response, refusal)
    readBody(request, (body) => {
      void answer(this, request, url, path, body).then((reply) => send(response, reply))
    })
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, url: URL): Reply | null {
    const path = this.pathOf(url)
    const refusal = checkAuth(this.options.auth, request, url, true)
    if (refusal !== null) return refusal
    const device = scope(this, request, url)
    if ("status" in device) return device
    if (path !== "/ws") return plain(404, "Not Found")
    const struck = strikeUpgrade(
      this.core.faults,
      this.core.now(),
      { device: device.id, request, socket, head },
      sessionNotReady
    )
    if (struck === "taken") {
      this.core.refused++
      return null
    }
    if (struck !== null) return struck
    this.#sockets.handleUpgrade(request, socket, head, (opened) => {
      this.core.accepted++
      this.hub.attach(opened)
      this.core.sockets.follow("*", request.socket.localAddress ?? "", opened)
    })
    return null
  }

  pathOf(url: URL): string | null {
    if (this.basePath === "") return url.pathname
    return url.pathname.startsWith(`${this.basePath}/`) ? url.pathname.slice(this.basePath.length) : null
  }

  crashed(): void {
    this.webhooks.stop()
    this.#forgetTimers()
    for (const device of [...this.core.devices.values()]) {
      const slot = this.slotOf(device)
      if (slot.ghost) this.core.removeDevice(device.id)
      device.connected = false
      Object.assign(slot, { loggedIn: false, client: false, pairingUntil: 0 })
    }
  }

  /** After two seconds the paired slots start one after another. */
  revived(): void {
    const paired = [...this.core.devices.values()].filter(({ jid }) => jid !== null)
    for (const [index, device] of paired.entries()) {
      this.slotOf(device).client = true
      this.after(startMillis + index * oneByOneMillis, () => this.connect(device))
    }
  }

  close(): void {
    this.webhooks.stop()
    this.#forgetTimers()
  }

  #forgetTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  /** A slot's own webhook is found by its account, and only if no other slot has the same account. */
  #targets(device: SimulatedDevice): GlobalWebhooks {
    const { events = "", secret = "secret", urls = [] } = this.options.webhooks ?? {}
    const { everConnected, webhook } = this.slotOf(device)
    if (webhook.webhook_url === "" || !everConnected || this.#isShared(device)) return { urls, secret, events }
    return {
      urls: [webhook.webhook_url],
      secret: webhook.webhook_secret || secret,
      events: webhook.webhook_events || events
    }
  }

  #isShared({ id, jid }: SimulatedDevice): boolean {
    for (const other of this.core.devices.values()) if (other.id !== id && other.jid === jid) return true
    return false
  }
}

/** Number of running deliveries above which a job without a rate waits. */
const pendingMax = 64

/** The GOWA of a simulator that was started with this dialect. */
export const asGowa = (core: SimulatorCore): GowaServer => {
  if (core.dialect instanceof GowaServer) return core.dialect
  throw new Error("this simulator does not speak gowa")
}
