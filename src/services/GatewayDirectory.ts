/**
 * The gateways that this process can use now. Rows are added, changed and deleted while it runs: the directory follows
 * the table and opens a gateway at its first use, once for all concurrent users.
 *
 * A `GatewayRef` names one version of a row. When the row changes, the ref is no longer current: a long-lived holder
 * of a gateway (a host of actors) checks that after each change, releases the gateway and asks again.
 */
import { Context, Duration, Effect, Layer, PubSub, RcMap, Result, Schedule, Scope, Semaphore, Stream } from "effect"
import type { Brand, Redacted } from "effect"
import { GatewayUnknown } from "../domain/DeviceErrors.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { GatewayDialect, GatewaySecretName, GatewaySource } from "../domain/Gateway.ts"
import { GatewayUnusable } from "../domain/GatewayErrors.ts"
import { GatewayName } from "../domain/Ids.ts"
import { GatewayAdapters } from "./GatewayAdapters.ts"
import type { GatewayConnection } from "./GatewayAdapters.ts"
import { GatewayRepository } from "./GatewayRepository.ts"
import type { StoredGateway } from "./GatewayRepository.ts"
import { SecretSeal } from "./SecretSeal.ts"
import { listParts } from "./WhatsAppGateway.ts"
import type { WhatsAppGateway } from "./WhatsAppGateway.ts"

/** A gateway that this process defines itself: its secrets are in the process and never in the table. */
export interface OwnGateway extends GatewayConnection {
  readonly source: Exclude<GatewaySource, "api">
}

/** One version of a gateway's row. Equal texts name the same version. */
export type GatewayRef = Brand.Branded<string, "GatewayRef">

/** The table is read this often even without a notice of a change, in case one was lost with its connection. */
const refreshInterval = Duration.seconds(30)

/** Wait between attempts while the database is unavailable: one small query per second costs it nothing. */
const retryDelay = Duration.seconds(1)

/** An unused gateway stays open for a moment, so that the next request finds its connections. */
const idleTime = Duration.seconds(30)

/** One waiting pulse is enough: the reader checks every gateway. */
const pulsesMax = 1

/** Why a gateway cannot be used. */
export type GatewayAbsent = GatewayUnknown | GatewayUnusable

export class GatewayDirectory extends Context.Service<GatewayDirectory, {
  /** The version of the row to use now. Without a name: the only gateway, or the one named `default`. */
  readonly current: (name: GatewayName | undefined) => Result.Result<GatewayRef, GatewayAbsent>
  /** The gateway of this version, shared with everyone who has it open, for as long as the scope. */
  readonly open: (ref: GatewayRef) => Effect.Effect<WhatsAppGateway, GatewayAbsent, Scope.Scope>
  /** The secret that signs the webhooks of this version; null where it has none. */
  readonly webhookSecret: (ref: GatewayRef) => Effect.Effect<Redacted.Redacted | null, GatewayAbsent>
  /** Reads the table now. If that fails, the loaded rows stay. */
  readonly refresh: Effect.Effect<void>
  /** A pulse after every refresh that found something changed. */
  readonly changes: Stream.Stream<void>
  /** Whether this process itself defines the gateway of this name. */
  readonly brings: (name: GatewayName) => boolean
  /** The loaded gateways, by name. */
  readonly list: Effect.Effect<ReadonlyArray<StoredGateway>>
}>()("columba/services/GatewayDirectory") {
  /** Writes the rows of the gateways that this process brings, then follows the table. */
  static readonly layer = (own: ReadonlyArray<OwnGateway>) => Layer.effect(GatewayDirectory, make(own))

  /** Gateways that exist from the start and never change, without a table: for benchmarks and tests. */
  static readonly layerFixed = (gateways: ReadonlyArray<WhatsAppGateway>) =>
    Layer.sync(GatewayDirectory, () => {
      const all = new Map(gateways.map((gateway) => [gateway.name, gateway]))
      return GatewayDirectory.of({
        current: (name) => Result.map(choose(all, name), (gateway) => `${gateway.name} 1` as GatewayRef),
        open: (ref) => Effect.fromResult(choose(all, readName(ref))),
        webhookSecret: () => Effect.succeed(null),
        refresh: Effect.void,
        changes: Stream.never,
        brings: () => false,
        list: Effect.succeed([])
      })
    })
}

