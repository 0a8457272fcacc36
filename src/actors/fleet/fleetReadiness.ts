/** The fleet's contribution to readiness: it is ready once desired state was read, and reports its problems. */
import { Effect, Option } from "effect"
import type { Scope } from "effect"
import type { WebhookStatus } from "../../domain/WebhookState.ts"
import { Readiness } from "../../services/Readiness.ts"
import { ActorHosts } from "./ActorHosts.ts"

/** How the last comparison of all rows with the actors ended. */
export type Compared = "not yet" | "done" | "failed"

interface FleetState {
  readonly compared: Compared
  /** Devices with an actor in this process. */
  readonly devices: number
  /** Devices that another process has claimed. */
  readonly lost: number
}

/** Contributes nothing if readiness is not served. */
export const contribute = Effect.fnUntraced(function*(
  read: () => FleetState
): Effect.fn.Return<void, never, ActorHosts | Scope.Scope> {
  const hosts = yield* ActorHosts
  const readiness = yield* Effect.serviceOption(Readiness)
  if (Option.isNone(readiness)) return
  yield* readiness.value.contribute(
    "fleet",
    Effect.gen(function*() {
      const { Online: online } = hosts.counts()
      const unread = (yield* hosts.backfills).reduce((sum, { devicesToGo }) => sum + devicesToGo, 0)
      const { compared, devices, lost } = read()
      const detail = `${online} of ${devices} devices online` +
        (unread === 0 ? "" : `; the history of ${unread} is still to be read`) +
        (lost === 0 ? "" : `; ${lost} were claimed by another process`) +
        describeWebhooks(hosts.unposted())
      return compared === "done" ? detail : yield* Effect.fail(`desired state read: ${compared}; ${detail}`)
    })
  )
})

/** A device without a webhook receives nothing if live events come by webhook. */
const describeWebhooks = (unposted: Readonly<Partial<Record<WebhookStatus, number>>>): string =>
  (Object.entries(unposted) as ReadonlyArray<[WebhookStatus, number]>)
    .map(([status, count]) => `; ${count} without a webhook at the gateway: ${webhookAdvice[status]}`)
    .join("")

const webhookAdvice: Readonly<Record<WebhookStatus, string>> = {
  set: "it is set",
  pending: "the gateway is asked",
  failed: "the gateway did not answer; see columba devices explain",
  unsupported: "set it there by hand, as columba doctor says",
  "no-address": "set COLUMBA_PUBLIC_URL, or set it there by hand, as columba doctor says",
  "no-secret": "set COLUMBA_SECRET_KEY"
}
