/**
 * What messages wait for, computed on request: from the same rows and rules that the device's actor uses, and from the
 * account's turn if its rate is shared.
 */
import { Effect, Option } from "effect"
import type { Device } from "../domain/Device.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId } from "../domain/Ids.ts"
import type { Message } from "../domain/Message.ts"
import type { SendingView } from "../domain/Explanation.ts"
import { formatPacing } from "../domain/Pacing.ts"
import type { Pacing } from "../domain/Pacing.ts"
import type { SendWait } from "../domain/Send.ts"
import type { DeviceRepository } from "./DeviceRepository.ts"
import { historyMillis, nextSendAt, restingChats, restore } from "./SendPacing.ts"
import type { Pace } from "./SendPacing.ts"
import type { SendRepository } from "./SendRepository.ts"
import { SendSettings } from "./SendSettings.ts"
import { accountOf, SharedPacing } from "./SharedPacing.ts"

/** Devices of one page whose pacing is read at once. */
const concurrency = 4

export interface SendWaits {
  /** Adds to waiting messages what they wait for. Returns them unchanged if the database does not answer. */
  readonly annotate: (messages: ReadonlyArray<Message>) => Effect.Effect<ReadonlyArray<Message>>
  readonly ofDevice: (device: Device) => Effect.Effect<SendingView, StorageUnavailable>
}

interface State {
  readonly device: Device
  readonly pace: Pace
  /** The earliest time with regard to the account's sends elsewhere. */
  readonly turn: number
  readonly now: number
  readonly waiting: number
}

export const make = Effect.fnUntraced(function*(
  devices: DeviceRepository["Service"],
  sends: SendRepository["Service"]
): Effect.fn.Return<SendWaits> {
  const settings = yield* SendSettings
  const shared = yield* Effect.serviceOption(SharedPacing)

  /** When the account's turn may come; a time in the past if nothing is shared. */
  const readTurn = (device: Device, pacing: Pacing, now: number) =>
    Option.isNone(shared)
      ? Effect.succeed(now)
      : Effect.map(shared.value.wait(accountOf(device), pacing), (wait) => now + wait)

  const readState = Effect.fnUntraced(function*(device: Device) {
    const pacing = device.pacing ?? settings.pacing
    const { createdAt, now, sent, waiting } = (yield* sends.pace(device.id, historyMillis(pacing))) ??
      { createdAt: 0, now: 0, sent: [], waiting: 0 }
    const turn = yield* readTurn(device, pacing, now)
    return { device, pace: restore(pacing, createdAt, sent, now), turn, now, waiting } satisfies State
  })

  const states = Effect.fnUntraced(function*(ids: ReadonlyArray<DeviceId>) {
    const read = yield* Effect.forEach(ids, (id) => Effect.flatMap(devices.get(id), readState), { concurrency })
    return new Map(read.map((state) => [state.device.id, state]))
  })

  return {
    annotate: Effect.fnUntraced(function*(messages) {
      const ids = new Set(messages.filter(isPending).map(({ deviceId }) => deviceId))
      const read = yield* Effect.orElseSucceed(states([...ids]), () => new Map<DeviceId, State>())
      return messages.map((message) => {
        const wait = findWait(message, read.get(message.deviceId))
        return wait === null || message.sending === undefined
          ? message
          : { ...message, sending: { ...message.sending, waitsFor: wait } }
      })
    }),
    ofDevice: Effect.fnUntraced(function*(device) {
      const state = yield* readState(device)
      return {
        pacing: formatPacing(state.pace.pacing),
        waiting: state.waiting,
        waitsFor: state.waiting === 0 ? null : waitOf(state)
      }
    })
  }
})

/** Messages that are being sent already have this information. */
const isPending = ({ direction, sending, status }: Message): boolean =>
  direction === "out" && status === "pending" && sending !== undefined && sending.waitsFor === undefined

const findWait = (message: Message, state: State | undefined): SendWait | null => {
  if (message.status === "scheduled") return { reason: "scheduled", until: message.sending?.scheduledAt ?? null }
  return state === undefined || !isPending(message) ? null : waitOf(state, message.chat)
}

const waitOf = ({ device, now, pace, turn }: State, chat?: string): SendWait | null => {
  if (device.state._tag !== "Online") return { reason: "device", until: null }
  const own = nextSendAt(pace, now)
  const wait = turn > (own?.until ?? now) ? { reason: "rate" as const, until: turn } : own
  const rested = chat === undefined ? undefined : restingChats(pace, now).get(chat)
  if (rested !== undefined && rested > (wait?.until ?? now)) return { reason: "recipient", until: iso(rested) }
  return wait === null ? null : { reason: wait.reason, until: iso(wait.until) }
}

const iso = (millis: number): string => new Date(Math.ceil(millis)).toISOString()
