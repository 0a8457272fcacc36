/**
 * The fleet's lease as a session-level advisory lock, on a connection of its own that is open for as long as the lease
 * is held. The server releases the lock when the connection ends, however the process ended.
 *
 * The connection is checked at intervals. When it has broken, the lock is taken again on a new one; the
 * old session, which the server may not have ended yet, is identified by its name and ended. A pooler between us and
 * the server must dedicate a session to one client (session mode), or the lock is shared with another client.
 */
import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import { PgConnection, PgTypes } from "@effect/sql-pg"
import { Deferred, Duration, Effect, Exit, Layer, Queue, Scope } from "effect"
import { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import { FleetLease, formatRelease, LeaseTaken, readRelease } from "../../services/FleetLease.ts"
import type { LeaseUse } from "../../services/FleetLease.ts"
import { ListenConfig } from "./DatabaseSignals.ts"

/** The first number is the log's, as in the lock of its appends; the second distinguishes the locks. */
const lockKey = "4341001, 2"

/** The lock of a node's name; the second number is the name's. */
const nodeLock = "4341002, hashtext($1)"

/** Shared by all processes of a cluster with one release; the second number is the release. */
const releaseLocks = 4341003

/** A process that was just killed may still seem to hold the lock. Any other holder will keep it for longer. */
const firstTries = 5
const tryInterval = Duration.seconds(1)

/** Time in which an open but dead connection is noticed, for one small query. */
const heartbeatInterval = Duration.seconds(5)
const heartbeatMax = Duration.seconds(5)

/** A session's name has 63 bytes; the host's name is cut so that the whole fits. */
const hostNameMax = 20

/** No signal is ever sent on it: listening only shows at once that the connection is closed. */
const silentChannel = "columba_fleet_lease"

interface Held {
  /** Returns when the connection has broken. */
  readonly broken: Effect.Effect<void>
  readonly close: Effect.Effect<void>
}

interface Holder {
  readonly pid: number
  readonly name: string
  readonly address: string | null
  readonly since: string
  /** The release, where the release is what excludes it. */
  readonly release: number | null
}

/** Two statements: take all locks of this use, and find the holder of one that excludes it. */
interface Locks {
  readonly take: string
  readonly find: string
  /** Finds a process whose release must not be in one cluster with ours. Null: any release may be. */
  readonly findStranger: string | null
  readonly parameters: ReadonlyArray<string>
}

const findHolder = (excludes: string): string =>
  `select a.pid, a.application_name as name, host(a.client_addr) as address,
    to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since,
    case when l.classid = ${releaseLocks} then l.objid::bigint::float8 end as release
  from pg_locks l join pg_stat_activity a on a.pid = l.pid
  where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and (${excludes})
    and l.database = (select oid from pg_database where datname = current_database())`

const locksOf = (use: LeaseUse): Locks => {
  if (use === "alone") {
    return {
      take: `select pg_try_advisory_lock(${lockKey}) as locked`,
      find: findHolder("l.classid = 4341001 and l.objid = 2"),
      findStranger: null,
      parameters: []
    }
  }
  const release = readRelease(use.version)
  const takeRelease = `pg_try_advisory_lock_shared(${releaseLocks}, ${release})`
  const findStranger = findHolder(
    `l.classid = ${releaseLocks} and l.objid::bigint not between ${release - 1} and ${release + 1}`
  )
  return use.node === null
    ? { take: `select ${takeRelease} as locked`, find: findStranger, findStranger, parameters: [] }
    : {
      take:
        `select ${takeRelease} and pg_try_advisory_lock_shared(${lockKey}) and pg_try_advisory_lock(${nodeLock}) as locked`,
      find: findHolder(
        `l.classid = 4341001 and l.objid = 2 and l.mode = 'ExclusiveLock'
          or l.classid = 4341002 and l.objid::bigint = hashtext($1)::bigint & 4294967295`
      ),
      findStranger,
      parameters: [use.node]
    }
}

export const layer: Layer.Layer<FleetLease, never, ListenConfig> = Layer.effect(
  FleetLease,
  Effect.gen(function*() {
    const config = yield* ListenConfig
    const name = `columba devices ${hostname().slice(0, hostNameMax)} ${process.pid} ${randomUUID().slice(0, 8)}`

    /** The lock on a connection of its own, for as long as the scope; or its holder, if another process has it. */
    const lock = Effect.fnUntraced(function*(use: LeaseUse, first: boolean) {
      const listening = yield* Scope.fork(yield* Effect.scope)
      // Acquired after the scope of the listening, so released before it: then nothing is left to wait for.
      const single = yield* PgConnection.make({ ...config, applicationName: name, multiplex: false })
      const connection = yield* Scope.provide(single.pin, listening)
      const { find, findStranger, parameters, take } = locksOf(use)
      const { rows } = yield* connection.query(take, parameters.map(PgTypes.text))
      if (rows[0]?.["locked"] === true) {
        // Our lock is held by now, so of two concurrent starts at least one sees the other. A running process continues.
        const stranger = first && findStranger !== null
          ? toHolder((yield* connection.query(findStranger)).rows[0])
          : null
        if (stranger !== null) return { broken: null, holder: stranger }
        const ended = yield* Scope.provide(connection.listen(silentChannel), listening)
        return { broken: waitUntilBroken(connection, ended), holder: null }
      }
      const holder = toHolder((yield* connection.query(find, parameters.map(PgTypes.text))).rows[0])
      // Our own older session: the server has not noticed yet that its connection is gone.
      if (holder?.name === name) yield* connection.query(`select pg_terminate_backend(${holder.pid})`)
      return { broken: null, holder: holder?.name === name ? null : holder }
    })

    /** One attempt in its own scope. */
    const attempt = Effect.fnUntraced(function*(use: LeaseUse, first = false) {
      const scope = yield* Scope.fork(yield* Effect.scope)
      const close = Scope.close(scope, Exit.void)
      const found = yield* Scope.provide(lock(use, first), scope).pipe(Effect.onError(() => close))
      if (found.broken !== null) return { _tag: "Held" as const, broken: found.broken, close }
      yield* close
      return { _tag: "Taken" as const, holder: found.holder }
    })

    const firstAttempt = Effect.fnUntraced(function*(use: LeaseUse) {
      for (let tries = 1;; tries++) {
        const found = yield* attempt(use, true).pipe(
          Effect.mapError(() => StorageUnavailable.of("take the fleet's lease"))
        )
        if (found._tag === "Held") return found
        if (tries >= firstTries) return yield* taken(use, found.holder)
        yield* Effect.sleep(tryInterval)
      }
    })

    return FleetLease.of({
      acquire: Effect.fnUntraced(function*(use) {
        const lost = yield* Deferred.make<never, LeaseTaken>()
        let held: Held | null = yield* firstAttempt(use)
        yield* Effect.addFinalizer(() => Effect.suspend(() => held?.close ?? Effect.void))
        const keep = Effect.gen(function*() {
          while (true) {
            if (held !== null) {
              yield* held.broken
              yield* Effect.logWarning("The connection that holds the fleet's lease has broken; it is taken again")
              yield* held.close
              held = null
            }
            const found = yield* attempt(use).pipe(Effect.orElseSucceed(() => unknown))
            if (found._tag === "Held") held = found
            else if (found.holder === null) yield* Effect.sleep(tryInterval)
            else return yield* Deferred.fail(lost, taken(use, found.holder))
          }
        })
        yield* Effect.forkScoped(keep)
        return { lost: Deferred.await(lost) }
      })
    })
  })
)

/** A closed connection ends the queue; a dead one does not answer. */
const waitUntilBroken = (
  connection: PgConnection.PgConnection,
  ended: Queue.Dequeue<PgConnection.Notification, unknown>
): Effect.Effect<void> =>
  Effect.raceFirst(
    Effect.ignore(Effect.forever(Queue.take(ended))),
    Effect.sleep(heartbeatInterval).pipe(
      Effect.andThen(Effect.timeout(connection.query("select 1"), heartbeatMax)),
      Effect.forever,
      Effect.ignore
    )
  )

/** The database did not answer. */
const unknown = { _tag: "Taken", holder: null } as const

const toHolder = (row: PgConnection.Row | undefined): Holder | null =>
  row === undefined ? null : {
    pid: Number(row["pid"]),
    name: String(row["name"]),
    address: row["address"] === null ? null : String(row["address"]),
    since: String(row["since"]),
    release: row["release"] === null ? null : Number(row["release"])
  }

const taken = (use: LeaseUse, holder: Holder | null): LeaseTaken =>
  use === "alone"
    ? LeaseTaken.of(describe(holder))
    : holder !== null && holder.release !== null
    ? LeaseTaken.ofRelease(use.version, formatRelease(holder.release), describe(holder))
    : LeaseTaken.ofNode(use.node ?? "a part of the cluster", describe(holder))

const describe = (holder: Holder | null): string =>
  holder === null
    ? "its name is not known"
    : `'${holder.name}' at ${holder.address ?? "the server's own machine"}, connected since ${holder.since}`
