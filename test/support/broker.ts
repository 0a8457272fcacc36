/**
 * A virtual host of its own for a test, on the run's RabbitMQ. Every `rabbitmqctl` starts a virtual machine, which
 * takes seconds on a busy machine, so one call does all: it creates the new one and deletes those that tests before
 * have left.
 */
import { randomBytes } from "node:crypto"
import { Effect } from "effect"
import type { Scope } from "effect"
import { inject } from "vitest"
import { outsideServers } from "./provided.ts"
import { runCommand } from "./servers/ServerHost.ts"
import type { Command } from "./servers/ServerHost.ts"

export const freshVhost: Effect.Effect<string, never, Scope.Scope> = Effect.suspend(() =>
  freshVhostOn(inject("rabbitUrl") ?? outsideServers("freshVhost"), inject("rabbitControl"))
)

/** Names that no test uses any more, by server. The last ones are removed with the server. */
const released = new Map<string, Array<string>>()

/** The same on a broker that the test has started for itself. */
export const freshVhostOn = (server: string, control: Command): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.gen(function*() {
      const name = `columba_${randomBytes(6).toString("hex")}`
      const old = (released.get(server) ?? []).splice(0)
      const all = `<<".*">>`
      const by = `<<"test">>`
      yield* runCommand({
        ...control,
        line: [
          ...control.line,
          "eval",
          `rabbit_vhost:add(<<"${name}">>, ${by}),`
          + ` rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"${name}">>, ${all}, ${all}, ${all}, ${by}),`
          + ` [catch rabbit_vhost:delete(Old, ${by}) || Old <- [${old.map((one) => `<<"${one}">>`).join(", ")}]], ok.`
        ]
      })
      return name
    }),
    (name) => Effect.sync(() => released.set(server, [...released.get(server) ?? [], name]))
  ).pipe(Effect.map((name) => {
    const url = new URL(server)
    url.pathname = `/${name}`
    return url.href
  }))
