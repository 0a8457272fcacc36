/**
 * The gateways whose webhooks arrive here, each open with the secret that signs them. Opened when its first webhook
 * arrives, and again when its row has changed.
 */
import { Clock, Duration, Effect, Exit, Result, Scope, Semaphore, Stream } from "effect"
import type { Redacted } from "effect"
import type { GatewayName } from "../domain/Ids.ts"
import { GatewayDirectory } from "./GatewayDirectory.ts"
import type { GatewayAbsent, GatewayRef } from "./GatewayDirectory.ts"
import { monotonicMillis } from "./monotonic.ts"
import type { WhatsAppGateway } from "./WhatsAppGateway.ts"

/** An unknown gateway is looked for in the table at most this often: anyone can invent names. */
const refreshInterval = Duration.seconds(5)

/** One version of a gateway's row. */
export interface Intake {
  readonly ref: GatewayRef
  readonly gateway: WhatsAppGateway
  /** Null: only devices' own secrets sign. */
  readonly secret: Redacted.Redacted | null
}

export interface WebhookIntakes {
  readonly open: (name: GatewayName) => Effect.Effect<Intake, GatewayAbsent>
  /** Whether the gateway is open now. There are as many as rows, whatever names are requested. */
  readonly has: (name: string) => boolean
}

export const make: Effect.Effect<WebhookIntakes, never, GatewayDirectory | Scope.Scope> = Effect.gen(function*() {
  const directory = yield* GatewayDirectory
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const intakes = new Map<string, Intake & { readonly scope: Scope.Closeable }>()
  const turn = Semaphore.makeUnsafe(1)
  let refreshedAt = Number.NEGATIVE_INFINITY

  const findCurrent = (name: GatewayName) => {
    const intake = intakes.get(name)
    const current = directory.current(name)
    return intake !== undefined && Result.isSuccess(current) && current.success === intake.ref ? intake : null
  }

  const close = (name: GatewayName): Effect.Effect<void> =>
    Effect.suspend(() => {
      const intake = intakes.get(name)
      intakes.delete(name)
      return intake === undefined ? Effect.void : Scope.close(intake.scope, Exit.void)
    })

  const openNow = Effect.fnUntraced(function*(name: GatewayName) {
    const known = findCurrent(name)
    if (known !== null) return known
    yield* close(name)
    const ref = yield* Effect.fromResult(directory.current(name))
    const own = yield* Scope.fork(scope)
    const opened = yield* Effect.all({
      gateway: Scope.provide(directory.open(ref), own),
      secret: directory.webhookSecret(ref)
    }).pipe(Effect.onError((cause) => Scope.close(own, Exit.failCause(cause))))
    const intake = { ref, scope: own, ...opened }
    intakes.set(name, intake)
    return intake
  })
  const openInTurn = (name: GatewayName) => Semaphore.withPermit(turn, openNow(name))

  const refresh = Effect.suspend(() => {
    const now = monotonicMillis(clock)
    if (now - refreshedAt < Duration.toMillis(refreshInterval)) return Effect.void
    refreshedAt = now
    return directory.refresh
  })

  yield* Effect.forkScoped(Stream.runForEach(directory.changes, () =>
    Effect.forEach(
      [...intakes.values()],
      ({ gateway: { name } }) => findCurrent(name) === null ? Semaphore.withPermit(turn, close(name)) : Effect.void,
      { discard: true }
    )))

  return {
    open: (name) =>
      Effect.suspend((): Effect.Effect<Intake, GatewayAbsent> => {
        const known = findCurrent(name)
        if (known !== null) return Effect.succeed(known)
        return Effect.catchTag(
          openInTurn(name),
          "GatewayUnknown",
          () => Effect.andThen(refresh, openInTurn(name))
        )
      }),
    has: (name) => intakes.has(name)
  }
})
