/**
 * The simulated gateway in the `bridge` dialect: `/ws`, one socket per device that carries its events, and the routes
 * for slots and history (`BridgeRoutes`), all behind HTTP Basic where credentials are set.
 */
import type { IncomingMessage } from "node:http"
import { WebSocketServer } from "ws"
import type { WebSocket } from "ws"
import type { AccountChange, Dialect } from "../Dialect.ts"
import { anyFull, countOpen, hold, ignoreSent, strikeUpgrade } from "../Dialect.ts"
import { scopedDevice, sessionNotReady, unauthorized } from "../envelope.ts"
import { expectedBasic, parseFields, plain, readBody, send } from "../http.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"
import type { SimulatorCore } from "../SimulatorCore.ts"
import { gatewayReply } from "./BridgeRoutes.ts"
import { encodeFrame, junk, qrSeconds } from "./frames.ts"

export const make = (
  core: SimulatorCore,
  auth: { readonly user: string; readonly password: string } | undefined
): Dialect => {
  const expected = expectedBasic(auth)
  const allowed = (request: IncomingMessage) => expected === null || request.headers.authorization === expected
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 64 * 1024 })

  /** Sends the state of the account. Such frames are hints, not events: they are not in the ledger. */
  const announce = (device: SimulatedDevice, change: AccountChange, only?: WebSocket): void => {
    const text = encodeFrame(device.id, controlNames[change], controlPayload(core, device, change))
    for (const socket of only === undefined ? device.sockets : [only]) socket.send(text)
  }

  return {
    junk,
    reach: (device) => countOpen(device.sockets),
    encode: (_device, event, payload, slot) => encodeFrame(slot, event, payload),
    send: (device, data) => {
      for (const socket of device.sockets) {
        core.countFrame(data.length)
        socket.send(data, ignoreSent)
      }
    },
    isFull: (device) => anyFull(device.sockets),
    announce,
    holders: (devices) => devices,
    removed: (device) => {
      for (const socket of [...device.sockets, ...device.frozen]) socket.close(1000, "device removed")
    },
    request: (request, response, url) => {
      if (url.pathname === "/health") return send(response, plain(200, "OK"))
      if (!allowed(request)) return send(response, unauthorized)
      readBody(request, (bytes) => {
        if (bytes === null) return send(response, plain(413, "Request Entity Too Large"))
        void parseFields(request, bytes).then((body) =>
          send(response, gatewayReply(core, request, url, body) ?? plain(404, "Not Found"))
        )
      })
    },
    upgrade: (request, socket, head, url) => {
      if (url.pathname !== "/ws") return plain(404, "Not Found")
      if (!allowed(request)) return unauthorized
      const device = scopedDevice(core, request, url, (name) => core.devices.get(name))
      if ("status" in device) return device
      device.handshake = {
        header: String(request.headers["x-device-id"] ?? "") || null,
        query: url.searchParams.get("device_id"),
        user: parseUser(request.headers.authorization)
      }
      const struck = strikeUpgrade(
        core.faults,
        core.now(),
        { device: device.id, request, socket, head },
        sessionNotReady
      )
      if (struck === "taken") {
        core.refused++
        return null
      }
      if (struck !== null) return struck
      server.handleUpgrade(request, socket, head, (opened) => {
        core.accepted++
        hold(device, opened)
        core.sockets.follow(device.id, request.socket.localAddress ?? "", opened)
        announce(device, device.connected ? "connected" : "login", opened)
      })
      return null
    },
    crashed: () => {},
    revived: () => {},
    close: () => {}
  }
}

const controlNames: Readonly<Record<AccountChange, string>> = {
  connected: "connected",
  disconnected: "disconnected",
  login: "qr",
  "logged-out": "logged_out",
  replaced: "disconnected",
  banned: "logged_out"
}

const controlPayload = (core: SimulatorCore, device: SimulatedDevice, change: AccountChange) => {
  switch (change) {
    case "connected":
      return { jid: device.jid }
    case "login": {
      const qr = core.pairings.current(device, "qr")?.text ?? core.pairings.showQr(device, qrSeconds * 1000)
      return { qr, qr_duration: qrSeconds }
    }
    case "replaced":
      return { reason: "stream replaced" }
    case "banned":
      return { reason: "the account was banned" }
    default:
      return {}
  }
}

const parseUser = (authorization: string | undefined): string | null =>
  authorization === undefined
    ? null
    : Buffer.from(authorization.slice("Basic ".length), "base64").toString().split(":")[0]!
