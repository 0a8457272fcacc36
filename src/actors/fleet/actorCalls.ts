/**
 * The calls of `DeviceFleet` that one actor of this process answers: queries about its connection, and inputs. They have no
 * effect for a device without an actor here.
 */
import { Duration, Effect } from "effect"
import type { DeviceId } from "../../domain/Ids.ts"
import type { ActorView, DeviceFleet } from "../../services/DeviceFleet.ts"
import * as DeviceActor from "../device/DeviceActor.ts"
import { receiveWebhook } from "../device/DeviceCell.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { push, refuseWebhook } from "../device/receptionGaps.ts"
import { recordHeld } from "../device/stateRecords.ts"

/** An actor with an open session acts at once; an actor that is being stopped never does. */
const reportMax = Duration.seconds(1)

type ActorCalls = Pick<
  DeviceFleet["Service"],
  "view" | "reportStatus" | "reportSilence" | "loggedOut" | "receiveWebhook" | "refused"
>

export const make = (cells: ReadonlyMap<DeviceId, DeviceCell>, node: string): ActorCalls => ({
  view: (id) => Effect.sync(() => view(cells.get(id), node)),
  reportStatus: Effect.fn("LocalFleet.reportStatus")(function*(id, status) {
    const cell = cells.get(id)
    if (cell === undefined || !cell.actorState.sessionOpen) return false
    cell.post({ _tag: "StatusRead", status })
    yield* Effect.timeoutOption(cell.awaitDrained(), reportMax)
    // The caller reads the recorded state.
    recordHeld(cell)
    return true
  }),
  reportSilence: Effect.fn("LocalFleet.reportSilence")(function*(id, detail) {
    const cell = cells.get(id)
    if (cell === undefined) return
    const input = yield* DeviceActor.confirmSilence(cell, detail)
    if (input === null) return
    cell.post(input)
    yield* Effect.timeoutOption(cell.awaitDrained(), reportMax)
  }),
  loggedOut: Effect.fnUntraced(function*(id) {
    const cell = cells.get(id)
    if (cell === undefined || !cell.actorState.sessionOpen) return
    cell.post({ _tag: "LoggedOut", reason: "an operator logged it out" })
    yield* Effect.timeoutOption(cell.awaitDrained(), reportMax)
  }),
  receiveWebhook: (id, events, repeats = []) =>
    Effect.sync(() => {
      const cell = cells.get(id)
      if (cell !== undefined) receiveWebhook(cell, events, repeats)
    }),
  refused: (id) =>
    Effect.sync(() => {
      const cell = cells.get(id)
      if (cell === undefined) return false
      cell.webhooksRefused++
      push(cell, refuseWebhook(cell))
      return true
    })
})

const view = (cell: DeviceCell | undefined, node: string): ActorView | null =>
  cell === undefined ? null : {
    node,
    incident: cell.host.incidents.view() ?? null,
    state: cell.actorState.state,
    attempts: cell.actorState.attempt,
    lastFrameAt: cell.lastFrameAt === 0 ? null : new Date(cell.lastFrameAt).toISOString(),
    lastWebhookAt: cell.lastWebhookAt === 0 ? null : new Date(cell.lastWebhookAt).toISOString(),
    lastFailure: cell.lastFailure,
    webhook: cell.webhook,
    framesReceived: cell.framesReceived,
    restarts: cell.restarts,
    paused: cell.paused
  }
