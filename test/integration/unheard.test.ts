/**
 * The ledger of gaps names all events that the gateway emitted and the log lacks: over real sockets, real webhooks and
 * Postgres, while sockets fall, die silently or go deaf, the log refuses to accept more, and the process is killed. Afterwards
 * no message is missing that the gateway's history keeps.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import type { Gap } from "../../src/domain/Gap.ts"
import type { GatewayName, UpstreamId } from "../../src/domain/Ids.ts"
import * as BridgeGateway from "../../src/layers/gateways/bridge/BridgeGateway.ts"
import * as GowaGateway from "../../src/layers/gateways/gowa/GowaGateway.ts"
import * as WahaGateway from "../../src/layers/gateways/waha/WahaGateway.ts"
import { PingWheel } from "../../src/layers/gateways/PingWheel.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { GapRepository } from "../../src/services/GapRepository.ts"
import type { FleetSettings } from "../../src/services/FleetSettings.ts"
import { PublicAddress } from "../../src/services/PublicAddress.ts"
import { asGowa } from "../../src/simulator/gowa/GowaServer.ts"
import { type Seeded, seeded } from "../../src/simulator/Seeded.ts"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import { upstreamKey } from "../support/upstream.ts"
import { deviceId } from "../support/fleetBench.ts"
import { checkGaps } from "../support/GapChecker.ts"
import { toCommitted, toEmitted } from "../support/Ledger.ts"
import { live, logged } from "../support/receptionBench.ts"
import { layerFreshPostgres } from "../support/storage.ts"
import { until } from "../support/until.ts"
import * as WebhookIngress from "../support/webhookIngress.ts"
import { webhookSecrets } from "../support/webhookIngress.ts"

const devices = 6

/** As in a fleet, and some thirty times as fast. */
const settings: Partial<FleetSettings> = {
  tick: Duration.millis(100),
  historyInterval: Duration.seconds(3),
  historyRequestsPerSecond: 200,
  lookMin: Duration.millis(400),
  deafGrace: Duration.seconds(1),
  deafArrival: Duration.millis(500),
  webhookTries: Duration.millis(3500),
  statusIntervalUnannounced: Duration.millis(500),
  clockSkew: Duration.zero
}

/** Another one may be tried by `COLUMBA_TEST_SEED`. */
const seeds = process.env["COLUMBA_TEST_SEED"] === undefined ? ["one"] : [process.env["COLUMBA_TEST_SEED"]]

const withSockets = ["drop", "reset", "half-open", "half-open", "mute", "mute", "full", "kill", "kill"] as const

/** GOWA's one link carries no events, and it retries its posts for a while. */
const withWebhooks = ["drop", "mute", "mute", "full", "full", "kill", "kill"] as const

type Fault = typeof withSockets[number] | typeof withWebhooks[number]

const shuffle = (random: Seeded, faults: ReadonlyArray<Fault>) => {
  const left = [...faults]
  return faults.map(() => left.splice(Math.floor(random.next() * left.length), 1)[0]!)
}

const makers = { bridge: BridgeGateway.make, waha: WahaGateway.make, gowa: GowaGateway.make }
type Dialect = keyof typeof makers
const dialects = Object.keys(makers) as ReadonlyArray<Dialect>

/** GOWA retries for three seconds instead of thirty. */
const gowaOptions = { pace: 0, webhookPace: 0.1 }

