/**
 * The events of the gap ledger, and the effects that belong to no event. The code that decides about a device's gaps
 * makes them here and appends them under the device's fence.
 *
 * A gap outlives the erasure of a chat, so its detail must not name one: addresses are removed here, whatever text
 * they came from.
 */
import type { EventDraft } from "../domain/Event.ts"
import { gapDetailMax, statusOf } from "../domain/Gap.ts"
import type { GapClosedData, GapOpenedData } from "../domain/Gap.ts"
import type { DeviceId, Timestamp } from "../domain/Ids.ts"
import { makeEventId } from "./EventIdentity.ts"
import type { EffectOf } from "./LogEffect.ts"

/**
 * `now` is this process's clock in milliseconds: it sets the event's id and claimed time, and is compared with
 * nothing.
 */
export const gapOpened = (deviceId: DeviceId, data: GapOpenedData, now: number): EventDraft => ({
  ...draft(deviceId, now),
  kind: "gap.opened",
  data: { ...data, detail: gapDetail(data.detail) }
})

/** The status follows from what is proven. */
export const gapClosed = (deviceId: DeviceId, data: Omit<GapClosedData, "status">, now: number): EventDraft => {
  const { cause, detail, endedAt, gapId, openedAt, proven, recovered } = data
  const status = statusOf(proven)
  return {
    ...draft(deviceId, now),
    kind: "gap.closed",
    data: { gapId, cause, openedAt, endedAt, status, proven, recovered, detail: gapDetail(detail) }
  }
}

/** Reception resumed at `endedAt`, and the gap is not accounted for yet. */
export const gapEnded = (deviceId: DeviceId, gap: GapOpenedData, endedAt: Timestamp): EffectOf<"GapEnd"> => {
  const { cause, detail, gapId, openedAt } = gap
  return { _tag: "GapEnd", gap: gapId, device: deviceId, cause, openedAt, endedAt, detail: gapDetail(detail) }
}

/** The gap lasts, and more is known about its cause by now. */
export const gapRecaused = (deviceId: DeviceId, gap: GapOpenedData): EffectOf<"GapOpen"> => {
  const { cause, detail, gapId, openedAt } = gap
  return { _tag: "GapOpen", gap: gapId, device: deviceId, cause, openedAt, detail: gapDetail(detail) }
}

/** Reception is accounted for through this time; `sweptAt` is set after a wider sweep. */
export const watermark = (
  deviceId: DeviceId,
  through: Timestamp,
  sweptAt: Timestamp | null = null
): EffectOf<"Watermark"> => ({ _tag: "Watermark", device: deviceId, through, sweptAt })

/** An address (`62811@s.whatsapp.net`, `9911@lid`, `1-2@g.us`) or a phone number of nine digits and more. */
const address = /[^\s'"<>()[\]{},;]*@[^\s'"<>()[\]{},;]+|\+?\d{9,}/g

export const gapDetail = (text: string): string => {
  if (text === lastText) return lastDetail
  // Cut first: the time of the search grows with the square of the length.
  const hidden = text.slice(0, 2 * gapDetailMax).replace(address, "…")
  lastDetail = hidden.length <= gapDetailMax ? hidden : `${hidden.slice(0, gapDetailMax - 1)}…`
  lastText = text
  return lastDetail
}

/** The last text is cached, because a gateway's failure concerns all its devices at once. */
let lastText = ""
let lastDetail = ""

const draft = (deviceId: DeviceId, now: number) => ({
  id: makeEventId(now),
  deviceId,
  occurredAt: new Date(now).toISOString(),
  via: "columba" as const,
  identity: null,
  aliases: []
})
