/** The gateways of this installation. */
import { Effect, Schedule, Stream } from "effect"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import { client } from "../session.ts"

export const gatewaysAtom = client.atom(
  Stream.fromEffectSchedule(
    Effect.flatMap(ColumbaClient, ({ gateways }) => gateways.list()).pipe(Effect.timeout("5 seconds")),
    Schedule.spaced("10 seconds")
  )
)
