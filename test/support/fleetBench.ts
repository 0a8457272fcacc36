/**
 * The real local fleet on a scripted gateway, a scripted `devices` table and a log that only records: what tests of
 * supervision need, without I/O.
 */
import { Clock, Context, Duration, Effect, Layer, PubSub, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as LocalFleet from "../../src/actors/fleet/LocalFleet.ts"
import type { DesiredDevice, Device } from "../../src/domain/Device.ts"
import { GatewayUnknown } from "../../src/domain/DeviceErrors.ts"
import type { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { DeviceState } from "../../src/domain/DeviceState.ts"
import type { EventDraft } from "../../src/domain/Event.ts"
import type { DeviceStateData } from "../../src/domain/EventData.ts"
import type { DeviceId, GatewayName, UpstreamId } from "../../src/domain/Ids.ts"
import { DeviceFleet } from "../../src/services/DeviceFleet.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import type { DeviceClaim } from "../../src/services/DeviceRepository.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { FleetSettings } from "../../src/services/FleetSettings.ts"
import { GapRepository } from "../../src/services/GapRepository.ts"
import { GatewayDirectory } from "../../src/services/GatewayDirectory.ts"
import type { GatewayAbsent, GatewayRef } from "../../src/services/GatewayDirectory.ts"
import { ScriptedGateway } from "./scriptedGateway.ts"

/** Where `TestClock` begins. */
const start = "1970-01-01T00:00:00.000Z"

export const deviceId = (n: number): DeviceId => `dev_${String(n).padStart(26, "0")}` as DeviceId

export const device = (n: number, change: Partial<DesiredDevice> = {}): DesiredDevice => ({
  id: deviceId(n),
  gateway: "default" as GatewayName,
  upstreamId: `slot-${n}` as UpstreamId,
  jid: `62811${String(n).padStart(6, "0")}@s.whatsapp.net`,
  active: true,
  pacing: null,
  reconnectRequests: 0,
  releaseRequests: 0,
  ...change
})

export type Recorded = DeviceStateData & { readonly deviceId: DeviceId }

export class FleetBench extends Context.Service<FleetBench, {
  readonly gateway: ScriptedGateway
  readonly fleet: DeviceFleet["Service"]
  readonly drafts: ReadonlyArray<EventDraft>
  readonly transitions: (id?: DeviceId) => ReadonlyArray<Recorded>
  readonly readState: (id: DeviceId) => DeviceState["_tag"]
  /** Writes desired state and lets the fleet see it. */
  readonly want: (devices: ReadonlyArray<DesiredDevice>) => Effect.Effect<void>
  /** A notification that this device's row has changed; null: any row may have. */
  readonly announce: (id: DeviceId | null) => Effect.Effect<void>
  /** The row of a device as another process has changed it, without a notification to this fleet. */
  readonly setShown: (id: DeviceId, state: DeviceState["_tag"]) => void
  /** The gateway's row gets another revision, or the gateway can no longer be used. */
  readonly setGateway: (row: Result.Result<number, GatewayAbsent>) => Effect.Effect<void>
  /** While full, `offer` reports it; emptying it wakes all waiting callers. */
  readonly setFull: (full: boolean) => void
}>()("test/support/FleetBench") {}

/** Lets every fiber run as far as it can without the clock moving. */
export const settle = Effect.gen(function*() {
  for (let round = 0; round < 12; round++) yield* Effect.yieldNow
})

/** Lets every fiber run, without the clock moving, until the condition holds. Fails after far more rounds than a test needs. */
export const until = Effect.fnUntraced(function*(what: string, isSo: () => boolean) {
  for (let round = 0; round < 10_000; round++) {
    if (isSo()) return
    yield* Effect.yieldNow
  }
  return yield* Effect.die(new Error(`never came true: ${what}`))
})

/** Moves the clock and lets all fibers run, in steps, since the end of one wait may start another. */
export const pass = Effect.fnUntraced(function*(time: Duration.Input, step: Duration.Input = "1 second") {
  const end = Duration.toMillis(time)
  for (let passed = 0; passed < end; passed += Duration.toMillis(step)) {
    yield* TestClock.adjust(step)
    yield* settle
  }
})

const unused = Effect.die("the fleet bench has no such operation")

type Claims = ReadonlyMap<DeviceId, DeviceClaim>

/** The state that outlives a fleet: the log's drafts and the `devices` table, with the epoch of each device. */
export class BenchTables {
  desired: ReadonlyArray<DesiredDevice>
  readonly drafts: Array<EventDraft> = []
  readonly shown = new Map<DeviceId, DeviceState["_tag"]>()
  readonly epochs = new Map<DeviceId, number>()
  /** How many claims there were. An older database does not set it back. */
  claims = 0
  readonly claimed = new Map<DeviceId, string>()
  readonly owners = new Map<DeviceId, string>()
  readonly confirmed = new Map<DeviceId, number>()
  /** The devices of each read of desired state; undefined where all were read. */
  readonly readings: Array<ReadonlyArray<DeviceId> | undefined> = []

  constructor(desired: ReadonlyArray<DesiredDevice>) {
    this.desired = desired
  }

  transitions(id?: DeviceId): ReadonlyArray<Recorded> {
    return this.drafts.filter((draft) => id === undefined || draft.deviceId === id).flatMap((draft) =>
      draft.kind === "device.state" ? tellSteps(draft.deviceId, draft.data) : []
    )
  }

  readState(id: DeviceId): DeviceState["_tag"] {
    return this.transitions(id).at(-1)?.state._tag ?? "Inactive"
  }

  /** The outcome of claims; a test may fail or delay them. */
  claiming: (claim: Effect.Effect<Claims>) => Effect.Effect<Claims, StorageUnavailable> = (claim) => claim

  claim(owner: string, ids: ReadonlyArray<DeviceId>): Claims {
    return new Map(ids.map((id) => {
      const epoch = (this.epochs.get(id) ?? 0) + 1
      this.epochs.set(id, epoch)
      this.owners.set(id, owner)
      this.claimed.set(id, `claim ${++this.claims}`)
      return [id, { epoch, aliveUntil: null, claimedAt: start, deaths: 0, trials: 0, triedWith: null }]
    }))
  }

  repository(changes: Stream.Stream<DeviceId | null>): DeviceRepository["Service"] {
    return DeviceRepository.of({
      ...({} as DeviceRepository["Service"]),
      claim: (owner, ids) => Effect.suspend(() => this.claiming(Effect.sync(() => this.claim(owner, ids)))),
      owner: (id) => Effect.sync(() => this.owners.get(id) ?? null),
      handOvers: (ids) =>
        Effect.sync(() =>
          new Map(ids.map((id) => [id, {
            epoch: this.epochs.get(id) ?? 0,
            claim: this.claimed.get(id) ?? "",
            online: this.readState(id) === "Online",
            confirmed: this.confirmed.get(id) ?? null
          }]))
        ),
      confirmHandOvers: (claims) =>
        Effect.sync(() => {
          for (const [id, claim] of claims) {
            if (this.claimed.get(id) === claim) this.confirmed.set(id, this.epochs.get(id)!)
          }
        }),
      recorded: (ids) =>
        Effect.sync(() =>
          new Map(
            this.desired.filter(({ id }) => ids.includes(id)).map((row) => {
              const last = this.transitions(row.id).at(-1)
              const device = { jid: row.jid, state: last?.state ?? { _tag: "Inactive" } } as Device
              return [row.id, { device, transitions: last === undefined ? [] : [{ seq: 1, at: "", data: last }] }]
            })
          )
        ),
      desired: (ids) =>
        Effect.sync(() => {
          this.readings.push(ids)
          return this.desired.filter((row) =>
            (ids === undefined || ids.includes(row.id)) &&
            (row.active || (this.shown.get(row.id) ?? this.readState(row.id)) !== "Inactive")
          )
        }),
      changes
    })
  }
}

/** An event as a list of transitions: its steps, then its final transition. */
const tellSteps = (deviceId: DeviceId, { steps = [], ...last }: DeviceStateData): ReadonlyArray<Recorded> => {
  const states = [...steps.map(({ rule, state }) => ({ ...last, failure: null, rule, state })), last]
  return states.map((data, index) => ({ deviceId, ...data, from: states[index - 1]?.state._tag ?? last.from }))
}

export const layer = (devices: ReadonlyArray<DesiredDevice>, settings: Partial<FleetSettings> = {}) =>
  layerOn(new BenchTables(devices), settings)

/** A fleet on tables that other fleets used before, or use. */
export const layerOn = (
  tables: BenchTables,
  settings: Partial<FleetSettings> = {},
  fleetLayer: Layer.Layer<DeviceFleet, never, EventLog | DeviceRepository | GapRepository | GatewayDirectory> =
    LocalFleet.layer
) =>
  Layer.effect(
    FleetBench,
    Effect.gen(function*() {
      const gateway = new ScriptedGateway()
      const waiting = new Set<() => void>()
      const changes = yield* PubSub.unbounded<DeviceId | null>()
      let full = false
      const log = EventLog.of({
        append: (drafts) =>
          Effect.sync(() => {
            tables.drafts.push(...drafts)
            return drafts.map((_, index) => ({ _tag: "Committed" as const, seq: index + 1 }))
          }),
        pushEffects: () => {},
        push: (draft, options) => {
          const stale = options !== undefined && tables.epochs.get(draft.deviceId) !== options.fence.epoch
          if (stale) queueMicrotask(() => options.onFenced())
          else tables.drafts.push(draft)
          return !full
        },
        hasRoom: () => true,
        onRoom: (resume) => {
          if (!full) {
            resume()
            return () => {}
          }
          waiting.add(resume)
          return () => waiting.delete(resume)
        },
        flush: Effect.void,
        read: () => unused,
        locate: () => unused,
        follow: () => Stream.die("the fleet bench has no such operation"),
        followEach: () => Effect.never,
        latest: () => unused,
        generation: () => 0,
        bounds: unused,
        claimCursor: () => unused,
        resumeCursor: () => unused,
        moveCursor: () => unused,
        cursors: unused,
        deleteOlderThan: () => unused,
        mergeIdentities: unused,
        eraseChat: () => unused,
        eraseDevice: () => unused
      })
      const gatewayPulses = yield* PubSub.sliding<void>(1)
      let row: Result.Result<GatewayRef, GatewayAbsent> = Result.succeed("default 1" as GatewayRef)
      const directory = GatewayDirectory.of({
        current: (name) =>
          name === undefined || name === gateway.name
            ? row
            : Result.fail(GatewayUnknown.of(name, [gateway.name])),
        // What it needs from its host is gone when the host closes.
        open: () => Effect.acquireRelease(Effect.succeed(gateway), () => Effect.sync(() => gateway.loseAll())),
        webhookSecret: () => Effect.succeed(null),
        refresh: Effect.void,
        changes: Stream.fromPubSub(gatewayPulses),
        brings: () => false,
        list: Effect.succeed([])
      })
      // The ledger of a database without gaps whose clock never moves.
      const ledger = GapRepository.of({
        ...({} as GapRepository["Service"]),
        heartbeat: () => Effect.succeed({ now: start, aliveAt: null, newest: null }),
        countOpen: Effect.succeed({}),
        openOf: () => Effect.succeed(new Map()),
        watermarks: () => Effect.succeed(new Map()),
        now: Effect.map(Clock.currentTimeMillis, (now) => new Date(now).toISOString())
      })
      const repository = tables.repository(Stream.fromPubSub(changes))
      const context = yield* Layer.build(
        fleetLayer.pipe(
          Layer.provide(Layer.succeed(EventLog, log)),
          Layer.provide(Layer.succeed(DeviceRepository, repository)),
          Layer.provide(Layer.succeed(GapRepository, ledger)),
          Layer.provide(Layer.succeed(GatewayDirectory, directory)),
          Layer.provide(Layer.succeed(FleetSettings, { ...(yield* FleetSettings), ...settings }))
        )
      )
      const fleet = Context.get(context, DeviceFleet)
      return FleetBench.of({
        gateway,
        fleet,
        drafts: tables.drafts,
        transitions: (id) => tables.transitions(id),
        readState: (id) => tables.readState(id),
        announce: (id) => Effect.asVoid(PubSub.publish(changes, id)),
        want: (next) =>
          Effect.gen(function*() {
            tables.desired = next
            yield* fleet.reconcile
            yield* settle
          }),
        setGateway: (next) =>
          Effect.gen(function*() {
            row = Result.map(next, (revision) => `default ${revision}` as GatewayRef)
            yield* PubSub.publish(gatewayPulses, undefined)
            yield* settle
          }),
        setShown: (id, state) => {
          tables.shown.set(id, state)
        },
        setFull: (next) => {
          full = next
          if (full) return
          const woken = [...waiting]
          waiting.clear()
          for (const resume of woken) resume()
        }
      })
    })
  )
