/** Dead letters, and the events behind them. */
import { Effect } from "effect"
import { Atom } from "effect/reactivity"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import { Position } from "../../domain/Ids.ts"
import { client, mayAtom } from "../session.ts"

/** A broker hands out the messages that it is asked for one by one, and each has a bound of its own at the server. */
export const deadLettersTimeout = "75 seconds"

const askEvery = "30 seconds"
const shown = 100

const list = (limit: number) =>
  Effect.flatMap(ColumbaClient, ({ deadLetters }) => deadLetters.list({ limit })).pipe(
    Effect.timeout(deadLettersTimeout)
  )

export const deadLettersAtom = client.atom(list(shown)).pipe(Atom.withRefresh(askEvery))

/** To look at one takes it from its queue for a moment, so whether there are any is not asked more often than this. */
const countEvery = "1 minute"

/** How many there are; none where the key may not know. */
export const deadLetterCountAtom = client.atom((get) =>
  get(mayAtom).manageFleet ? Effect.map(list(1), ({ total }) => total) : Effect.succeed(0)
).pipe(Atom.withRefresh(countEvery))

/** The event with this number; null where the log does not have it any more. */
export const eventAtom = Atom.family((seq: number) =>
  client.atom(
    Effect.flatMap(ColumbaClient, ({ events }) => events.page({ after: Position.make(String(seq - 1)), limit: 1 }))
      .pipe(
        Effect.map(({ items: [event] }) => event?.seq === seq ? event : null),
        Effect.catchTag("EventsExpired", () => Effect.succeed(null))
      )
  )
)
