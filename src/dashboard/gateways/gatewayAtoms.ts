/** The gateways of this installation. */
import { Effect } from "effect"
import { Atom } from "effect/reactivity"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import { client } from "../session.ts"

export const gatewaysAtom = client.atom(
  Effect.flatMap(ColumbaClient, ({ gateways }) => gateways.list()).pipe(Effect.timeout("5 seconds"))
).pipe(Atom.withRefresh("10 seconds"))
