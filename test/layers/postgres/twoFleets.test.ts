/**
 * Two fleets on one Postgres, as if the lease had failed: the database itself decides which of them may record a device's
 * state.
 */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Option, Redacted, Result, Stream } from "effect"
import * as LocalFleet from "../../../src/actors/fleet/LocalFleet.ts"
import type { GatewayName, UpstreamId } from "../../../src/domain/Ids.ts"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import * as SqlStorage from "../../../src/layers/postgres/SqlStorage.ts"
import { DeviceFleet } from "../../../src/services/DeviceFleet.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { GatewayDirectory } from "../../../src/services/GatewayDirectory.ts"
import type { GatewayRef } from "../../../src/services/GatewayDirectory.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice } from "../../support/drafts.ts"
import { ScriptedGateway } from "../../support/scriptedGateway.ts"

interface Recorded {
  readonly rule: string
  readonly steps?: ReadonlyArray<{ readonly rule: string }>
}

const listRules = ({ rule, steps = [] }: Recorded) => [...steps.map((step) => step.rule), rule]

/** A process: its own connections, log and fleet, and the gateway's side of its sessions. */
const processOn = Effect.fnUntraced(function*(url: string) {
  const gateway = new ScriptedGateway()
  const directory = GatewayDirectory.of({
    current: () => Result.succeed("default 1" as GatewayRef),
    open: () => Effect.succeed(gateway),
    webhookSecret: () => Effect.succeed(null),
    refresh: Effect.void,
    changes: Stream.empty,
    brings: () => false,
    list: Effect.succeed([])
  })
  const context = yield* Layer.build(
    LocalFleet.layer.pipe(
      Layer.provideMerge(SqlStorage.layer),
      Layer.provide(Layer.succeed(GatewayDirectory, directory)),
      Layer.provideMerge(PostgresDatabase.layer(Redacted.make(url))),
      Layer.fresh,
      Layer.orDie
    )
  )
  return {
    gateway,
    fleet: Context.get(context, DeviceFleet),
    log: Context.get(context, EventLog),
    devices: Context.get(context, DeviceRepository)
  }
})

it.live("the fleet that claimed last records; the other one's transition is refused, and its actor stops", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const first = yield* processOn(url)
    const id = freshDevice()
    yield* first.devices.insert({
      id,
      name: "shop",
      gateway: "default" as GatewayName,
      upstreamId: id as string as UpstreamId
    })
    /** The recorded rules of the device, including steps, read from the log until this one has come this often. */
    const readUntil = (last: string, times: number) =>
      first.log.follow({ after: 0, device: id, kinds: ["device.state"] }).pipe(
        Stream.flatMap(({ events }) => Stream.fromIterable(events)),
        Stream.flatMap(({ data }) => Stream.fromIterable(listRules(JSON.parse(data) as Recorded))),
        Stream.scan((): ReadonlyArray<string> => [], (rules, rule) => [...rules, rule]),
        Stream.takeUntil((rules) => rules.filter((rule) => rule === last).length === times),
        Stream.runLast,
        Effect.map(Option.getOrThrow)
      )
    yield* readUntil("status-usable", 1)
    const second = yield* processOn(url)
    yield* second.fleet.reconcile
    const closed = first.gateway.untilClosed(id)
    first.gateway.live(id)[0]!.say({ _tag: "UpstreamDisconnected", reason: null })
    yield* closed
    // The second one's decision is recorded, and the first one's is not.
    const rules = yield* readUntil("status-usable", 2)
    assert.notInclude(rules, "upstream-disconnected")
    assert.strictEqual(rules.filter((rule) => rule === "started").length, 2)
  }).pipe(Effect.scoped))
