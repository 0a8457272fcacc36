/**
 * Starts the Postgres and the RabbitMQ of a test run once, in parallel, and stops them after it. Test files reach them
 * through `freshDatabase` and `freshVhost`, or by `inject("postgresUrl")` and `inject("rabbitUrl")`.
 */
import { Effect, Exit, Scope } from "effect"
import type { TestProject } from "vitest/node"
import type { ServerMissing } from "./servers/ServerSource.ts"
import type { Command } from "./servers/ServerHost.ts"
import * as PostgresServer from "./servers/PostgresServer.ts"
import * as RabbitMqServer from "./servers/RabbitMqServer.ts"

declare module "vitest" {
  export interface ProvidedContext {
    readonly postgresUrl: string
    readonly rabbitUrl: string
    /** `rabbitmqctl` on that broker; arguments are to be appended. */
    readonly rabbitControl: Command
  }
}

interface Running {
  readonly postgres: PostgresServer.PostgresServer
  readonly rabbit: RabbitMqServer.RabbitMqServer
  readonly stop: Effect.Effect<void>
}

/** Every project of a run calls this file with its own module instance. All share one pair of servers. */
const shared = globalThis as { columbaTestServers?: { readonly running: Promise<Running>; users: number } | undefined }

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const servers = shared.columbaTestServers ??= { running: Effect.runPromise(start), users: 0 }
  servers.users++
  const { postgres, rabbit, stop } = await servers.running
  project.provide("postgresUrl", postgres.url)
  project.provide("rabbitUrl", rabbit.url)
  project.provide("rabbitControl", rabbit.ctlCommand)
  return async () => {
    if (--servers.users > 0) return
    shared.columbaTestServers = undefined
    await Effect.runPromise(stop)
  }
}

const start: Effect.Effect<Running, ServerMissing> = Effect.suspend(() => {
  const scope = Scope.makeUnsafe()
  return Effect.all([PostgresServer.make, RabbitMqServer.make], { concurrency: 2 }).pipe(
    Scope.provide(scope),
    Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause))),
    Effect.map(([postgres, rabbit]) => ({ postgres, rabbit, stop: Scope.close(scope, Exit.void) }))
  )
})
