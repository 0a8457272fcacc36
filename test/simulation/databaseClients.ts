/** The database clients of one process of a simulated world: the stores, with each statement over a network that fails. */
import { Context, Duration, Effect, Queue, Stream } from "effect"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { LogStore } from "../../src/log/LogStore.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { GapRepository } from "../../src/services/GapRepository.ts"
import { SendRepository } from "../../src/services/SendRepository.ts"
import { SubscriptionRepository } from "../../src/services/SubscriptionRepository.ts"
import { WebhookRefusals } from "../../src/services/WebhookRefusals.ts"
import type { SimulatedDatabase } from "./SimulatedDatabase.ts"
import type { Machine } from "./VirtualTime.ts"

/** Signals of commits that wait; the newest covers all. */
const signalsMax = 16

/** The clients of one process, whose fiber this is. */
export const connect = Effect.fnUntraced(function*(database: SimulatedDatabase, machine: Machine) {
  const stores = database.direct
  const log = Context.get(stores, LogStore)
  const devices = Context.get(stores, DeviceRepository)
  const gaps = Context.get(stores, GapRepository)
  const refusals = Context.get(stores, WebhookRefusals)
  const subscriptions = Context.get(stores, SubscriptionRepository)
  const sends = Context.get(stores, SendRepository)
  const ask = <A, E>(name: string, statement: Effect.Effect<A, E>, lateToo = false) =>
    database.ask(machine, name, statement, lateToo)

  const commits = yield* Queue.sliding<number | null>(signalsMax)
  const changed = yield* Queue.sliding<DeviceId | null>(signalsMax)
  const refused = yield* Queue.sliding<void>(1)
  const subscribed = yield* Queue.sliding<void>(1)
  database.listen(machine, {
    onCommit: (head) => Queue.offerUnsafe(commits, head),
    onDevices: (device) => Queue.offerUnsafe(changed, device),
    onRefusals: () => Queue.offerUnsafe(refused, undefined),
    onSubscriptions: () => Queue.offerUnsafe(subscribed, undefined)
  })

  const write: LogStore["Service"]["write"] = (batch) =>
    ask(
      `write ${batch.groups.length} groups, ${batch.moves.length} moves`,
      Effect.suspend(() => {
        const judge = database.watch.begin(batch)
        return Effect.tap(log.write(batch), (result) =>
          Effect.sync(() => {
            database.written()
            judge.done(result)
          }))
      }),
      true
    )

  /** Pulses: first one, and one with each signal. */
  const pulses = (signals: Queue.Dequeue<void>) => Stream.concat(Stream.make(undefined), Stream.fromQueue(signals))

  return Context.make(
    LogStore,
    LogStore.of({
      write,
      read: (options) => ask(`read after ${options.after}`, log.read(options)),
      latest: (options) => ask("latest", log.latest(options)),
      bounds: ask("bounds", log.bounds),
      cursorEpoch: (sink) => ask(`epoch of ${sink}`, log.cursorEpoch(sink)),
      renew: log.renew,
      claimCursor: (sink, known, start) => ask(`claim cursor ${sink}`, log.claimCursor(sink, known, start), true),
      cursors: ask("cursors", log.cursors),
      deleteOlderThan: (keep, options) =>
        ask(
          "delete",
          Effect.suspend(() => {
            const { oldest } = database.tables
            return Effect.tap(
              log.deleteOlderThan(keep, options),
              () => Effect.sync(() => database.deleted(Duration.toMillis(keep), oldest))
            )
          })
        ),
      mergeIdentities: ask("merge identities", log.mergeIdentities),
      erase: (device, chat) => ask("erase", log.erase(device, chat)),
      commits: Stream.fromQueue(commits),
      shared: database.faults.shared
    })
  ).pipe(
    Context.add(
      DeviceRepository,
      DeviceRepository.of({
        ...devices,
        claim: (owner, ids) => ask("claim", devices.claim(owner, ids), true),
        disclaim: (owner, running, aliveUntil) => ask("disclaim", devices.disclaim(owner, running, aliveUntil), true),
        recorded: (ids, transitionsMax) => ask("recorded", devices.recorded(ids, transitionsMax)),
        owner: (id) => ask("owner", devices.owner(id)),
        handOvers: (ids) => ask("hand-overs", devices.handOvers(ids)),
        confirmHandOvers: (claims) => ask("confirm hand-overs", devices.confirmHandOvers(claims), true),
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
        known: (ids) => ask("known gaps", gaps.known(ids)),
        watermarks: (devices) => ask("watermarks", gaps.watermarks(devices)),
        heartbeat: (owner) => ask("heartbeat", gaps.heartbeat(owner)),
        countOpen: ask("count gaps", gaps.countOpen),
        now: ask("clock", gaps.now),
        deleteOlderThan: (keep) =>
          ask(
            "delete gaps",
            Effect.suspend(() => {
              const before = new Map(database.tables.gaps)
              return Effect.tap(
                gaps.deleteOlderThan(keep),
                () => Effect.sync(() => database.gapsDeleted(Duration.toMillis(keep), before))
              )
            })
          )
      })
    ),
    Context.add(
      WebhookRefusals,
      WebhookRefusals.of({
        report: (some) =>
          ask(
            "report refusals",
            Effect.tap(
              refusals.report(some),
              () => Effect.sync(() => database.tell(({ onRefusals }) => onRefusals()))
            )
          ),
        list: ask("refusals", refusals.list),
        remove: (some) => ask("remove refusals", refusals.remove(some)),
        changes: pulses(refused)
      })
    ),
    Context.add(
      SubscriptionRepository,
      SubscriptionRepository.of({
        ...subscriptions,
        get: (id) => ask("subscription", subscriptions.get(id)),
        list: ask("subscriptions", subscriptions.list),
        saveHealth: (id, epoch, health) => ask("save health", subscriptions.saveHealth(id, epoch, health), true),
        disable: (id, epoch, reason) =>
          ask(
            "disable",
            Effect.tap(
              subscriptions.disable(id, epoch, reason),
              () => Effect.sync(() => database.tell(({ onSubscriptions }) => onSubscriptions()))
            ),
            true
          ),
        recordDeliveries: (rows) => ask("record deliveries", subscriptions.recordDeliveries(rows), true),
        deleteDeliveries: (each, keep) => ask("delete deliveries", subscriptions.deleteDeliveries(each, keep)),
        changes: pulses(subscribed)
      })
    ),
    // Nothing is sent in these worlds; retention deletes here too.
    Context.add(
      SendRepository,
      SendRepository.of({ ...sends, deleteOlderThan: (keep) => ask("delete sends", sends.deleteOlderThan(keep)) })
    )
  )
})
