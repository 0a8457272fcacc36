/** How each fault is made, and healed again. Returns when it is over; how the program recovers is not waited for. */
import { PgClient } from "@effect/sql-pg"
import { Duration, Effect, Redacted } from "effect"
import type { Scope } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { deadQueue, eventsExchange, incomingQueue } from "../src/layers/rabbitmq/Topology.ts"
import { query } from "../test/support/Ledger.ts"
import type { Arrangement } from "./Arrangement.ts"
import type { Fault, FaultOf } from "./Scenario.ts"
import { withFullDisk } from "./fullDisk.ts"
import { writeBeside } from "./writeBeside.ts"

/** As the description of the supervisor in docs/operating.md says. */
const stopMax = 30_000

type Strike<Do extends Fault["do"]> = (on: Arrangement, fault: FaultOf<Do>) => Effect.Effect<void, never, Scope.Scope>

const wait = (millis: number) => Effect.sleep(Duration.millis(millis))

/** A session of an administrator, for as long as its scope. */
const session = (url: string) =>
  PgClient.makeClient({ url: Redacted.make(url) }).pipe(Effect.provide(Reactivity.layer), Effect.orDie)

const administer = (on: Arrangement, text: string) => Effect.asVoid(query(on.servers.postgres.url, text))

const name = (on: Arrangement): string => new URL(on.databaseUrl).pathname.slice(1)

/** Ends the sessions of the row's database, of the program's and no other. */
const endSessions = (on: Arrangement) =>
  administer(
    on,
    `select pg_terminate_backend(pid) from pg_stat_activity
    where datname = '${name(on)}' and application_name like 'columba%' and pid <> pg_backend_pid()`
  )

const ctl = (on: Arrangement, ...args: ReadonlyArray<string>) => Effect.asVoid(on.servers.broker.ctl(...args))

const inVhost = (on: Arrangement, command: string, ...args: ReadonlyArray<string>) =>
  ctl(on, command, "--vhost", on.vhost, ...args)

/** While a transaction of somebody else is open. */
const inTransaction = (on: Arrangement, statement: string, millis: number) =>
  Effect.scoped(Effect.gen(function*() {
    const client = yield* session(on.databaseUrl)
    yield* Effect.orDie(client.withTransaction(Effect.andThen(client.unsafe(statement), wait(millis))))
  }))

