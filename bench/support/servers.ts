/**
 * Postgres and RabbitMQ for one benchmark: private servers, started here and stopped with the benchmark. A queue that
 * an earlier run had left bound once tripled the broker's work unnoticed, so each measurement has its own database and
 * virtual host, and the earlier ones are removed first.
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
  /** The URL of a virtual host without any queue or binding. Fails if the run has no broker. */
  readonly freshVirtualHost: () => Promise<string>
  readonly postgresProcesses: () => ReadonlyArray<number>
  readonly brokerProcesses: () => ReadonlyArray<number>
}

/** Starts Postgres, and RabbitMQ if requested. */
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
      // Without it the next measurement would include writing the pages of this one to disk.
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

/**
 * The descendants of this process that run this program. A server in a container is not found: its CPU time is zero.
 */
const descendants = (program: string): ReadonlyArray<number> =>
  processTree(process.pid).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === program
    } catch {
      return false
    }
  })
