/**
 * Configures the webhook address of one gateway's devices: when a device's session has opened, and periodically at random
 * moments, because an operator or a restart may have undone it. One timer and a few workers for all devices of the gateway.
 */
import { Cause, Clock, Duration, Effect, Metric, Option, Random } from "effect"
import type { Redacted, Scope } from "effect"
import type { WebhookState, WebhookStatus } from "../../domain/WebhookState.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import type { WebhookAddress } from "../../services/GatewayParts.ts"
import * as Metrics from "../../services/Metrics.ts"
import { Condition } from "../../services/Condition.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { deviceWebhookUrl, gatewayWebhookUrl, PublicAddress } from "../../services/PublicAddress.ts"
import { WebhookSecrets } from "../../services/WebhookSecrets.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { missPosts, notePosting, push } from "../device/receptionGaps.ts"
import * as DueSet from "./DueSet.ts"
import * as Workers from "./workers.ts"

/** A device that reconnects repeatedly is not checked each time. */
const askAgainMin = Duration.seconds(30)

/** Devices that reconnect together are checked over this time. */
const spread = Duration.seconds(2)

/** A gateway that did not answer usually does a minute later. */
const retryInterval = Duration.minutes(1)

/** Reading and writing at the gateway have their own bounds; this is the bound for both together. */
const ensureTimeout = Duration.seconds(30)

/** Maximum number of concurrent requests to a gateway that is busy with messages. */
const concurrency = 4

export interface WebhookSetup {
  readonly add: (cell: DeviceCell) => void
  readonly remove: (cell: DeviceCell) => void
  /** The device made a transition: its session may have opened. */
  readonly moved: (cell: DeviceCell) => void
  /**
   * Runs a login of the device. Setting a webhook may make the gateway restart the slot, and the code that it shows is
   * lost: a device that was never checked is checked before the login, within a bound, and the others after it.
   */
  readonly around: <A>(cell: DeviceCell, login: Effect.Effect<A>) => Effect.Effect<A>
  /** Devices to which, as far as is known, nothing is posted, by the state of their webhooks. */
  readonly unposted: () => Readonly<Partial<Record<WebhookStatus, number>>>
}

const none: WebhookSetup = {
  add: () => {},
  remove: () => {},
  moved: () => {},
  around: (_, login) => login,
  unposted: () => ({})
}

