/** Faults of RabbitMQ. */
import { Effect } from "effect"
import { deadQueue, incomingQueue } from "../../src/layers/rabbitmq/Topology.ts"
import type { Arrangement } from "../Arrangement.ts"
import { inVhost, wait } from "./shared.ts"
import type { Strike } from "./shared.ts"

const ctl = (on: Arrangement, ...args: ReadonlyArray<string>) => Effect.asVoid(on.servers.broker.ctl(...args))

export const restart: Strike<"restart broker"> = (on) => on.servers.broker.restart

export const kill: Strike<"kill broker"> = (on) => Effect.andThen(on.servers.broker.kill, on.servers.broker.start)

export const freeze: Strike<"freeze broker"> = (on, { millis }) =>
  on.servers.broker.freeze.pipe(Effect.andThen(wait(millis)), Effect.andThen(on.servers.broker.thaw))

export const alarm: Strike<"alarm broker"> = (on, { millis, of }) => {
  const set = (raised: boolean) =>
    of === "memory"
      ? ctl(on, "set_vm_memory_high_watermark", ...(raised ? ["absolute", "1"] : ["0.6"]))
      : ctl(on, "set_disk_free_limit", raised ? "1000GB" : "1MB")
  return set(true).pipe(Effect.andThen(wait(millis)), Effect.andThen(set(false)))
}

export const deleteQueue: Strike<"delete queue"> = (on) => inVhost(on, "delete_queue", incomingQueue)

export const revokePermissions: Strike<"revoke permissions"> = (on, { millis }) => {
  const grant = inVhost(on, "set_permissions", "guest", ".*", ".*", ".*")
  return inVhost(on, "clear_permissions", "guest").pipe(
    Effect.andThen(ctl(on, "close_all_user_connections", "guest", "faults")),
    Effect.andThen(wait(millis)),
    Effect.andThen(grant)
  )
}

export const fillQueue: Strike<"fill queue"> = (on, { millis }) =>
  inVhost(
    on,
    "set_policy",
    "faults",
    `^${incomingQueue}$|^${deadQueue}$`,
    "{\"max-length\":1,\"overflow\":\"reject-publish\"}",
    "--apply-to",
    "queues"
  ).pipe(
    Effect.andThen(wait(millis)),
    Effect.andThen(inVhost(on, "clear_policy", "faults"))
  )
