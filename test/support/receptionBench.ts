/**
 * Lives of a fleet on a scripted gateway with a scripted history, over one storage in memory: all state that outlives a
 * process is in the storage, and a life may end in an orderly stop or by a kill.
 */
import { Clock, Context, Effect, Exit, Layer, Scope } from "effect"
import type { Duration } from "effect"
import * as LocalFleet from "../../src/actors/fleet/LocalFleet.ts"
import type { EventDraft, LoggedEvent } from "../../src/domain/Event.ts"
import type { Gap } from "../../src/domain/Gap.ts"
import type { DeviceId, GatewayName, UpstreamId } from "../../src/domain/Ids.ts"
import * as MemoryStorage from "../../src/layers/memory/MemoryStorage.ts"
import { DeviceFleet } from "../../src/services/DeviceFleet.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { FleetSettings } from "../../src/services/FleetSettings.ts"
import { GapRepository } from "../../src/services/GapRepository.ts"
import { GatewayDirectory } from "../../src/services/GatewayDirectory.ts"
import { messageDraft } from "./drafts.ts"
import type { MessageFields } from "./drafts.ts"
import type { WhatsAppGateway } from "../../src/services/WhatsAppGateway.ts"
import { SendRepository } from "../../src/services/SendRepository.ts"
import { SendSettings } from "../../src/services/SendSettings.ts"
import { ServerIdentity } from "../../src/services/ServerIdentity.ts"
import { deviceId, pass } from "./fleetBench.ts"
import { ScriptedGateway } from "./scriptedGateway.ts"
import { ScriptedHistory } from "./scriptedHistory.ts"

export type Storage = DeviceRepository | EventLog | GapRepository | SendRepository

/** A gateway with a history, and devices in the table. */
export const begin = Effect.fnUntraced(function*(devices: number) {
  const repository = yield* DeviceRepository
  for (let n = 1; n <= devices; n++) {
    const [id, upstreamId] = [deviceId(n), `slot-${n}` as UpstreamId]
    yield* Effect.orDie(repository.insert({ id, name: `device ${n}`, gateway: "default" as GatewayName, upstreamId }))
  }
  const gateway = Object.assign(new ScriptedGateway(), { history: new ScriptedHistory() })
  return { gateway, history: gateway.history }
})

export interface Life {
  /** The log as the process sees it. */
  readonly log: EventLog["Service"]
  readonly fleet: DeviceFleet["Service"]
  /** The log accepts nothing more, as if its callers waited at the bound. */
  readonly setFull: (full: boolean) => void
  /** The process is killed as soon as the log has committed the next rows that it read from a history. */
  readonly killAfterRows: () => void
  /** The process is killed: nothing that it still does reaches the storage. */
  readonly kill: Effect.Effect<void>
  /** The process is stopped in order. */
  readonly stop: Effect.Effect<void>
}

let lives = 0

/** A process is identified by its start. */
const identity = (life: number): ServerIdentity["Service"] => ({
  version: "test",
  node: "bench",
  startedAt: `life ${life}`,
  roles: ["devices"],
  database: "memory",
  broker: null
})

