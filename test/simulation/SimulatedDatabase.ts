/**
 * The database of a simulated world: the memory stores behind a network and a server that fail. A statement may never
 * arrive, be done and not be answered, be answered late, or be done after its client has given up; the server may be away
 * or crash. What was answered as done is kept.
 *
 * A process has its own clients of it (`connect`). A statement that was on its way when the process died may still be done.
 */
import { Cause, Context, Effect, Exit, Layer, PubSub, Queue, Scope, Stream } from "effect"
import { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { MemoryDatabase, MemoryTables } from "../../src/layers/memory/MemoryDatabase.ts"
import * as MemoryGapRepository from "../../src/layers/memory/MemoryGapRepository.ts"
import * as MemoryLogStore from "../../src/layers/memory/MemoryLogStore.ts"
import * as MemoryRepositories from "../../src/layers/memory/MemoryRepositories.ts"
import * as MemoryWebhookRefusals from "../../src/layers/memory/MemoryWebhookRefusals.ts"
import { LogStore } from "../../src/log/LogStore.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { GapRepository } from "../../src/services/GapRepository.ts"
import { WebhookRefusals } from "../../src/services/WebhookRefusals.ts"
import type { Seeded } from "../../src/simulator/Seeded.ts"
import type { Trace } from "./Trace.ts"
import type { Machine, VirtualTime } from "./VirtualTime.ts"

export interface DatabaseFaults {
  /** Of each statement, that it meets a fault of its own. */
  readonly failure: number
  /** How long a statement is on its way, one way, at most. */
  readonly latencyMax: number
  /** Other processes may write too, as far as the log knows: it asks for the head each second. */
  readonly shared: boolean
}

type Stores = LogStore | DeviceRepository | GapRepository | WebhookRefusals

/** A client waits this long for an answer: `silenceMax` and `answerMax` of the real one. */
const silence = { least: 10_000, most: 15_000 }

/** How long after its client has given up a statement may still be done: what the network held back. */
const afterwardsMax = 3000

/** Signals of commits that wait; the newest says all. */
const signalsMax = 16

/** The tables as they were at one moment of the world. */
export interface Snapshot {
  readonly at: number
  readonly tables: MemoryTables
}

interface Statement {
  /** The connection is lost: an answer comes no more, and what has not arrived is not done. */
  readonly cut: () => void
}

export class SimulatedDatabase {
  readonly tables = new MemoryTables()
  faults: DatabaseFaults
  /** Until when the server is away. */
  downUntil = 0
  /** Until when it is reached and says nothing. */
  stalledUntil = 0
  readonly #time: VirtualTime
  readonly #random: Seeded
  readonly #trace: Trace
  readonly #stores: Context.Context<Stores>
  readonly #inFlight = new Set<Statement>()
  #onCommit: (head: number) => void = () => {}
  #onDevices: (device: DeviceId | null) => void = () => {}
  #onRefusals: () => void = () => {}

  constructor(time: VirtualTime, random: Seeded, trace: Trace, faults: DatabaseFaults) {
    this.#time = time
    this.#random = random
    this.#trace = trace
    this.faults = faults
    const database = Layer.effect(
      MemoryDatabase,
      Effect.map(PubSub.sliding<null>(1), (changes) => ({ tables: this.tables, now: () => time.wall, changes }))
    )
    const stores = Layer.mergeAll(
      MemoryLogStore.layer,
      MemoryRepositories.layerDevices,
      MemoryGapRepository.layer,
      MemoryWebhookRefusals.layer
    ).pipe(Layer.provide(database))
    this.#stores = Effect.runSync(Layer.buildWithScope(Layer.fresh(stores), Scope.makeUnsafe()))
  }

  /** The stores themselves, for the world: what it asks is answered at once. */
  get direct(): Context.Context<Stores> {
    return this.#stores
  }

  /** The row of this device has changed, by somebody else than the process. */
  announce(device: DeviceId | null): void {
    this.#onDevices(device)
  }

  /** All connections are lost, and none can be made for a time. */
  crash(downFor: number): void {
    this.downUntil = Math.max(this.downUntil, this.#time.now + downFor)
    for (const statement of [...this.#inFlight]) statement.cut()
  }

  /** Rows are never changed in place, so the maps are all that must be copied. */
  snapshot(): Snapshot {
    const tables = new MemoryTables()
    copyTables(this.tables, tables)
    return { at: this.#time.now, tables }
  }

  /** An older copy takes the place of the database. */
  restore({ tables }: Snapshot): void {
    copyTables(tables, this.tables)
  }

  /** The clients of one process, whose fiber this is. */
  readonly connect = Effect.fnUntraced(function*(this: SimulatedDatabase, machine: Machine) {
    const log = Context.get(this.#stores, LogStore)
    const devices = Context.get(this.#stores, DeviceRepository)
    const gaps = Context.get(this.#stores, GapRepository)
    const refusals = Context.get(this.#stores, WebhookRefusals)
    const ask = <A, E>(name: string, statement: Effect.Effect<A, E>, lateToo = false) =>
      this.#ask(machine, name, statement, lateToo)

    const write: LogStore["Service"]["write"] = (batch) =>
      ask(
        `write ${batch.groups.length} groups, ${batch.moves.length} moves`,
        Effect.tap(log.write(batch), ({ head }) => Effect.sync(() => this.#onCommit(head))),
        true
      )
    const commits = yield* Queue.sliding<number | null>(signalsMax)
    const changed = yield* Queue.sliding<DeviceId | null>(signalsMax)
    const refused = yield* Queue.sliding<void>(1)
    this.#onCommit = (head) => {
      machine.postAfter(this.#delay(), () => Queue.offerUnsafe(commits, head))
    }
    this.#onDevices = (device) => {
      machine.postAfter(this.#delay(), () => Queue.offerUnsafe(changed, device))
    }
    this.#onRefusals = () => {
      machine.postAfter(this.#delay(), () => Queue.offerUnsafe(refused, undefined))
    }

    return Context.make(
      LogStore,
      LogStore.of({
        write,
        read: (options) => ask(`read after ${options.after}`, log.read(options)),
        latest: (options) => ask("latest", log.latest(options)),
        bounds: ask("bounds", log.bounds),
        cursorEpoch: (sink) => ask(`epoch of ${sink}`, log.cursorEpoch(sink)),
        claimCursor: (sink, known, start) => ask(`claim cursor ${sink}`, log.claimCursor(sink, known, start), true),
        cursors: ask("cursors", log.cursors),
        deleteOlderThan: (keep, options) => ask("delete", log.deleteOlderThan(keep, options)),
        mergeIdentities: ask("merge identities", log.mergeIdentities),
        erase: (device, chat) => ask("erase", log.erase(device, chat)),
        commits: Stream.fromQueue(commits),
        shared: this.faults.shared
      })
    ).pipe(
      Context.add(
        DeviceRepository,
        DeviceRepository.of({
          ...devices,
          claim: (owner, ids) => ask("claim", devices.claim(owner, ids)),
          recorded: (ids, transitionsMax) => ask("recorded", devices.recorded(ids, transitionsMax)),
          findSlots: (gateway, names) => ask("find slots", devices.findSlots(gateway, names)),
          desired: (ids) => ask("desired", devices.desired(ids)),
          changes: Stream.concat(Stream.make(null), Stream.fromQueue(changed))
        })
      ),
      Context.add(
        GapRepository,
        GapRepository.of({
          ...gaps,
          openOf: (devices) => ask("open gaps", gaps.openOf(devices)),
          watermarks: (devices) => ask("watermarks", gaps.watermarks(devices)),
          heartbeat: (owner) => ask("heartbeat", gaps.heartbeat(owner)),
          countOpen: ask("count gaps", gaps.countOpen),
          now: ask("clock", gaps.now)
        })
      ),
      Context.add(
        WebhookRefusals,
        WebhookRefusals.of({
          report: (some) =>
            ask("report refusals", Effect.tap(refusals.report(some), () => Effect.sync(() => this.#onRefusals()))),
          list: ask("refusals", refusals.list),
          remove: (some) => ask("remove refusals", refusals.remove(some)),
          changes: Stream.concat(Stream.make(undefined), Stream.fromQueue(refused))
        })
      )
    )
  })

  #delay(): number {
    return 0.1 + this.#random.next() ** 4 * this.faults.latencyMax
  }

  /** `lateToo`: it may be done although its client has given up. */
  #ask<A, E>(
    machine: Machine,
    name: string,
    statement: Effect.Effect<A, E>,
    lateToo: boolean
  ): Effect.Effect<A, E | StorageUnavailable> {
    return Effect.callback<A, E | StorageUnavailable>((resume) => {
      // What a dead process still asks reaches nobody.
      if (!machine.alive) return
      const answer = (exit: Exit.Exit<A, E | StorageUnavailable>) => machine.post(() => resume(exit))
      const fail = () => answer(Exit.fail(StorageUnavailable.of(name)))
      const timers: Array<() => void> = []
      let done = false
      const handle: Statement = {
        cut: () => {
          this.#inFlight.delete(handle)
          for (const cancel of timers) cancel()
          timers.push(this.#time.after(this.#delay(), fail))
        }
      }
      this.#inFlight.add(handle)
      const at = (millis: number, run: () => void) => timers.push(this.#time.after(millis, run))
      const perform = (): Exit.Exit<A, E> => {
        done = true
        const exit = Effect.runSyncExit(statement)
        if (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) throw Cause.squash(exit.cause)
        return exit
      }
      const performAndAnswer = () => {
        const exit = perform()
        at(this.#delay(), () => {
          this.#inFlight.delete(handle)
          answer(exit)
        })
      }
      const giveUp = (after: number) =>
        at(after, () => {
          this.#inFlight.delete(handle)
          fail()
        })
      const patience = silence.least + this.#random.next() * (silence.most - silence.least)
      const { now } = this.#time
      if (now < this.downUntil) {
        giveUp(this.#random.chance(0.8) ? this.#delay() : patience)
      } else if (now < this.stalledUntil) {
        const wait = this.stalledUntil - now
        if (wait < patience) at(wait + this.#delay(), performAndAnswer)
        else giveUp(patience)
      } else if (this.#random.chance(this.faults.failure)) {
        const fault = this.#random.pick(lateToo ? faultsOfWrites : faultsOfReads)
        this.#trace.add(`database: ${name}: ${fault}`)
        switch (fault) {
          case "refused":
            giveUp(this.#delay())
            break
          case "silent":
            giveUp(patience)
            break
          case "slow":
            at(this.#random.next() * 4000, () => {
              const exit = perform()
              at(this.#random.next() * 4000, () => {
                this.#inFlight.delete(handle)
                answer(exit)
              })
            })
            break
          case "answer lost":
            at(this.#delay(), () => {
              perform()
              giveUp(this.#random.chance(0.5) ? this.#delay() : patience)
            })
            break
          case "done late":
            // Not cut with the connection: it is beyond the client.
            this.#time.after(patience + this.#random.next() * afterwardsMax, perform)
            giveUp(patience)
        }
      } else {
        at(this.#delay(), performAndAnswer)
      }
      return Effect.sync(() => {
        // Interrupted: the statement goes on at the server unless it never left.
        if (!done && this.#random.chance(0.5)) { for (const cancel of timers) cancel() }
      })
    })
  }
}

const copyTables = (from: MemoryTables, to: MemoryTables): void => {
  to.events = [...from.events]
  Object.assign(to, {
    head: from.head,
    oldest: from.oldest,
    recordedAt: from.recordedAt,
    lastOrdinal: from.lastOrdinal,
    logId: from.logId
  })
  copyMap(from.places, to.places)
  copyMap(from.seqById, to.seqById)
  copyMap(from.identities, to.identities)
  copyMap(from.statuses, to.statuses)
  copyMap(from.aliases, to.aliases)
  copyMap(from.erasedAliases, to.erasedAliases)
  copyMap(from.cursors, to.cursors)
  copyMap(from.devices, to.devices)
  copyMap(from.gaps, to.gaps)
  copyMap(from.watermarks, to.watermarks)
  copyMap(from.heartbeats, to.heartbeats)
}

const copyMap = <Key, Value>(from: ReadonlyMap<Key, Value>, to: Map<Key, Value>): void => {
  to.clear()
  for (const [key, value] of from) to.set(key, value)
}

const faultsOfReads = ["refused", "silent", "slow", "answer lost"] as const
const faultsOfWrites = [...faultsOfReads, "answer lost", "answer lost", "done late"] as const
