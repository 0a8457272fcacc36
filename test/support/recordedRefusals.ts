/** Refused webhooks as processes report them: recorded, and the reports fail while the database is down. */
import { Effect, Stream } from "effect"
import { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import { WebhookRefusals } from "../../src/services/WebhookRefusals.ts"
import type { ReportedRefusal } from "../../src/services/WebhookRefusals.ts"

export const makeRefusals = (options: { readonly away: boolean }) => {
  let { away } = options
  const reported: Array<ReportedRefusal> = []
  const refusals = WebhookRefusals.of({
    report: (some) =>
      Effect.suspend(() =>
        away ? Effect.fail(StorageUnavailable.of("write them down")) : Effect.sync(() => void reported.push(...some))
      ),
    list: Effect.succeed([]),
    remove: () => Effect.void,
    changes: Stream.never
  })
  const setAway = (isAway: boolean) =>
    Effect.sync(() => {
      away = isAway
    })
  return { refusals, reported, setAway }
}
