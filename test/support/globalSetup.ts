/**
 * Starts the Postgres and the RabbitMQ of a test run, once, side by side, and takes them down after it. Test files
 * reach them through `freshDatabase` and `freshVhost`, or by `inject("postgresUrl")` and `inject("rabbitUrl")`.
 */
import { Effect, Exit, Scope } from "effect"
import type { TestProject } from "vitest/node"
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

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const scope = Scope.makeUnsafe()
  const start = Effect.all([PostgresServer.make, RabbitMqServer.make], { concurrency: 2 }).pipe(
    Scope.provide(scope),
    Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
  )
  const [postgres, rabbit] = await Effect.runPromise(start)
  project.provide("postgresUrl", postgres.url)
  project.provide("rabbitUrl", rabbit.url)
  project.provide("rabbitControl", rabbit.ctlCommand)
  return () => Effect.runPromise(Scope.close(scope, Exit.void))
}
