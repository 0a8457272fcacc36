/**
 * Postgres and RabbitMQ for one benchmark: private servers that nobody else talks to, started here and gone with us.
 * A queue left bound by an earlier run once tripled the broker's work unseen, so each measurement has a database and
 * a virtual host of its own, and the ones before are removed first.
 */
import { Effect, Exit, Scope } from "effect"
import { readFileSync } from "node:fs"
import pg from "pg"
import * as PostgresServer from "../../test/support/servers/PostgresServer.ts"
import * as RabbitMqServer from "../../test/support/servers/RabbitMqServer.ts"
import { processTree } from "./processes.ts"
import { progress } from "./report.ts"

export interface Servers extends AsyncDisposable {
  readonly freshDatabase: () => Promise<string>
  /** The URL of a virtual host without any queue or binding. Fails where there is no broker in this run. */
  readonly freshVirtualHost: () => Promise<string>
  readonly postgresProcesses: () => ReadonlyArray<number>
  readonly brokerProcesses: () => ReadonlyArray<number>
}

/** Starts Postgres, and RabbitMQ where it is asked for. */
export const startServers = async (options: { readonly broker: boolean }): Promise<Servers> => {
  progress(`starting Postgres${options.broker ? " and RabbitMQ" : ""}`)
  const scope = Scope.makeUnsafe()
  const start = <A, E>(server: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Scope.provide(server, scope))
  const postgres = await start(PostgresServer.make)
  const broker = options.broker ? await start(RabbitMqServer.make) : null
  const fresh = { database: 0, virtualHost: 0 }
  return {
    freshDatabase: async () => {
      const name = (number: number) => `bench_${number}`
      await administer(postgres.url, `drop database if exists ${name(fresh.database)} with (force)`)
      await administer(postgres.url, `create database ${name(++fresh.database)}`)
      // Without it the first measurement after a large one would pay for writing that one's pages out.
      await administer(postgres.url, "checkpoint")
      return Object.assign(new URL(postgres.url), { pathname: `/${name(fresh.database)}` }).href
    },
    freshVirtualHost: async () => {
      if (broker === null) throw new Error("This benchmark was started without a broker")
      const ctl = (...args: ReadonlyArray<string>) => Effect.runPromise(broker.ctl(...args))
      const name = (number: number) => `bench_${number}`
      if (fresh.virtualHost > 0) await ctl("delete_vhost", name(fresh.virtualHost))
      await ctl("add_vhost", name(++fresh.virtualHost))
      await ctl("set_permissions", "-p", name(fresh.virtualHost), "guest", ".*", ".*", ".*")
      return `${broker.url}/${name(fresh.virtualHost)}`
    },
    postgresProcesses: () => descendants("postgres"),
    brokerProcesses: () => descendants("beam.smp"),
    [Symbol.asyncDispose]: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const administer = async (url: string, statement: string): Promise<void> => {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(statement)
  await client.end()
}

/** Our descendants that run this program. A server in a container is not among them: its CPU time then reads zero. */
const descendants = (program: string): ReadonlyArray<number> =>
  processTree(process.pid).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === program
    } catch {
      return false
    }
  })
