/** The keys that are rows, and who has changed what. */
import { Data, Effect } from "effect"
import { AsyncResult, Atom } from "effect/reactivity"
import type { FleetView } from "../../client/FleetModel.ts"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import type { ReadableEvent } from "../../domain/Event.ts"
import { fleetDevice } from "../../domain/Ids.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { deviceLogAtom } from "../device/deviceAtoms.ts"
import { client } from "../session.ts"

const askEvery = "10 seconds"
const answerWithin = "5 seconds"

export const keysAtom = client.atom(
  Effect.flatMap(ColumbaClient, ({ keys }) => keys.list()).pipe(Effect.timeout(answerWithin))
).pipe(Atom.withRefresh(askEvery))

export type Change = Extract<ReadableEvent, { kind: "audit.changed" }>

const isChange = (event: ReadableEvent): event is Change => event.kind === "audit.changed"

/**
 * The newest first, as many as a page keeps of a device: the log records fleet-wide changes under a device id that no
 * device has.
 */
export const trailAtom = Atom.mapResult(
  deviceLogAtom(fleetDevice),
  ({ events }): ReadonlyArray<Change> => events.filter(isChange)
)

export class DeviceUnclear extends Data.TaggedError("DeviceUnclear")<{ readonly message: string }> {}

/** The devices named in the lines, each by its id or its name. */
export const findDevices = (
  view: AsyncResult.AsyncResult<FleetView, unknown>,
  text: string
): Effect.Effect<ReadonlyArray<DeviceId>, DeviceUnclear> => {
  const rows = AsyncResult.isSuccess(view) ? view.value.rows : []
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "")
  return Effect.map(
    Effect.forEach([...new Set(lines)], (line) => {
      const found = rows.filter(({ id, name }) => id === line || name === line)
      return found[0] !== undefined && found.length === 1
        ? Effect.succeed(found[0].id)
        : Effect.fail(
          new DeviceUnclear({
            message: found.length === 0
              ? `No device '${line}'.`
              : `${found.length} devices are named '${line}': use the id.`
          })
        )
    }),
    (ids) => [...new Set(ids)]
  )
}
