/** Dead letters, and the events they belong to. */
import { Effect } from "effect"
import { Atom } from "effect/reactivity"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import { Position } from "../../domain/Ids.ts"
import { client, mayAtom } from "../session.ts"

/** A broker delivers the requested messages one by one, and the server bounds each. */
export const deadLettersTimeout = "75 seconds"

const askEvery = "30 seconds"
const shown = 100

const list = (limit: number) =>
  Effect.flatMap(ColumbaClient, ({ deadLetters }) => deadLetters.list({ limit })).pipe(
    Effect.timeout(deadLettersTimeout)
  )

export const deadLettersAtom = client.atom(list(shown)).pipe(Atom.withRefresh(askEvery))

/** Reading a dead letter removes it from its queue for a moment, so their number is not read more often than this. */
const countEvery = "1 minute"

/** How many there are; none if the key may not see them. */
export const deadLetterCountAtom = client.atom((get) =>
  get(mayAtom).manageFleet ? Effect.map(list(1), ({ total }) => total) : Effect.succeed(0)
).pipe(Atom.withRefresh(countEvery))

/** The event with this number; null if the log no longer has it. */
export const eventAtom = Atom.family((seq: number) =>
  client.atom(
    Effect.flatMap(ColumbaClient, ({ events }) => events.page({ after: Position.make(String(seq - 1)), limit: 1 }))
      .pipe(
        Effect.map(({ items: [event] }) => event?.seq === seq ? event : null),
        Effect.catchTag("EventsExpired", () => Effect.succeed(null))
      )
  )
)
