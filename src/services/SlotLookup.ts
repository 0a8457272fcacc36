/**
 * Finds the device that holds a slot of a gateway, for webhooks: each names its slot or the account on it, any process
 * may get it, and the database must not be asked each time. Results are cached for a time, and longer while the
 * database does not answer: a cached slot is then still right.
 */
import { Clock, Context, Duration, Effect, Layer, Result, Semaphore, Stream } from "effect"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId, GatewayName } from "../domain/Ids.ts"
import { canonical } from "../domain/Jid.ts"
import { DeviceRepository } from "./DeviceRepository.ts"
import type { SlotHolder } from "./DeviceRepository.ts"
import { monotonicMillis } from "./monotonic.ts"

/**
 * A slot never changes its device. A notice reports whether the device is active, and may be lost with its connection.
 */
const slotValid = Duration.minutes(1)

/** An account may be logged in on another slot at any time, without any notice. */
const accountValid = Duration.seconds(10)

/**
 * For senders that keep posting about a slot of no device here. A device that is added meanwhile is found after this.
 */
const absenceValid = Duration.seconds(5)

/** Ten thousand devices by id, slot and account, and as many again; some 10 MB. */
const entriesMax = 60_000

/** Longer names belong to no device: slots have at most 128 characters, and accounts fewer. */
const nameMax = 256

/** Maximum number of concurrent statements; waiting lookups are mostly for the same slots and find their answer. */
const readsMax = 2

/** Within the time that a gateway waits for an answer. */
const readTimeout = Duration.seconds(2)

const reading = "find the device of a slot"

interface Entry {
  readonly holder: SlotHolder | null
  until: number
}

export class SlotLookup extends Context.Service<SlotLookup, {
  /** The holder of a slot id, an account JID or `ofDevice(id)`. Null: there is none. Undefined: it must be read. */
  readonly peek: (gateway: GatewayName, name: string) => SlotHolder | null | undefined
  /** After it, `peek` has an answer about each of these names. */
  readonly read: (gateway: GatewayName, names: ReadonlyArray<string>) => Effect.Effect<void, StorageUnavailable>
}>()("columba/services/SlotLookup") {
  static readonly layer: Layer.Layer<SlotLookup, never, DeviceRepository> = Layer.effect(
    SlotLookup,
    Effect.gen(function*() {
      const devices = yield* DeviceRepository
      const clock = yield* Clock.Clock
      const found = new Map<string, Entry>()
      const keysByDevice = new Map<DeviceId, Set<string>>()
      const absent = new Map<string, Entry>()
      const turn = Semaphore.makeUnsafe(readsMax)

      const now = () => monotonicMillis(clock)

      /** Entries that may have changed are read again, and kept until then. */
      const distrust = (device: DeviceId | null): void => {
        absent.clear()
        const keys = device === null ? found.keys() : keysByDevice.get(device) ?? []
        for (const key of keys) found.get(key)!.until = now()
      }

      const remember = (key: string, holder: SlotHolder | null, valid: Duration.Duration): void => {
        // A dropped entry is read again, so the choice does not matter.
        if (found.size + absent.size >= entriesMax) {
          for (const map of [found, absent, keysByDevice]) map.clear()
        }
        const entry = { holder, until: now() + Duration.toMillis(valid) }
        if (holder === null) {
          found.delete(key)
          absent.set(key, entry)
          return
        }
        absent.delete(key)
        found.set(key, entry)
        const keys = keysByDevice.get(holder.deviceId) ?? new Set()
        keysByDevice.set(holder.deviceId, keys.add(key))
      }

      const peek: SlotLookup["Service"]["peek"] = (gateway, name) => {
        if (name.length > nameMax) return null
        const key = makeKey(gateway, name)
        const entry = found.get(key) ?? absent.get(key)
        return entry === undefined || entry.until <= now() ? undefined : entry.holder
      }

      /** Whether all names were cached; extends them for a little longer. */
      const keepKnown = (gateway: GatewayName, names: ReadonlyArray<string>): boolean => {
        const entries = names.map((name) => found.get(makeKey(gateway, name)))
        for (const entry of entries) if (entry !== undefined) entry.until = now() + Duration.toMillis(absenceValid)
        return !entries.includes(undefined)
      }

      const readNow = Effect.fnUntraced(function*(gateway: GatewayName, names: ReadonlyArray<string>) {
        const unknown = names.filter((name) => peek(gateway, name) === undefined)
        if (unknown.length === 0) return
        const answer = yield* devices.findSlots(gateway, {
          ids: unknown.flatMap(readDevice),
          upstreamIds: unknown.filter((name) => !isAccount(name) && !name.startsWith(deviceMark)),
          accounts: unknown.filter(isAccount).map(canonical)
        }).pipe(
          Effect.timeoutOrElse({ duration: readTimeout, orElse: () => Effect.fail(StorageUnavailable.of(reading)) }),
          Effect.result
        )
        if (Result.isFailure(answer)) {
          return keepKnown(gateway, unknown) ? undefined : yield* Effect.fail(answer.failure)
        }
        for (const name of unknown) {
          const holder = choose(name, answer.success)
          const valid = holder === null ? absenceValid : isAccount(name) ? accountValid : slotValid
          remember(makeKey(gateway, name), holder, valid)
        }
      })

      yield* Effect.forkScoped(Stream.runForEach(devices.changes, (id) => Effect.sync(() => distrust(id))))
      return SlotLookup.of({
        peek,
        read: (gateway, names) => Semaphore.withPermit(turn, readNow(gateway, names))
      })
    })
  )
}

/** Occurs in no slot id and at the beginning of no account. */
const deviceMark = "#"

/** The name by which `peek` and `read` find the device itself. */
export const ofDevice = (id: DeviceId): string => deviceMark + id

const readDevice = (name: string): ReadonlyArray<DeviceId> =>
  name.startsWith(deviceMark) ? [name.slice(deviceMark.length) as DeviceId] : []

/** Slot ids have no `@`. */
export const isAccount = (name: string): boolean => name.includes("@")

const makeKey = (gateway: GatewayName, name: string): string => `${gateway} ${isAccount(name) ? canonical(name) : name}`

/** Two slots may be logged in to one account: then it identifies neither, unless one of them is not in use. */
const choose = (name: string, holders: ReadonlyArray<SlotHolder>): SlotHolder | null => {
  if (!isAccount(name)) {
    return holders.find(({ deviceId, upstreamId }) => name === upstreamId || name === ofDevice(deviceId)) ?? null
  }
  const account = canonical(name)
  const all = holders.filter(({ jid }) => jid !== null && canonical(jid) === account)
  const active = all.filter((holder) => holder.active)
  const [only, another] = active.length > 0 ? active : all
  return another === undefined ? only ?? null : null
}
