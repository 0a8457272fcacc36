/**
 * The history of a scripted gateway: exactly the rows that a test has put there, in pages, with a record of every request.
 */
import { Clock, Effect } from "effect"
import type { Duration } from "effect"
import { GatewayUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { EventDraft } from "../../src/domain/Event.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { HistoryAbsent } from "../../src/services/GatewayParts.ts"
import type { History, HistoryWindow } from "../../src/services/GatewayParts.ts"
import { fromHistory } from "./drafts.ts"

export interface HistoryRequest {
  readonly at: number
  readonly deviceId: DeviceId
  readonly window: HistoryWindow
  readonly page: string | null
}

export class ScriptedHistory implements History {
  covers: History["covers"] = new Set(["messages", "other-messages", "acks"])
  readonly requests: Array<HistoryRequest> = []
  absent: "gateway" | "slot" = "gateway"
  mode: "answer" | "fail" | "absent" | "hang" = "answer"
  pageSize = 100
  /** Readings fail when they come to this row. */
  failsAt = Number.POSITIVE_INFINITY
  /** The time until an answer. */
  answersAfter: Duration.Input = 0
  readonly #rows = new Map<DeviceId, Array<EventDraft>>()

  /** The gateway stores the messages that it has received, whether or not a session delivers them. */
  keep(...drafts: ReadonlyArray<EventDraft>): void {
    for (const draft of drafts) {
      const rows = this.#rows.get(draft.deviceId) ?? []
      this.#rows.set(draft.deviceId, rows)
      rows.push(draft)
    }
  }

  readonly read: History["read"] = (target, window, page) =>
    Effect.gen({ self: this }, function*() {
      this.requests.push({ at: yield* Clock.currentTimeMillis, deviceId: target.deviceId, window, page })
      if (this.mode === "hang") return yield* Effect.never
      if (this.mode === "fail") return yield* GatewayUnavailable.of("default", "read a history", "down by the script")
      if (this.mode === "absent") return yield* HistoryAbsent.of("default", this.absent)
      yield* Effect.sleep(this.answersAfter)
      const { from, to } = window
      const rows = (this.#rows.get(target.deviceId) ?? []).filter(({ occurredAt }) =>
        Date.parse(occurredAt) >= Date.parse(from) && Date.parse(occurredAt) <= Date.parse(to)
      )
      const start = Number(page ?? 0)
      if (start >= this.failsAt) return yield* GatewayUnavailable.of("default", "read a history", "down by the script")
      const end = start + this.pageSize
      return {
        drafts: rows.slice(start, end).map(fromHistory),
        next: rows.length > end ? String(end) : null
      }
    })
}