/** `secret`: the gateway's own, for an installation without a key to derive one from. */
export const make = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway,
  secret: Redacted.Redacted | null,
  settings: Pick<FleetSettings, "webhookInterval" | "tick">
): Effect.fn.Return<WebhookSetup, never, Scope.Scope> {
  if (gateway.webhook === undefined) return none
  const { ensure } = gateway.webhook
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const publicAddress = yield* PublicAddress
  const secrets = yield* Effect.serviceOption(WebhookSecrets)

  const askedAt = new WeakMap<DeviceCell, number>()
  const cells = new Set<DeviceCell>()
  const due = new Set<DeviceCell>()
  /** Devices in a login, with that login: they wait, except for a check already in progress. */
  const held = new Map<DeviceCell, object>()
  const asking = new Set<DeviceCell>()
  const answered = new Condition()
  const counts = new Map<WebhookStatus, number>()
  /** Whether the metrics show these counts. */
  let shown = true

  const findAddress = (cell: DeviceCell): WebhookAddress | WebhookStatus => {
    if (publicAddress === null) return "no-address"
    const own = Option.match(secrets, {
      onNone: () => undefined,
      onSome: (known) => known.of(gateway.name, cell.device.id)[0]
    })
    if (own !== undefined) return { url: deviceWebhookUrl(publicAddress, gateway.name, cell.device.id), secret: own }
    return secret === null ? "no-secret" : { url: gatewayWebhookUrl(publicAddress, gateway.name), secret }
  }

  const planIn = (cell: DeviceCell, wait: Duration.Duration): void => {
    times.planIn(cell, Duration.toMillis(wait) * (0.5 + random.nextDoubleUnsafe()))
  }

  const setState = (cell: DeviceCell, state: WebhookState | null): void => {
    const before = cell.webhook?.status
    cell.webhook = state
    if (before === state?.status) return
    if (before !== undefined) counts.set(before, (counts.get(before) ?? 0) - 1)
    if (state !== null) counts.set(state.status, (counts.get(state.status) ?? 0) + 1)
    shown = false
    wake()
  }

  const note = (cell: DeviceCell, status: WebhookStatus, detail: string | null): void => {
    // The device left during the check.
    if (!cells.has(cell)) return
    setState(cell, { status, detail, checkedAt: new Date(clock.currentTimeMillisUnsafe()).toISOString() })
    if (cell.actorState.sessionOpen) planIn(cell, status === "failed" ? retryInterval : settings.webhookInterval)
  }

  const ask = (cell: DeviceCell, address: WebhookAddress): Effect.Effect<void> =>
    Effect.suspend(() => {
      asking.add(cell)
      return Effect.ensuring(
        askNow(cell, address),
        Effect.sync(() => {
          asking.delete(cell)
          answered.changed()
        })
      )
    })

  const askNow = Effect.fnUntraced(function*(cell: DeviceCell, address: WebhookAddress) {
    const target = { deviceId: cell.device.id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
    const asked = monotonicMillis(clock)
    askedAt.set(cell, asked)
    const answer = yield* ensure(target, address).pipe(
      Effect.mapError((error) => error.message),
      Effect.timeoutOrElse({
        duration: ensureTimeout,
        orElse: () => Effect.fail("the gateway did not answer in time")
      }),
      Effect.catchCause((cause) => Cause.hasInterruptsOnly(cause) ? Effect.interrupt : reportDefect(cause)),
      Effect.result
    )
    const outcome = answer._tag === "Failure" ? "failed" : answer.success
    yield* Metric.update(Metric.withAttributes(Metrics.webhookChecks, { gateway: gateway.name, outcome }), 1)
    if (answer._tag === "Failure") return note(cell, "failed", answer.failure)
    note(cell, answer.success === "unsupported" ? "unsupported" : "set", null)
    if (answer.success === "unchanged" || answer.success === "renewed") notePosting(cell, asked)
    if (answer.success === "set") {
      if (gateway.capabilities.liveEvents === "webhook" && cells.has(cell)) push(cell, missPosts(cell))
      notePosting(cell, monotonicMillis(clock))
      yield* Effect.logInfo("the gateway posts the device's events to us now").pipe(
        Effect.annotateLogs({ gateway: gateway.name, device: cell.device.id })
      )
    }
  })

  const reportDefect = (cause: Cause.Cause<string>): Effect.Effect<never, string> => {
    const failure = Cause.findErrorOption(cause)
    return Option.isSome(failure)
      ? Effect.fail(failure.value)
      : Effect.logError("setting a webhook crashed", cause).pipe(
        Effect.annotateLogs({ gateway: gateway.name }),
        Effect.andThen(Effect.fail("a defect in this program; its log has the trace"))
      )
  }

  const showCounts = Effect.suspend(() => {
    shown = true
    return Effect.forEach(
      counts,
      ([status, count]) =>
        Metric.update(Metric.withAttributes(Metrics.deviceWebhooks, { gateway: gateway.name, status }), count),
      {
        discard: true
      }
    )
  })

  const findDue = (): DeviceCell | undefined => {
    for (const cell of due) if (!held.has(cell) && !asking.has(cell)) return cell
    return undefined
  }

  const next = (): Effect.Effect<void> | null => {
    const cell = findDue()
    if (cell === undefined) return shown ? null : showCounts
    due.delete(cell)
    const address = findAddress(cell)
    return typeof address === "string" ? Effect.void : ask(cell, address)
  }
  const wake = yield* Workers.make({ gateway: gateway.name, concurrency, work: "setting a webhook", next })
  yield* Effect.addFinalizer(() => showCounts)
  const times = yield* DueSet.make<DeviceCell>({
    grain: settings.tick,
    onDue: (cell) => {
      due.add(cell)
      wake()
    }
  })

  return {
    add: (cell) => {
      const address = findAddress(cell)
      cells.add(cell)
      setState(cell, initial(typeof address === "string" ? address : "pending"))
    },
    remove: (cell) => {
      if (!cells.delete(cell)) return
      setState(cell, null)
      times.cancel(cell)
      due.delete(cell)
    },
    moved: (cell) => {
      if (!cell.actorState.sessionOpen) {
        times.cancel(cell)
        due.delete(cell)
        return
      }
      if (times.has(cell) || due.has(cell) || typeof findAddress(cell) === "string") return
      const asked = askedAt.get(cell)
      const rested = asked === undefined || monotonicMillis(clock) - asked >= Duration.toMillis(askAgainMin)
      planIn(cell, rested ? spread : askAgainMin)
    },
    around: (cell, login) =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          const login = {}
          held.set(cell, login)
          return login
        }),
        () =>
          Effect.gen(function*() {
            yield* answered.waitUntil(() => !asking.has(cell))
            const address = findAddress(cell)
            if (cell.webhook?.status === "pending" && typeof address !== "string") yield* ask(cell, address)
            return yield* login
          }),
        (login) =>
          Effect.sync(() => {
            // A login that follows immediately has begun by now.
            if (held.get(cell) === login) held.delete(cell)
            wake()
          })
      ),
    unposted: () => {
      const found: Partial<Record<WebhookStatus, number>> = {}
      for (const { lastWebhookAt, webhook } of cells) {
        // A webhook that came shows that an operator has set the address by hand.
        if (webhook === null || webhook.status === "set" || lastWebhookAt !== 0) continue
        found[webhook.status] = (found[webhook.status] ?? 0) + 1
      }
      return found
    }
  }
})

const initial = (status: WebhookStatus): WebhookState => ({ status, checkedAt: null, detail: null })
