/**
 * Two nodes and one without devices, in one process, on one Postgres: who runs a device, and how a call about it is routed
 * from any of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Layer, Redacted, Result, Scope, Stream } from "effect"
import * as ClusterFleet from "../../../src/actors/fleet/ClusterFleet.ts"
import type { DeviceId, GatewayName, UpstreamId } from "../../../src/domain/Ids.ts"
import * as ClusterSocket from "../../../src/layers/cluster/ClusterSocket.ts"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import * as SqlStorage from "../../../src/layers/postgres/SqlStorage.ts"
import { DeviceFleet } from "../../../src/services/DeviceFleet.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { GatewayDirectory } from "../../../src/services/GatewayDirectory.ts"
import type { GatewayRef } from "../../../src/services/GatewayDirectory.ts"
import type { SecretKey } from "../../../src/services/SecretSeal.ts"
import { ServerIdentity } from "../../../src/services/ServerIdentity.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice, messageDraft } from "../../support/drafts.ts"
import { ScriptedGateway } from "../../support/scriptedGateway.ts"
import { ScriptedLogin } from "../../support/scriptedLogin.ts"
import { freePort } from "../../support/servers/ServerHome.ts"
import { until } from "../../support/until.ts"

const lease = Duration.seconds(6)
const devices = 20
const secretKey = Redacted.make(new Uint8Array(32)) as SecretKey

interface Node {
  readonly name: string
  readonly gateway: ScriptedGateway
  readonly fleet: DeviceFleet["Service"]
  readonly repository: DeviceRepository["Service"]
  readonly stop: Effect.Effect<void>
}

const nodeOn = Effect.fnUntraced(function*(url: string, login: ScriptedLogin, asksOnly = false) {
  const gateway = new ScriptedGateway()
  gateway.login = login
  const directory = GatewayDirectory.of({
    current: () => Result.succeed("default 1" as GatewayRef),
    open: () => Effect.succeed(gateway),
    webhookSecret: () => Effect.succeed(null),
    refresh: Effect.void,
    changes: Stream.empty,
    brings: () => false,
    list: Effect.succeed([])
  })
  const port = yield* freePort
  const node = { host: "127.0.0.1", port, lease, keys: [secretKey] }
  const name = `127.0.0.1:${port}`
  const identity = { version: "0", node: name, startedAt: "now", roles: [], database: "", broker: null }
  const scope = yield* Scope.fork(yield* Effect.scope)
  const fleet = asksOnly
    ? ClusterFleet.layerClient.pipe(Layer.provide(ClusterSocket.layerClient(node)))
    : ClusterFleet.layer.pipe(
      Layer.provide(ClusterSocket.layer(node)),
      Layer.provide(ClusterFleet.layerHosts),
      Layer.provide(ClusterSocket.layerStorage(node))
    )
  const context = yield* Layer.buildWithScope(
    fleet.pipe(
      Layer.provideMerge(SqlStorage.layer),
      Layer.provide(Layer.succeed(GatewayDirectory, directory)),
      Layer.provide(Layer.succeed(ServerIdentity, ServerIdentity.of(identity))),
      Layer.provideMerge(PostgresDatabase.layer(Redacted.make(url))),
      Layer.fresh,
      Layer.orDie
    ),
    scope
  )
  return {
    name,
    gateway,
    fleet: Context.get(context, DeviceFleet),
    repository: Context.get(context, DeviceRepository),
    stop: Scope.close(scope, Exit.void)
  } satisfies Node
})

const addDevices = Effect.fnUntraced(function*({ repository }: Node) {
  const ids = Array.from({ length: devices }, () => freshDevice())
  for (const id of ids) {
    yield* repository.insert({
      id,
      name: "shop",
      gateway: "default" as GatewayName,
      upstreamId: id as string as UpstreamId
    })
  }
  return ids
})

/** Returns when each device has one session, at whichever node. */
const spread = (nodes: ReadonlyArray<Node>, ids: ReadonlyArray<DeviceId>) =>
  until(
    "each device runs on one node",
    Effect.sync(() => ids.every((id) => nodes.flatMap(({ gateway }) => gateway.live(id)).length === 1))
  )

const online = (fleet: DeviceFleet["Service"], id: DeviceId) =>
  until(
    "the device is online",
    Effect.map(Effect.orDie(fleet.view(id)), (view) => view?.state._tag === "Online")
  )