const run = Effect.fnUntraced(function*(seed: string, dialect: Dialect) {
  const random = seeded(`${seed}/unheard`)
  const { core, url } = yield* Effect.orDie(SimulatedGateway.start({ seed, dialect, gowa: gowaOptions }))
  const ingress = yield* WebhookIngress.start
  const gateway = yield* makers[dialect]({
    name: "default" as GatewayName,
    url,
    wheel: new PingWheel({ turn: 500, slots: 5, missesMax: 2 })
  })
  const log = yield* EventLog
  const ledger = yield* GapRepository
  const repository = yield* DeviceRepository
  const upstreamOf = new Map<string, string>()
  for (let n = 1; n <= devices; n++) {
    const [id, upstreamId] = [deviceId(n), `slot-${n}` as UpstreamId]
    upstreamOf.set(id, upstreamId)
    core.addDevice(upstreamId)
    yield* Effect.orDie(repository.insert({ id, name: upstreamId, gateway: gateway.name, upstreamId }))
  }
  const begin = live(gateway, settings, log.flush).pipe(
    Effect.tap((life) => ingress.serve(life, gateway)),
    Effect.provideService(PublicAddress, dialect === "gowa" ? ingress.url : null),
    Effect.provide(webhookSecrets)
  )
  let life = yield* begin
  const isPosted = () =>
    dialect !== "gowa" ||
    [...core.devices.values()].every((device) => asGowa(core).slotOf(device).webhook.webhook_url !== "")
  const online = until(
    "every device is online",
    Effect.suspend(() => Effect.map(life.fleet.counts, ({ Online }) => Online === devices && isPosted()))
  )
  yield* online
  core.emit({ rate: 60 })
  const some = () => [...core.devices.keys()].filter(() => random.chance(0.5))
  const wait = (millis: number) => {
    const begun = core.ledger.count
    return until("events were emitted", Effect.sync(() => core.ledger.count >= begun + millis * 60 / 1000))
  }
  for (const fault of shuffle(random, dialect === "gowa" ? withWebhooks : withSockets)) {
    switch (fault) {
      case "drop":
        core.applyFault({ kind: "drop", devices: some() })
        break
      case "reset":
        core.applyFault({ kind: "drop", reset: true, devices: some() })
        break
      case "half-open":
        core.applyFault({ kind: "half-open", devices: some(), forMillis: 3000 })
        break
      case "mute":
        // Deafness is proven by a message that is missed after reception was proven: it begins while all receive.
        yield* online
        yield* wait(1500)
        core.applyFault({ kind: "mute", devices: some(), forMillis: 2500 })
        yield* wait(2700)
        break
      case "full":
        life.setFull(true)
        yield* wait(random.between(300, 3000))
        if (random.chance(0.5)) core.applyFault({ kind: "drop", devices: some() })
        life.setFull(false)
        break
      case "kill":
        yield* life.kill
        yield* ingress.serve(null, gateway)
        yield* wait(random.between(100, 1500))
        life = yield* begin
    }
    yield* wait(random.between(300, 2500))
  }
  core.emitter.stop()
  core.clearFaults()
  const open = Effect.map(Effect.orDie(ledger.countOpen), (counts) => Object.keys(counts).length)
  yield* until(
    "all is online and accounted for",
    Effect.gen(function*() {
      return (yield* life.fleet.counts).Online === devices && (yield* open) === 0
    }),
    "60 seconds"
  )
  // One more regular reading of each: events lost shortly before the end are found by then.
  const swept = Date.now() + 5000
  yield* until(
    "each history was read once more",
    Effect.gen(function*() {
      const marks = yield* Effect.orDie(ledger.watermarks([...upstreamOf.keys()] as never))
      return [...marks.values()].every(({ through }) => Date.parse(through ?? "") > swept) && (yield* open) === 0
    }),
    "60 seconds"
  )
  yield* life.stop
  const gaps: Array<Gap> = []
  let cursor: string | undefined
  do {
    const page = yield* Effect.orDie(ledger.page({ limit: 1000, cursor }))
    gaps.push(...page.items)
    cursor = page.next ?? undefined
  } while (cursor !== undefined)
  const committed = (yield* logged()).map((event) => toCommitted({ ...event, device_id: event.deviceId }))
  const emitted = core.ledger.entries().map(toEmitted)
  const known = new Set(committed.map((row) => upstreamKey(row, upstreamOf)))
  const unread = [...core.devices.values()].flatMap((device) =>
    device.history.filter((row) => dialect !== "gowa" || row.content !== "" || row.media_type !== "")
      .map(({ id }) => `${device.id} message ${id}`).filter((key) => !known.has(key))
  )
  return { ...checkGaps({ committed, emitted, gaps, upstreamOf }), emitted, unread, gaps }
})

describe("each event that was not received", () => {
  for (const [seed, dialect] of seeds.flatMap((seed) => dialects.map((dialect) => [seed, dialect] as const))) {
    it.live(`is named by the ledger of gaps, and read from the history if ${dialect} has it (seed ${seed})`, () =>
      Effect.gen(function*() {
        const context = yield* Layer.build(layerFreshPostgres)
        const found = yield* run(seed, dialect).pipe(Effect.provideContext(context))
        const causes = Object.entries(Object.groupBy(found.gaps, ({ cause }) => cause))
          .map(([cause, gaps]) => `${cause} ${gaps!.length}`).join(", ")
        console.log(
          `${dialect}, seed ${seed}: ${found.emitted.length} emitted, ${found.recovered} read back, ${found.missing} missing; ${causes}`
        )
        assert.deepStrictEqual(found.unread, [], "kept by the gateway, and not in the log")
        assert.deepStrictEqual(found.unnamed, [], "missing, and in no gap")
        assert.deepStrictEqual(found.untrue, [], "a message that is missing, and its gap says that all are there")
        assert.isAbove(found.recovered, 0)
      }))
  }
})
