/** For tests of gateways: a target, and a listener whose events can be awaited. */
import { Deferred, Effect } from "effect"
import type { Failure } from "../../src/domain/DeviceState.ts"
import type { EventDraft } from "../../src/domain/Event.ts"
import type { DeviceId, UpstreamId } from "../../src/domain/Ids.ts"
import type { SessionEvent, SessionListener, SessionTarget } from "../../src/services/GatewayParts.ts"

export const makeTarget = (slot: string, jid: string | null = null): SessionTarget => ({
  deviceId: "dev_01K0000000000000000000TEST" as DeviceId,
  upstreamId: slot as UpstreamId,
  jid
})

export interface Recording extends SessionListener {
  readonly events: Array<SessionEvent>
  /** The drafts among them. */
  readonly drafts: () => ReadonlyArray<EventDraft>
  readonly ended: Effect.Effect<Failure>
  /** The number of calls of `onEnd`, and of events that came after the first. */
  readonly ends: () => number
  readonly late: () => number
  /** Succeeds once the condition holds. It is checked after every event. */
  readonly until: (condition: (recording: Recording) => boolean) => Effect.Effect<void>
}

export const record = (): Recording => {
  const ended = Deferred.makeUnsafe<Failure>()
  const waiting = new Set<() => void>()
  const events: Array<SessionEvent> = []
  let ends = 0
  let late = 0
  const recording: Recording = {
    events,
    drafts: () => events.flatMap((event) => event._tag === "Record" ? [event.draft] : []),
    ended: Deferred.await(ended),
    ends: () => ends,
    late: () => late,
    onEvent: (event) => {
      if (ends > 0) late++
      events.push(event)
      for (const look of waiting) look()
    },
    onEnd: (failure) => {
      ends++
      Deferred.doneUnsafe(ended, Effect.succeed(failure))
    },
    until: (condition) =>
      Effect.callback<void>((resume) => {
        const look = () => {
          if (!condition(recording)) return
          waiting.delete(look)
          resume(Effect.void)
        }
        waiting.add(look)
        look()
        return Effect.sync(() => waiting.delete(look))
      })
  }
  return recording
}
