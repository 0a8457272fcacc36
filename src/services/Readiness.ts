/**
 * Whether this process can do its work now. Each part contributes one named check; `/readyz` runs them all and lists
 * those that are not ready.
 */
import { Cause, Context, Duration, Effect, Layer } from "effect"
import type { ReadinessCheck } from "../contracts/ServerPayloads.ts"

/** Succeeds with a few words on the state; fails with what is missing. */
export type Check = Effect.Effect<string, string>

/** A check that takes longer is reported as an operator would see it: no answer. Probes time out soon after. */
const checkTimeout = Duration.seconds(2)

export class Readiness extends Context.Service<Readiness, {
  readonly contribute: (name: string, check: Check) => Effect.Effect<void>
  /** Withdraws this check, unless another has replaced it. */
  readonly withdraw: (name: string, check: Check) => Effect.Effect<void>
  /** Runs all checks at once. In the order they were contributed; never fails. */
  readonly report: Effect.Effect<ReadonlyArray<ReadinessCheck>>
}>()("columba/services/Readiness") {
  static readonly layer = Layer.sync(Readiness, () => {
    const checks = new Map<string, Check>()
    return Readiness.of({
      contribute: (name, check) => Effect.sync(() => checks.set(name, check)),
      withdraw: (name, check) =>
        Effect.sync(() => {
          if (checks.get(name) === check) checks.delete(name)
        }),
      report: Effect.suspend(() =>
        Effect.forEach(checks, ([name, check]) => run(name, check), { concurrency: "unbounded" })
      )
    })
  })

  /** A layer that adds one check for as long as it exists. */
  static readonly check = <R>(
    name: string,
    check: Effect.Effect<string, string, R>
  ): Layer.Layer<never, never, Readiness | R> =>
    Layer.effectDiscard(Effect.gen(function*() {
      const readiness = yield* Readiness
      const context = yield* Effect.context<R>()
      const provided = Effect.provideContext(check, context)
      yield* readiness.contribute(name, provided)
      yield* Effect.addFinalizer(() => readiness.withdraw(name, provided))
    }))
}

const run = (name: string, check: Check): Effect.Effect<ReadinessCheck> =>
  check.pipe(
    Effect.timeoutOrElse({
      duration: checkTimeout,
      orElse: () => Effect.fail(`no answer within ${Duration.toSeconds(checkTimeout)} s`)
    }),
    Effect.map((detail) => ({ name, ready: true, detail })),
    Effect.catch((detail) => Effect.succeed({ name, ready: false, detail })),
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.as(Effect.logError(`Readiness check '${name}' failed by a defect`, cause), {
          name,
          ready: false,
          detail: "the check itself failed; the log says how"
        })
    )
  )
