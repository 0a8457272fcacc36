/**
 * Searches for messages in doubt: in the log, where an echo of the gateway may have arrived, and in the gateway's history.
 * A message that is found was sent. A message that a complete history lacks, long enough after, was not sent: it fails, or
 * is sent again if the request asked for that. All others stay in doubt, and are searched for during a day.
 */
import { Cause, Duration, Effect, Metric } from "effect"
import type { Scope } from "effect"
import type { EventDraft } from "../../domain/Event.ts"
import type { MessageData } from "../../domain/EventData.ts"
import type { DeviceId, MessageId } from "../../domain/Ids.ts"
import type { EventLog } from "../../services/EventLog.ts"
import * as Metrics from "../../services/Metrics.ts"
import { sentAs } from "../../services/sendDrafts.ts"
import type { SendOutcome } from "../../services/sendDrafts.ts"
import type { SendRepository, StoredSend } from "../../services/SendRepository.ts"
import type { SendSettings } from "../../services/SendSettings.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { clusters, isProvable, matchSent } from "./matchSent.ts"
import type { Doubt, Found } from "./matchSent.ts"

/** How often due searches are checked. */
const tick = Duration.seconds(2)

/** The interval after the last of the planned searches. */
const laterMillis = 10 * 60_000

/** The number of the device's newest messages in the log that are searched. An older echo is not found there. */
const latestMax = 1000

/** A window of some minutes has a few pages. One with more pages proves nothing. */
const pagesMax = 50

export interface SendDoubtsParts {
  readonly cells: ReadonlyMap<DeviceId, DeviceCell>
  readonly sends: SendRepository["Service"]
  readonly log: EventLog["Service"]
  readonly settings: SendSettings
  readonly isActive: () => boolean
  readonly resolved: (send: StoredSend, outcome: SendOutcome, sender: string) => Effect.Effect<void>
  /** A message of the device is to be sent again. */
  readonly again: (id: DeviceId) => void
}

interface Dated {
  readonly send: StoredSend
  readonly age: number
}

const notInHistory: SendOutcome = {
  state: "failed",
  waId: null,
  reason: "not-in-history",
  detail: "no answer came, and the gateway's history does not have it"
}

export const make = Effect.fnUntraced(function*(
  { again, cells, isActive, log, resolved, sends, settings }: SendDoubtsParts
): Effect.fn.Return<void, never, Scope.Scope> {
  const looks = settings.looks.map((look) => Duration.toMillis(look))
  const proofAge = looks.at(-1) ?? 0
  /** The age at which the next search is due. */
  const nextLook = new Map<MessageId, number>()

  const planAfter = (age: number): number => looks.find((look) => look > age) ?? age + laterMillis

  const isDue = ({ age, send }: Dated): boolean => age >= (nextLook.get(send.id) ?? looks[0] ?? 0)

  const toDoubt = ({ send }: Dated): Doubt => {
    const claimedAt = Date.parse(send.claimedAt ?? send.updatedAt)
    return {
      id: send.id,
      chat: send.chat,
      content: send.body.content,
      from: claimedAt - Duration.toMillis(settings.matchBefore),
      to: claimedAt + Duration.toMillis(settings.matchAfter)
    }
  }

  const readLog = (device: DeviceId) =>
    Effect.map(
      log.latest({ device, kinds: ["message.sent"], limit: latestMax }),
      (events) => events.map(({ data, occurredAt }) => toFound(JSON.parse(data) as MessageData, occurredAt))
    )

  /** The sent messages of the history in that time; null if they cannot be read completely. */
  const readHistory = Effect.fnUntraced(function*(cell: DeviceCell, from: number, to: number) {
    const { gateway: { history }, historyPace } = cell.host
    if (history === undefined || !history.covers.has("messages")) return null
    const target = { deviceId: cell.device.id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
    const window = { from: new Date(from).toISOString(), to: new Date(to).toISOString() }
    const found: Array<Found> = []
    let page: string | null = null
    for (let pages = 0; pages < pagesMax; pages++) {
      yield* historyPace
      const read: { readonly drafts: ReadonlyArray<EventDraft>; readonly next: string | null } = yield* history.read(
        target,
        window,
        page
      )
      for (const draft of read.drafts) {
        if (draft.kind === "message.sent") found.push(toFound(draft.data, draft.occurredAt))
      }
      if (read.next === null) return { found, complete: true }
      page = read.next
    }
    return { found, complete: false }
  }, Effect.catch(() => Effect.succeed(null)))

  const lookFor = Effect.fnUntraced(function*(cell: DeviceCell, dated: ReadonlyArray<Dated>) {
    const doubts = dated.map(toDoubt)
    const from = Math.min(...doubts.map((doubt) => doubt.from))
    const to = Math.max(...doubts.map((doubt) => doubt.to))
    const history = yield* readHistory(cell, from, to)
    const found = new Map([...yield* readLog(cell.device.id), ...history?.found ?? []].map((one) => [one.waId, one]))
    const linked = yield* sends.linked(cell.device.id, [...found.keys()])
    const matches = matchSent(doubts, [...found.values()].filter(({ waId }) => !linked.has(waId)))
    for (const { age, send } of dated) {
      const waId = matches.get(send.id)
      nextLook.set(send.id, planAfter(age))
      if (waId !== undefined) {
        yield* settle("found")
        yield* resolved(send, sentAs(waId), cell.actorState.jid ?? send.sender)
      } else if (history?.complete === true && age >= proofAge && isProvable(send.body.content)) {
        yield* settle("absent")
        if (send.onUnknown === "retry") {
          yield* sends.retry(send.id)
          again(send.deviceId)
        } else yield* resolved(send, notInHistory, send.sender)
      } else continue
      nextLook.delete(send.id)
    }
  })

  const settle = (outcome: "found" | "absent") =>
    Metric.update(Metric.withAttributes(Metrics.sendDoubtsSettled, { outcome }), 1)

  const look = Effect.gen(function*() {
    const all = yield* sends.doubtful
    const known = new Set(all.map(({ send }) => send.id))
    for (const id of nextLook.keys()) if (!known.has(id)) nextLook.delete(id)
    const byDevice = new Map<DeviceId, Array<Dated>>()
    for (const dated of all) {
      const { deviceId } = dated.send
      byDevice.set(deviceId, [...byDevice.get(deviceId) ?? [], dated])
    }
    for (const [device, dated] of byDevice) {
      const cell = cells.get(device)
      if (cell === undefined) continue
      for (const together of clusters(dated, (one) => toDoubt(one))) {
        if (together.some(isDue)) yield* lookFor(cell, together)
      }
    }
  }).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.logDebug("messages in doubt could not be searched for; tried again", cause)
    )
  )

  yield* Effect.forkScoped(
    Effect.forever(Effect.andThen(Effect.sleep(tick), Effect.suspend(() => isActive() ? look : Effect.void)))
  )
})

const toFound = ({ body, chat, type, waId }: MessageData, occurredAt: string): Found => ({
  waId,
  chat,
  type,
  body,
  at: Date.parse(occurredAt)
})
