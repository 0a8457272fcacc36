/**
 * A private Postgres for the tests, with all settings that make a commit durable. It can be stopped, crashed, suspended
 * and started again with the same data and port.
 */
import { join } from "node:path"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import type { Scope } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { beginReady, containerHost, localHost } from "./ServerHost.ts"
import type { ServerHost } from "./ServerHost.ts"
import { freePort, serverHome } from "./ServerHome.ts"
import type { ServerHome } from "./ServerHome.ts"
import { findServer, run, unprivilegedOwner } from "./ServerSource.ts"
import type { ServerMissing } from "./ServerSource.ts"

export interface PostgresServer {
  readonly url: string
  /** Starts it (again), and returns when it answers. */
  readonly start: Effect.Effect<void>
  /** `fast` ends the sessions and writes a checkpoint; `immediate` relies on recovery. */
  readonly stop: (mode: "fast" | "immediate") => Effect.Effect<void>
  readonly restart: (mode: "fast" | "immediate") => Effect.Effect<void>
  /** Kills all its processes with SIGKILL. */
  readonly kill: Effect.Effect<void>
  /** Suspends all its processes: connections stay open and get no answer, until `thaw`. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
}

/** A server with the durability of production and little memory, so that several fit on one machine. */
const settings = [
  "fsync=on",
  "synchronous_commit=on",
  "full_page_writes=on",
  "shared_buffers=64MB",
  "max_connections=300",
  "max_wal_size=1GB"
]

const initTimeout = 60_000

export const make: Effect.Effect<PostgresServer, ServerMissing, Scope.Scope> = Effect.gen(function*() {
  const source = yield* findServer({
    server: "PostgreSQL",
    image: "postgres:17",
    programs: ["postgres", "initdb"],
    directories: ["/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/pgsql-*/bin"],
    debianPackage: "postgresql"
  })
  const port = yield* freePort
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const host = yield* source._tag === "Container"
    ? Effect.flatMap(serverHome("postgres", undefined), (home) =>
      containerHost(home, {
        image: source.image,
        options: ["--publish", `127.0.0.1:${port}:5432`, "--env", "POSTGRES_HOST_AUTH_METHOD=trust"],
        args: settings.flatMap((setting) => ["-c", setting])
      }))
    : localPostgres(source.directory, port)
  const start = beginReady(host, answers(url), "60 seconds")
  const end = (signal: "SIGINT" | "SIGQUIT" | "SIGKILL") => Effect.andThen(host.signal(signal), host.gone)
  const stop = (mode: "fast" | "immediate") => end(mode === "fast" ? "SIGINT" : "SIGQUIT")
  yield* Effect.acquireRelease(start, () => Effect.andThen(host.signal("SIGCONT"), end("SIGKILL")))
  return {
    url,
    start,
    stop,
    restart: (mode) => Effect.andThen(stop(mode), start),
    kill: end("SIGKILL"),
    freeze: host.signal("SIGSTOP"),
    thaw: host.signal("SIGCONT")
  }
})

const localPostgres = Effect.fnUntraced(function*(directory: string, port: number) {
  const owner = yield* unprivilegedOwner(["postgres"])
  const home: ServerHome = yield* serverHome("postgres", owner)
  const data = join(home.directory, "data")
  const env = { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC" }
  yield* Effect.orDie(run(
    [
      join(directory, "initdb"),
      "--pgdata",
      data,
      "--username=postgres",
      "--auth=trust",
      "--encoding=UTF8",
      "--no-locale",
      "--no-sync"
    ],
    initTimeout,
    { env, cwd: home.directory, ...owner }
  ))
  const host: ServerHost = localHost(home, {
    directory,
    program: "postgres",
    args: [
      "-D",
      data,
      ...["listen_addresses=127.0.0.1", `port=${port}`, "unix_socket_directories=", ...settings].flatMap((setting) => [
        "-c",
        setting
      ])
    ],
    env,
    owner,
    companions: []
  })
  return host
})

const answers = (url: string) =>
  Effect.scoped(Effect.flatMap(
    PgClient.makeClient({ url: Redacted.make(url), connectTimeout: "2 seconds" }),
    (client) => client.unsafe("SELECT 1")
  )).pipe(Effect.provide(Reactivity.layer))
