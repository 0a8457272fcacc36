/** The part of the log that a device's page shows: the newest transitions and the newest events. Pure. */
import type { ReadableEvent } from "../../domain/Event.ts"

export type Transition = Extract<ReadableEvent, { kind: "device.state" }>

export interface DeviceLogView {
  /** The newest first. */
  readonly events: ReadonlyArray<ReadableEvent>
  /** The newest first, without those that change nothing visible. */
  readonly transitions: ReadonlyArray<Transition>
  /** Counters that rise with every event that other parts of the page show as well. */
  readonly changes: { readonly messages: number; readonly gaps: number; readonly states: number }
}

const eventsKept = 200
const transitionsKept = 100

export const noEvents: DeviceLogView = { events: [], transitions: [], changes: { messages: 0, gaps: 0, states: 0 } }

const isTransition = (event: ReadableEvent): event is Transition => event.kind === "device.state"

const countOf = (events: ReadonlyArray<ReadableEvent>, prefix: string): number =>
  events.reduce((sum, { kind }) => kind.startsWith(prefix) ? sum + 1 : sum, 0)

/** Events in the order of the log. One that is present already, because a stream began anew, is not added again. */
export const addEvents = (view: DeviceLogView, added: ReadonlyArray<ReadableEvent>): DeviceLogView => {
  const last = view.events[0]?.seq ?? 0
  const fresh = added.filter(({ seq }) => seq > last).toReversed()
  if (fresh.length === 0) return view
  const { gaps, messages, states } = view.changes
  return {
    events: [...fresh, ...view.events].slice(0, eventsKept),
    transitions: [...fresh.filter(isTransition), ...view.transitions].slice(0, transitionsKept),
    changes: {
      messages: messages + countOf(fresh, "message."),
      gaps: gaps + countOf(fresh, "gap."),
      states: states + countOf(fresh, "device.")
    }
  }
}

/** One line of an event for people. */
export const describeEvent = (event: ReadableEvent): string => {
  switch (event.kind) {
    case "message.received":
    case "message.sent": {
      const { body, chat, media, type } = event.data
      return `${chat} · ${body ?? media?.caption ?? media?.fileName ?? type}`
    }
    case "message.ack":
      return `${event.data.chat} · ${event.data.status}`
    case "message.status":
      return `${event.data.chat} · ${event.data.status}${event.data.detail === null ? "" : `: ${event.data.detail}`}`
    case "message.reaction":
    case "message.edited":
    case "message.revoked":
      return `${event.data.chat} · ${event.data.body ?? ""}`
    case "device.state":
      return `${event.data.from} → ${event.data.state._tag} by '${event.data.rule}'`
    case "device.login":
      return `${event.data.method} · ${event.data.outcome}`
    case "gap.opened":
      return `${event.data.cause} · ${event.data.detail}`
    case "gap.closed":
      return `${event.data.cause} · ${event.data.status}, ${event.data.recovered} recovered`
    case "audit.changed":
      return `${event.data.by} · ${event.data.operation}`
    case "frame.rejected":
      return `${event.data.reason} · ${event.data.detail}`
    default:
      return ""
  }
}
