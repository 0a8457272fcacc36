/**
 * A new virtual host for a test, on the run's RabbitMQ. Every `rabbitmqctl` starts an Erlang virtual machine, which takes
 * seconds on a busy machine. One call therefore creates several spare virtual hosts and deletes those that earlier tests
 * no longer use.
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

interface Names {
  /** Created, and not used by a test yet. */
  readonly spare: Array<string>
  /** No longer used. The last ones are removed with the server. */
  readonly released: Array<string>
}

/** By server. */
const known = new Map<string, Names>()

/** Creating one takes a hundredth of the time of the call; a test file uses about this many. */
const createdAtOnce = 8

/** The same on a broker that the test has started itself. */
export const freshVhostOn = (server: string, control: Command): Effect.Effect<string, never, Scope.Scope> => {
  const names = known.get(server) ?? { spare: [], released: [] }
  known.set(server, names)
  return Effect.acquireRelease(
    Effect.gen(function*() {
      if (names.spare.length === 0) names.spare.push(...yield* exchange(control, names.released.splice(0)))
      return names.spare.pop()!
    }),
    (name) => Effect.sync(() => names.released.push(name))
  ).pipe(Effect.map((name) => {
    const url = new URL(server)
    url.pathname = `/${name}`
    return url.href
  }))
}

/** After a reset of the broker: all its virtual hosts are gone. */
export const forgetVhosts = (server: string): void => {
  known.delete(server)
}

/** Deletes old virtual hosts and creates new ones. */
const exchange = Effect.fnUntraced(function*(control: Command, old: ReadonlyArray<string>) {
  const created = Array.from({ length: createdAtOnce }, () => `columba_${randomBytes(6).toString("hex")}`)
  const list = (names: ReadonlyArray<string>) => `[${names.map((name) => `<<"${name}">>`).join(", ")}]`
  const all = `<<".*">>`
  const by = `<<"test">>`
  yield* runCommand({
    ...control,
    line: [
      ...control.line,
      "eval",
      `[begin rabbit_vhost:add(New, ${by}),`
      + ` rabbit_auth_backend_internal:set_permissions(<<"guest">>, New, ${all}, ${all}, ${all}, ${by}) end`
      + ` || New <- ${list(created)}],`
      + ` [catch rabbit_vhost:delete(Old, ${by}) || Old <- ${list(old)}], ok.`
    ]
  })
  return created
})
