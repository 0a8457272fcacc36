/** The processes that run devices. */
import { Effect } from "effect"
import { AsyncResult, Atom } from "effect/reactivity"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import type { Node } from "../../contracts/ServerPayloads.ts"
import { client, mayAtom } from "../session.ts"

const askEvery = "10 seconds"
const answerWithin = "5 seconds"

const none: { readonly items: ReadonlyArray<Node> } = { items: [] }

/** None if the key may not see them. */
export const nodesAtom = client.atom((get) =>
  get(mayAtom).readFleet
    ? Effect.flatMap(ColumbaClient, ({ server }) => server.nodes()).pipe(Effect.timeout(answerWithin))
    : Effect.succeed(none)
).pipe(Atom.withRefresh(askEvery))

/** The last known nodes, also while the server does not answer. */
export const knownNodesAtom = Atom.make((get) => {
  const listed = AsyncResult.value(get(nodesAtom))
  return listed._tag === "Some" ? listed.value.items : none.items
})
