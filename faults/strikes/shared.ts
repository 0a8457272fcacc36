/** Common parts of strikes. A strike returns when its fault is over, without waiting for the program's recovery. */
import { PgClient } from "@effect/sql-pg"
import { Duration, Effect, Redacted } from "effect"
import type { Scope } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import type { Arrangement } from "../Arrangement.ts"
import type { Fault, FaultOf } from "../Scenario.ts"

export type Strike<Do extends Fault["do"]> = (
  on: Arrangement,
  fault: FaultOf<Do>
) => Effect.Effect<void, never, Scope.Scope>

export const wait = (millis: number) => Effect.sleep(Duration.millis(millis))

/** An administrator's session, for as long as its scope. */
export const session = (url: string) =>
  PgClient.makeClient({ url: Redacted.make(url) }).pipe(Effect.provide(Reactivity.layer), Effect.orDie)

/** `rabbitmqctl` on the row's virtual host. */
export const inVhost = (on: Arrangement, command: string, ...args: ReadonlyArray<string>) =>
  Effect.asVoid(on.servers.broker.ctl(command, "--vhost", on.vhost, ...args))
