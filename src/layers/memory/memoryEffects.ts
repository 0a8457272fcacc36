/** How the effects of a batch change the tables in memory, as the statements of the append function do. */
import type { Device } from "../../domain/Device.ts"
import type { Gap, Provable } from "../../domain/Gap.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { advance } from "../../domain/Message.ts"
import type { AckStatus } from "../../domain/Message.ts"
import type { EffectOf, EffectTag, LogEffect } from "../../services/LogEffect.ts"
import type { MemoryTables } from "./MemoryDatabase.ts"
import { applySend } from "./memorySends.ts"

/** The time at which a batch is recorded, and the clock, which may have been set back since an earlier batch. */
export interface Times {
  readonly recordedAt: string
  readonly now: number
}

type ApplyEffect<Tag extends EffectTag> = (tables: MemoryTables, effect: EffectOf<Tag>, times: Times) => void

/** How each effect is applied, one entry per tag. */
const effectHandlers: { readonly [Tag in EffectTag]: ApplyEffect<Tag> } = {
  Ack: (tables, { message, status }, { recordedAt }) => {
    const row = tables.statuses.get(message)
    const next = advance(row?.status ?? "sent", status as AckStatus)
    if (next !== (row?.status ?? "sent")) tables.statuses.set(message, { status: next, updatedAt: recordedAt })
  },
  State: (tables, effect, { recordedAt }) => {
    const id = effect.device as DeviceId
    const row = tables.devices.get(id)
    if (row === undefined) return
    // A device that is logged out has no account; every other state keeps the recorded account.
    const gone = effect.tag === "LoggedOut"
    const device: Device = {
      ...row.device,
      state: JSON.parse(effect.state) as Device["state"],
      jid: gone ? null : effect.jid ?? row.device.jid,
      phone: gone ? null : effect.phone ?? row.device.phone,
      updatedAt: recordedAt
    }
    tables.devices.set(id, { ...row, device, aliveUntil: null })
  },
  GapOpen: (tables, effect) => {
    const row = tables.gaps.get(effect.gap)
    const { cause, detail } = gapFrom(effect)
    if (row === undefined) tables.gaps.set(effect.gap, gapFrom(effect))
    else if (row.status === "open" && row.endedAt === null) tables.gaps.set(effect.gap, { ...row, cause, detail })
  },
  GapEnd: (tables, effect) => {
    const row = tables.gaps.get(effect.gap) ?? gapFrom(effect)
    if (row.status !== "open" || row.endedAt !== null) return
    tables.gaps.set(effect.gap, { ...row, endedAt: effect.endedAt })
  },
  GapClose: (tables, effect, { recordedAt }) => {
    const row = tables.gaps.get(effect.gap) ?? gapFrom(effect)
    if (row.status !== "open") return
    const { detail, endedAt, proven, recovered, status } = effect
    tables.gaps.set(effect.gap, {
      ...row,
      status: status as Gap["status"],
      endedAt,
      closedAt: recordedAt,
      proven: proven === "" ? [] : proven.split(",") as ReadonlyArray<Provable>,
      recovered,
      detail
    })
  },
  Watermark: (tables, { device, sweptAt, through }, { now }) => {
    const clock = new Date(now).toISOString()
    const before = tables.watermarks.get(device)
    const move = (from: string | null, to: string): string => {
      const bounded = to > clock ? clock : to
      return from === null || from > clock || from < bounded ? bounded : from
    }
    tables.watermarks.set(device, {
      through: move(before?.through ?? null, through),
      sweptAt: sweptAt === null ? before?.sweptAt ?? null : move(before?.sweptAt ?? null, sweptAt)
    })
  },
  Alive: (tables, { after, at, owner }) => {
    if ((tables.heartbeats.get(owner) ?? null) === after) tables.heartbeats.set(owner, at)
  },
  Send: (tables, effect, { recordedAt }) => applySend(tables.sends, effect, recordedAt)
}

const gapFrom = ({ cause, detail, device, gap, openedAt }: EffectOf<"GapOpen" | "GapEnd" | "GapClose">): Gap => ({
  id: gap as Gap["id"],
  deviceId: device as DeviceId,
  cause: cause as Gap["cause"],
  status: "open",
  openedAt,
  endedAt: null,
  closedAt: null,
  proven: [],
  recovered: 0,
  detail
})

export const applyEffect = (tables: MemoryTables, effect: LogEffect, times: Times): void => {
  switch (effect._tag) {
    case "Ack":
      return effectHandlers.Ack(tables, effect, times)
    case "State":
      return effectHandlers.State(tables, effect, times)
    case "GapOpen":
      return effectHandlers.GapOpen(tables, effect, times)
    case "GapEnd":
      return effectHandlers.GapEnd(tables, effect, times)
    case "GapClose":
      return effectHandlers.GapClose(tables, effect, times)
    case "Watermark":
      return effectHandlers.Watermark(tables, effect, times)
    case "Alive":
      return effectHandlers.Alive(tables, effect, times)
    case "Send":
      return effectHandlers.Send(tables, effect, times)
  }
}
