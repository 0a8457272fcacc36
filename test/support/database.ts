/** An empty database on the run's Postgres for one test. It is dropped with the scope, even with open sessions. */
import { randomBytes } from "node:crypto"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import type { Scope } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { inject } from "vitest"
import { outsideServers } from "./provided.ts"

export const freshDatabase: Effect.Effect<string, never, Scope.Scope> = Effect.suspend(() =>
  freshDatabaseOn(inject("postgresUrl") ?? outsideServers("freshDatabase"))
)

/** The same on a server that the test has started itself. */
export const freshDatabaseOn = (server: string): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.gen(function*() {
      const name = `columba_${randomBytes(6).toString("hex")}`
      yield* command(server, `CREATE DATABASE ${name}`)
      const url = new URL(server)
      url.pathname = `/${name}`
      return { name, url: url.href }
    }),
    ({ name }) => command(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
  ).pipe(Effect.map(({ url }) => url))

const command = (server: string, text: string): Effect.Effect<void> =>
  Effect.scoped(Effect.flatMap(PgClient.makeClient({ url: Redacted.make(server) }), (client) => client.unsafe(text)))
    .pipe(Effect.provide(Reactivity.layer), Effect.asVoid, Effect.orDie)
