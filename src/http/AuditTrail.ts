/**
 * Who has changed what, as events in the log (`audit.changed`): every operation that needs the scope `manage` or
 * `admin`, except reads. An event contains the caller, the operation, its subject and the names of the fields in the
 * request; values only of fields that the table allows, so it never contains a secret, a text or a phone number.
 *
 * When a change is answered as done, its event is on disk. A change that is interrupted or fails midway is recorded as
 * `unknown`; a refused one is not recorded. If the process is killed between a change and its event, the change stands
 * without one. A server without keys records nothing, as its callers have no identity.
 */
import { Cause, Clock, Context, Effect, Exit, Layer } from "effect"
import { CurrentCaller } from "../contracts/Authorization.ts"
import type { AnyOperation } from "../contracts/Operations.ts"
import type { AuditData } from "../domain/EventData.ts"
import type { EventDraft } from "../domain/Event.ts"
import { auditKind } from "../domain/EventKinds.ts"
import { fleetDevice } from "../domain/Ids.ts"
import { makeEventId } from "../services/EventIdentity.ts"
import { EventLog } from "../services/EventLog.ts"

interface Audited {
  readonly name: string
  readonly audited: ReadonlyArray<string>
  readonly endpoint: { readonly path: string }
}

export class AuditTrail extends Context.Service<AuditTrail, {
  /** Runs the change and records it with its outcome. */
  readonly audit: <A, E, R>(
    operation: Audited,
    payload: object,
    change: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R | CurrentCaller>
  /** Records a stream when it begins, because it has no end to wait for. */
  readonly begun: (name: string, payload: object) => Effect.Effect<void, never, CurrentCaller>
}>()("columba/http/AuditTrail") {
  static readonly layer = Layer.effect(
    AuditTrail,
    Effect.gen(function*() {
      const log = yield* EventLog
      const clock = yield* Clock.Clock
      const record = (data: AuditData): void => {
        const now = clock.currentTimeMillisUnsafe()
        log.push(
          {
            id: makeEventId(now),
            kind: auditKind,
            deviceId: fleetDevice,
            occurredAt: new Date(now).toISOString(),
            via: "columba",
            data,
            identity: null,
            aliases: []
          } satisfies EventDraft
        )
      }
      return AuditTrail.of({
        audit: (operation, payload, change) =>
          Effect.flatMap(CurrentCaller, ({ id, name: by }) =>
            id === null ? change : change.pipe(
              Effect.onExit((exit) =>
                Effect.sync(() => {
                  const outcome = judge(exit)
                  const made = Exit.isSuccess(exit) ? exit.value : null
                  if (outcome !== null) record({ by, outcome, ...describe(operation, payload, made) })
                })
              ),
              Effect.tap(log.flush)
            )),
        begun: (name, payload) =>
          Effect.flatMap(CurrentCaller, ({ id, name: by }) => {
            if (id === null) return Effect.void
            const operation = { name, audited: [], endpoint: { path: "/:id" } }
            record({ by, outcome: "done", ...describe(operation, payload, null) })
            return log.flush
          })
      })
    })
  )
}

/** Reads and sends are not recorded: a message is in the log itself. */
export const isAudited = ({ endpoint, scope }: AnyOperation): boolean =>
  endpoint.method !== "GET" && (scope === "manage" || scope === "admin")

/** Failures after which something may have been changed. */
const uncertain = new Set(["StorageUnavailable", "GatewayUnavailable"])

/** Null if nothing was changed. */
const judge = (exit: Exit.Exit<unknown, unknown>): AuditData["outcome"] | null => {
  if (Exit.isSuccess(exit)) return "done"
  const failure = exit.cause.reasons.find(Cause.isFailReason)?.error
  return failure === undefined || uncertain.has(readText(failure, "_tag") ?? "") ? "unknown" : null
}

const readText = (value: unknown, field: string): string | null => {
  const found: unknown = typeof value === "object" && value !== null ? Reflect.get(value, field) : null
  return typeof found === "string" ? found : null
}

const describe = (
  { audited, endpoint, name }: Audited,
  payload: object,
  made: unknown
): Pick<AuditData, "operation" | "subject" | "fields" | "values"> => {
  const given = Object.entries(payload).filter(([, value]) => value !== undefined)
  // The subject is the field that names the changed object.
  const parameters: ReadonlyArray<string> = endpoint.path.match(/(?<=:)\w+/g) ?? []
  return {
    operation: name,
    subject: readText(payload, "id") ?? readText(made, "id") ?? readText(made, "name") ?? readText(payload, "name"),
    fields: given.map(([field]) => field).filter((field) => !parameters.includes(field)),
    values: Object.fromEntries(given.filter(([field]) => audited.includes(field)))
  }
}
