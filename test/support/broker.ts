/**
 * A virtual host of its own for a test, on the run's RabbitMQ. Every `rabbitmqctl` starts a virtual machine, which
 * takes seconds on a busy machine, so one call does a lot: it creates some to spare and deletes those that tests before
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

interface Names {
  /** Created, and used by no test yet. */
  readonly spare: Array<string>
  /** Used by no test any more. The last ones are removed with the server. */
  readonly released: Array<string>
}

/** By server. */
const known = new Map<string, Names>()

/** One takes a hundredth of what the call costs; a file of tests uses about as many. */
const createdAtOnce = 8

/** The same on a broker that the test has started for itself. */
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

/** After a reset of the broker: none of its virtual hosts is there any more. */
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