const strikes: { readonly [Do in Fault["do"]]: Strike<Do> } = {
  "kill program": (on) => Effect.andThen(on.columba.kill, on.columba.start),
  "kill program twice": (on, { apartMillis }) => {
    const kill = Effect.andThen(on.columba.kill, on.columba.start)
    return kill.pipe(Effect.andThen(wait(apartMillis)), Effect.andThen(kill))
  },
  "stop program": (on) =>
    Effect.gen(function*() {
      const { code, millis } = yield* on.columba.terminate
      if (code !== 0 || millis > stopMax) {
        return yield* Effect.die(new Error(`The program ended with ${code} after ${Math.round(millis)} ms`))
      }
      yield* on.columba.start
    }),
  "freeze program": (on, { millis }) =>
    on.columba.freeze.pipe(Effect.andThen(wait(millis)), Effect.andThen(on.columba.thaw)),
  "restart broker": (on) => on.servers.broker.restart,
  "kill broker": (on) => Effect.andThen(on.servers.broker.kill, on.servers.broker.start),
  "freeze broker": (on, { millis }) =>
    on.servers.broker.freeze.pipe(Effect.andThen(wait(millis)), Effect.andThen(on.servers.broker.thaw)),
  "alarm broker": (on, { millis, of }) => {
    const set = (raised: boolean) =>
      of === "memory"
        ? ctl(on, "set_vm_memory_high_watermark", ...(raised ? ["absolute", "1"] : ["0.6"]))
        : ctl(on, "set_disk_free_limit", raised ? "1000GB" : "1MB")
    return set(true).pipe(Effect.andThen(wait(millis)), Effect.andThen(set(false)))
  },
  "delete queue": (on) => inVhost(on, "delete_queue", incomingQueue),
  "delete exchange": (on) =>
    ctl(
      on,
      "eval",
      `rabbit_exchange:delete({resource, <<"${on.vhost}">>, exchange, <<"${eventsExchange}">>}, false, <<"faults">>).`
    ),
  "revoke permissions": (on, { millis }) => {
    const grant = inVhost(on, "set_permissions", "guest", ".*", ".*", ".*")
    return inVhost(on, "clear_permissions", "guest").pipe(
      Effect.andThen(ctl(on, "close_all_user_connections", "guest", "faults")),
      Effect.andThen(wait(millis)),
      Effect.andThen(grant)
    )
  },
  "fill queue": (on, { millis }) =>
    inVhost(
      on,
      "set_policy",
      "faults",
      `^${incomingQueue}$|^${deadQueue}$`,
      "{\"max-length\":1,\"overflow\":\"reject-publish\"}",
      "--apply-to",
      "queues"
    ).pipe(
      Effect.andThen(wait(millis)),
      Effect.andThen(inVhost(on, "clear_policy", "faults"))
    ),
  "restart database": (on, { mode }) => on.servers.postgres.restart(mode),
  "kill database": (on) => Effect.andThen(on.servers.postgres.kill, on.servers.postgres.start),
  "freeze database": (on, { millis }) =>
    on.servers.postgres.freeze.pipe(Effect.andThen(wait(millis)), Effect.andThen(on.servers.postgres.thaw)),
  "end sessions": endSessions,
  "lock table": (on, { millis }) => inTransaction(on, "lock table events in access exclusive mode", millis),
  "hold snapshot": (on, { millis }) => inTransaction(on, "select count(*) from events, log_identity", millis),
  "take connections": (on, { millis }) =>
    Effect.scoped(Effect.gen(function*() {
      const admin = yield* session(on.servers.postgres.url)
      yield* endSessions(on)
      // Each of these holds one; the server refuses the last ones.
      yield* Effect.forEach(
        Array.from({ length: connectionsMax }),
        () => Effect.ignoreCause(session(on.servers.postgres.url)),
        { concurrency: 20, discard: true }
      )
      yield* wait(millis)
      yield* Effect.orDie(admin.unsafe("select 1"))
    })),
  "refuse writes": (on, { millis }) =>
    administer(on, `alter database ${name(on)} set default_transaction_read_only = on`).pipe(
      Effect.andThen(endSessions(on)),
      Effect.andThen(wait(millis)),
      Effect.andThen(administer(on, `alter database ${name(on)} reset default_transaction_read_only`)),
      Effect.andThen(endSessions(on))
    ),
  "fill disk": (on, { millis }) => withFullDisk(on.databaseUrl, wait(millis)),
  "write beside": writeBeside,
  "disturb network": (on, { direction, millis, to, toxic }) =>
    Effect.gen(function*() {
      const remove = on.proxies[to].add(direction, toxic)
      yield* wait(millis)
      remove()
    }),
  "cut network": (on, { millis, to }) =>
    on.proxies[to].disable.pipe(Effect.andThen(wait(millis)), Effect.andThen(on.proxies[to].enable)),
  "fault gateway": (on, { also, fault, millis }) =>
    on.simulator.addFault(fault).pipe(
      Effect.andThen(also === undefined ? Effect.void : on.simulator.addFault(also)),
      Effect.andThen(wait(millis)),
      Effect.andThen(on.simulator.clearFaults)
    ),
  "step clock": (on, { seconds }) => on.stepClock(seconds)
}

/** More than the server allows in all. */
const connectionsMax = 320

export const strike = <Do extends Fault["do"]>(on: Arrangement, fault: FaultOf<Do>): Effect.Effect<void> =>
  Effect.scoped((strikes[fault.do] as unknown as Strike<Do>)(on, fault))