/** `drained`: lets the log write the events that it has accepted. */
export const live = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway,
  settings: Partial<FleetSettings> = {},
  drained: Effect.Effect<void> = pass("1 second")
): Effect.fn.Return<Life, never, Storage> {
  const inner = yield* EventLog
  const scope = yield* Scope.make()
  const waiting = new Set<() => void>()
  let killed = false
  let full = false
  let rowsAreFatal = false
  const log = EventLog.of({
    ...inner,
    append: (drafts, options) =>
      Effect.suspend(() => {
        if (killed) return Effect.never
        const appended = inner.append(drafts, options)
        if (!rowsAreFatal || !drafts.some(({ via }) => via === "backfill")) return appended
        return Effect.flatMap(appended, () => {
          killed = true
          return Effect.never
        })
      }),
    hasRoom: () => !full && inner.hasRoom(),
    push: (draft, options) => killed || inner.push(draft, options) && !full,
    pushEffects: (effects, options) => {
      if (!killed) inner.pushEffects(effects, options)
    },
    onRoom: (resume) => {
      if (!full) return inner.onRoom(resume)
      waiting.add(resume)
      return () => waiting.delete(resume)
    }
  })
  const context = yield* Layer.buildWithScope(
    Layer.fresh(LocalFleet.layer).pipe(
      Layer.provide(Layer.succeed(EventLog, log)),
      Layer.provide(Layer.succeed(DeviceRepository, yield* DeviceRepository)),
      Layer.provide(Layer.succeed(GapRepository, yield* GapRepository)),
      Layer.provide(Layer.succeed(SendRepository, untilKilled(yield* SendRepository, () => killed))),
      Layer.provide(Layer.succeed(SendSettings, yield* SendSettings)),
      Layer.provide(GatewayDirectory.layerFixed([gateway])),
      Layer.provide(Layer.succeed(ServerIdentity, identity(++lives))),
      Layer.provide(Layer.succeed(FleetSettings, { ...(yield* FleetSettings), ...settings }))
    ),
    scope
  )
  const stop = Effect.andThen(Scope.close(scope, Exit.void), drained)
  return {
    log,
    fleet: Context.get(context, DeviceFleet),
    setFull: (next) => {
      full = next
      if (full) return
      const woken = [...waiting]
      waiting.clear()
      for (const resume of woken) resume()
    },
    killAfterRows: () => {
      rowsAreFatal = true
    },
    kill: Effect.suspend(() => {
      killed = true
      return stop
    }),
    stop
  }
})

/** One device whose process has run for a time. */
export const runFor = Effect.fnUntraced(function*(time: Duration.Input) {
  const { gateway, history } = yield* begin(1)
  const life = yield* live(gateway)
  yield* pass(time)
  return { gateway, history, life }
})

/** A killed process changes nothing more. */
const untilKilled = (sends: SendRepository["Service"], isKilled: () => boolean): SendRepository["Service"] => {
  const alive = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => isKilled() ? Effect.never : effect)
  return {
    ...sends,
    claim: (device, epoch, resting) => alive(sends.claim(device, epoch, resting)),
    release: (claimed, why) => alive(sends.release(claimed, why)),
    retry: (id) => alive(sends.retry(id)),
    sweep: alive(sends.sweep)
  }
}

let messages = 0

/** A message that somebody sends to the device now. */
export const arriving = (device: DeviceId, change: Partial<MessageFields> = {}) =>
  Effect.map(Clock.currentTimeMillis, (now): EventDraft => {
    const occurredAt = `${new Date(now).toISOString().slice(0, 19)}Z`
    return messageDraft({ device, occurredAt, waId: `W${++messages}`, ...change })
  })

export const gapsOf = (device: DeviceId): Effect.Effect<ReadonlyArray<Gap>, never, GapRepository> =>
  Effect.gen(function*() {
    const ledger = yield* GapRepository
    return (yield* Effect.orDie(ledger.page({ device, limit: 1000 }))).items.toReversed()
  })

/** The events in the log. */
export const logged = (kind?: string): Effect.Effect<ReadonlyArray<LoggedEvent>, never, EventLog> =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const events: Array<LoggedEvent> = []
    for (let after = 0;;) {
      const page = yield* Effect.orDie(log.read({ after, limit: 1000 }))
      if (page.events.length === 0) break
      events.push(...page.events)
      after = page.through
    }
    return events.filter((event) => kind === undefined || event.kind === kind)
  })

export const waIdsIn = (events: ReadonlyArray<LoggedEvent>): ReadonlyArray<string> =>
  events.map(({ data }) => (JSON.parse(data) as { readonly waId: string }).waId)

export const storage: Layer.Layer<Storage> = Layer.fresh(MemoryStorage.layerMemory)