/** A device that this node runs. */
const heldBy = ({ gateway }: Node, ids: ReadonlyArray<DeviceId>): DeviceId =>
  ids.find((id) => gateway.live(id).length === 1)!

describe("a fleet of two nodes", () => {
  it.live("answers on each node, and on one that runs none, for a device of any", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const login = new ScriptedLogin()
      const one = yield* nodeOn(url, login)
      const two = yield* nodeOn(url, login)
      const asking = yield* nodeOn(url, login, true)
      const ids = yield* addDevices(one)
      yield* until(
        "both nodes run devices, and each device runs once",
        Effect.sync(() =>
          one.gateway.live().length > 0 && two.gateway.live().length > 0 &&
          ids.every((id) => one.gateway.live(id).length + two.gateway.live(id).length === 1)
        )
      )
      const id = heldBy(two, ids)
      for (const { fleet } of [one, two, asking]) {
        yield* online(fleet, id)
        assert.strictEqual((yield* fleet.view(id))?.node, two.name)
      }

      // The holder records the gateway's answer before the caller continues.
      const jid = "628117000001@s.whatsapp.net"
      assert.isTrue(yield* one.fleet.reportStatus(id, { isConnected: true, isLoggedIn: true, jid }))
      assert.strictEqual((yield* one.repository.get(id)).jid, jid)

      yield* one.fleet.receiveWebhook(id, [{ _tag: "Record", draft: messageDraft({ device: id }) }])
      yield* until(
        "the actor has heard it",
        Effect.map(Effect.orDie(asking.fleet.view(id)), (view) => view!.lastWebhookAt !== null)
      )

      yield* asking.fleet.loggedOut(id)
      assert.strictEqual((yield* one.repository.get(id)).state._tag, "LoggedOut")

      // A login starts where the device runs, and is followed, joined and cancelled from elsewhere.
      const first = yield* one.fleet.logins.begin(id, { method: "qr" })
      assert.strictEqual(first._tag, "Qr")
      const steps = yield* Effect.forkChild(Stream.runCollect(asking.fleet.logins.follow(id, { method: "qr" })))
      assert.strictEqual((yield* asking.fleet.logins.current(id))._tag, "Qr")
      const other = yield* Effect.flip(
        asking.fleet.logins.begin(id, { method: "code", phone: Redacted.make("628117000001") })
      )
      assert.strictEqual(other._tag, "LoginInProgress")
      assert.strictEqual((yield* one.fleet.logins.cancel(id))._tag, "Failed")
      assert.strictEqual((yield* Fiber.join(steps)).at(-1)?._tag, "Failed")
      assert.deepStrictEqual(login.begun, ["qr"])
    }).pipe(Effect.scoped))

  it.live("hands over the devices of a node that stops, and records their last state", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const login = new ScriptedLogin()
      const one = yield* nodeOn(url, login)
      const two = yield* nodeOn(url, login)
      const ids = yield* addDevices(one)
      yield* until(
        "both run devices",
        Effect.sync(() => one.gateway.live().length > 0 && two.gateway.live().length > 0)
      )
      yield* spread([one, two], ids)
      const id = heldBy(two, ids)
      yield* online(one.fleet, id)
      yield* two.stop
      assert.deepStrictEqual(two.gateway.live(), [])
      yield* spread([one], ids)
      yield* online(one.fleet, id)
      const recorded = (yield* one.repository.recorded([id], 20)).get(id)!
      assert.include(recorded.transitions.map(({ data }) => data.rule), "fleet-stopped")
    }).pipe(Effect.scoped))

  it.live("sends no caller to another process if the holder has no actor of the device", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const nodes = [yield* nodeOn(url, new ScriptedLogin()), yield* nodeOn(url, new ScriptedLogin(), true)]
      const id = freshDevice()
      for (const { fleet } of nodes) {
        const refused = yield* Effect.flip(fleet.logins.begin(id, { method: "qr" })).pipe(
          // No node has claimed its shards yet.
          Effect.repeat({ until: (error) => !("message" in error && error.message.includes("did not answer")) })
        )
        assert.strictEqual(refused._tag, "DeviceUnreachable")
        assert.include("message" in refused ? refused.message : "", "No node runs device")
      }
    }).pipe(Effect.scoped))

  it.live("reports that the holder cannot be reached", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const asking = yield* nodeOn(url, new ScriptedLogin(), true)
      const error = yield* Effect.flip(asking.fleet.view(freshDevice()))
      assert.strictEqual(error._tag, "DeviceUnreachable")
    }).pipe(Effect.scoped))
})
