/** Recurring sends and scheduled messages, of one device or of all that the key sees. */
import { Effect } from "effect"
import { Atom } from "effect/reactivity"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { client } from "../session.ts"
import { useAtomRefresh } from "../ui/atoms.ts"

/** Null: all devices. */
export type Of = DeviceId | null

const askEvery = "5 seconds"

/** The content of one page; the rest is available over the API and the command line. */
export const schedulesShown = 500
export const dueShown = 500

const of = (device: Of) => device === null ? {} : { device }

export const schedulesAtom = Atom.family((device: Of) =>
  client.atom(
    Effect.flatMap(ColumbaClient, ({ schedules }) => schedules.list({ ...of(device), limit: schedulesShown }))
  ).pipe(Atom.withRefresh(askEvery))
)

/** Messages whose time is in the future, the next first. */
export const dueAtom = Atom.family((device: Of) =>
  client.atom(
    Effect.flatMap(
      ColumbaClient,
      ({ messages }) => messages.list({ ...of(device), status: "scheduled", limit: dueShown })
    ).pipe(
      Effect.map(({ items, next }) => ({
        items: items.toSorted((one, other) => timeOf(one).localeCompare(timeOf(other))),
        more: next !== null
      }))
    )
  ).pipe(Atom.withRefresh(askEvery))
)

type Due = { readonly occurredAt: string; readonly sending?: { readonly scheduledAt: string | null } }

export const timeOf = ({ occurredAt, sending }: Due): string => sending?.scheduledAt ?? occurredAt

/** Reads both anew: a change of a recurring send changes the scheduled messages. */
export const useSchedulesRefresh = (device: Of): () => void => {
  const schedules = useAtomRefresh(schedulesAtom(device))
  const due = useAtomRefresh(dueAtom(device))
  return () => {
    schedules()
    due()
  }
}