/**
 * Opens the gateway for as long as the scope. If it is not loaded yet, because another process just added it, the
 * table is read.
 */
export const openGateway = (
  directory: GatewayDirectory["Service"],
  name: GatewayName | undefined
): Effect.Effect<WhatsAppGateway, GatewayAbsent, Scope.Scope> =>
  Effect.suspend(() => Effect.fromResult(directory.current(name))).pipe(
    Effect.catchTag(
      "GatewayUnknown",
      () => Effect.andThen(directory.refresh, Effect.suspend(() => Effect.fromResult(directory.current(name))))
    ),
    Effect.flatMap(directory.open)
  )

/** Opens the gateway for one request. */
export const useGateway = <A, E, R>(
  directory: GatewayDirectory["Service"],
  name: GatewayName | undefined,
  use: (gateway: WhatsAppGateway) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | GatewayAbsent, R> =>
  Effect.scopedWith((scope) => Effect.flatMap(Scope.provide(openGateway(directory, name), scope), use))

/** The named one. Without a name: the only one, or the one named `default`. */
const choose = <A>(
  all: ReadonlyMap<GatewayName, A>,
  name: GatewayName | undefined
): Result.Result<A, GatewayUnknown> => {
  const unnamed = all.size === 1 ? [...all.values()][0] : all.get(defaultName)
  const found = name === undefined ? unnamed : all.get(name)
  return found === undefined
    ? Result.fail(GatewayUnknown.of(name ?? defaultName, [...all.keys()]))
    : Result.succeed(found)
}

const defaultName = GatewayName.make("default")

const readName = (ref: GatewayRef): GatewayName => ref.split(" ")[0] as GatewayName

const makeRef = ({ gateway, revision }: StoredGateway): GatewayRef => `${gateway.name} ${revision}` as GatewayRef

const make = Effect.fnUntraced(function*(
  own: ReadonlyArray<OwnGateway>
): Effect.fn.Return<
  GatewayDirectory["Service"],
  StorageUnavailable,
  GatewayRepository | GatewayAdapters | SecretSeal | Scope.Scope
> {
  const repository = yield* GatewayRepository
  const adapters = yield* GatewayAdapters
  const seal = yield* SecretSeal
  const pulses = yield* Effect.acquireRelease(PubSub.sliding<void>(pulsesMax), PubSub.shutdown)
  const ownByName = new Map(own.map((gateway) => [gateway.name, gateway]))
  let rows: ReadonlyMap<GatewayName, StoredGateway> = new Map()

  const openSecrets = Effect.fnUntraced(function*({ gateway, sealed }: StoredGateway) {
    const secrets: Partial<Record<GatewaySecretName, Redacted.Redacted>> = {}
    for (const field of gateway.secrets) {
      const text = sealed[field]
      if (text !== undefined) secrets[field] = yield* seal.open(text, { owner: gateway.name, field })
    }
    return secrets
  }, (effect, { gateway }) => Effect.mapError(effect, () => GatewayUnusable.of(gateway.name, "secrets-unreadable")))

  const connect = (row: StoredGateway): Effect.Effect<GatewayConnection, GatewayUnusable> => {
    const mine = ownByName.get(row.gateway.name)
    return mine !== undefined && row.gateway.source === mine.source
      ? Effect.succeed(mine)
      : Effect.map(openSecrets(row), (secrets) => ({ ...row.gateway, secrets }))
  }

  const findRow = (ref: GatewayRef): Effect.Effect<StoredGateway, GatewayUnknown> =>
    Effect.suspend(() => {
      const row = [...rows.values()].find((one) => makeRef(one) === ref)
      // The row changed between `current` and here: the caller asks for the current version again.
      return row === undefined
        ? Effect.fail(GatewayUnknown.of(readName(ref), [...rows.keys()]))
        : Effect.succeed(row)
    })

  const opened = yield* RcMap.make({
    idleTimeToLive: idleTime,
    lookup: Effect.fnUntraced(function*(ref: GatewayRef) {
      const row = yield* findRow(ref)
      const open = adapters.byDialect.get(row.gateway.dialect)
      if (open === undefined) return yield* GatewayUnusable.of(row.gateway.name, "dialect")
      const gateway = yield* open(yield* connect(row))
      yield* Effect.logDebug("gateway opened").pipe(
        Effect.annotateLogs({ gateway: gateway.name, dialect: gateway.dialect, parts: listParts(gateway).join(",") })
      )
      return gateway
    })
  })

  const judge = (row: StoredGateway): GatewayUnusable["reason"] | null => {
    const { active, dialect, name, source } = row.gateway
    if (!active) return "inactive"
    if (source !== "api" && ownByName.get(name)?.source !== source) {
      return source === "environment" ? "no-variables" : "no-simulator"
    }
    return adapters.byDialect.has(dialect) ? null : "dialect"
  }

  const current = (name: GatewayName | undefined): Result.Result<GatewayRef, GatewayAbsent> =>
    Result.flatMap(choose(rows, name), (row): Result.Result<GatewayRef, GatewayAbsent> => {
      const reason = judge(row)
      return reason === null
        ? Result.succeed(makeRef(row))
        : Result.fail(GatewayUnusable.of(row.gateway.name, reason))
    })

  const writeOwn = Effect.forEach(
    own,
    ({ dialect, name, source, url, user }) => repository.upsert({ name, dialect, url, user, source, sealed: {} }),
    { discard: true }
  )

  /** This process's own rows are missing if the database was created anew while it ran. */
  const refreshOnce = Effect.gen(function*() {
    const before = describe(rows)
    let listed = yield* repository.list
    if (own.some(({ name }) => !listed.some(({ gateway }) => gateway.name === name))) {
      yield* writeOwn
      listed = yield* repository.list
    }
    rows = new Map(listed.map((row) => [row.gateway.name, row]))
    if (describe(rows) !== before) yield* PubSub.publish(pulses, undefined)
  })
  const turn = Semaphore.makeUnsafe(1)
  const read = Semaphore.withPermit(turn, refreshOnce)
  const warn = (error: StorageUnavailable) =>
    Effect.logWarning("gateways could not be read; those known stay as they are", error)
  const refresh = Effect.catch(read, warn)
  /** A notice may arrive while the database is still unavailable, and no other may follow. */
  const refreshUntilRead = Effect.catch(read, (error) =>
    warn(error).pipe(
      Effect.andThen(Effect.retry(Effect.delay(read, retryDelay), Schedule.forever)),
      Effect.ignore
    ))

  yield* writeOwn
  yield* refreshOnce
  yield* Effect.forkScoped(
    Stream.merge(repository.changes, Stream.tick(refreshInterval)).pipe(
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.runForEach(() => refreshUntilRead)
    )
  )

  return GatewayDirectory.of({
    current,
    open: (ref) => RcMap.get(opened, ref),
    webhookSecret: (ref) =>
      Effect.flatMap(findRow(ref), connect).pipe(Effect.map(({ secrets }) => secrets.webhookSecret ?? null)),
    refresh,
    changes: Stream.fromPubSub(pulses),
    brings: (name) => ownByName.has(name),
    list: Effect.sync(() => [...rows.values()])
  })
})

/** The fields of all rows that decide which gateways are current. */
const describe = (rows: ReadonlyMap<GatewayName, StoredGateway>): string => Array.from(rows.values(), makeRef).join(",")

/** A dialect's own name for people, and where the gateway is. */
export const describeGateway = ({ dialect, url }: { readonly dialect: GatewayDialect; readonly url: string }): string =>
  `${dialect} at ${url}`
