/** Faults of sending a message, and the ids of sent messages, for every dialect. */
import { plain, type Reply } from "./http.ts"
import type { SimulatedDevice } from "./SimulatedDevice.ts"
import type { SimulatorCore } from "./SimulatorCore.ts"

export const makeWaId = (): string => `3EB0${crypto.randomUUID().replaceAll("-", "").slice(0, 16).toUpperCase()}`

/** Sends unless a fault strikes before; a fault that strikes after replaces the answer, and the message is sent. */
export const withSendFaults = (core: SimulatorCore, device: SimulatedDevice, send: () => Reply): Reply => {
  const fault = core.faults.strike("send", device.id, core.now())
  if (fault === undefined) return send()
  if (fault.when === "after") send()
  if (fault.status !== undefined) return plain(fault.status, "no")
  return { status: 0, body: "", broken: fault.answer ?? "reset" }
}
