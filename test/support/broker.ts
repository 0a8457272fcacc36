/** A virtual host of its own for whoever asks, on the run's RabbitMQ; gone with the scope, and its connections too. */
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

/** The same on a broker that the test has started for itself. */
export const freshVhostOn = (server: string, control: Command): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.gen(function*() {
      const name = `columba_${randomBytes(6).toString("hex")}`
      yield* ctl(control, "add_vhost", name)
      yield* ctl(control, "set_permissions", "-p", name, "guest", ".*", ".*", ".*")
      const url = new URL(server)
      url.pathname = `/${name}`
      return { name, url: url.href }
    }),
    ({ name }) => ctl(control, "delete_vhost", name)
  ).pipe(Effect.map(({ url }) => url))

const ctl = (control: Command, ...args: ReadonlyArray<string>) =>
  runCommand({ ...control, line: [...control.line, ...args] })
