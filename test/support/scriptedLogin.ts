/** The login of a scripted gateway: numbered codes, and the test decides their outcome. */
import { Effect, Redacted } from "effect"
import { GatewayUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { GatewayName } from "../../src/domain/Ids.ts"
import { LoginRefused } from "../../src/services/GatewayParts.ts"
import type { Login, LoginProgress, LoginRequest } from "../../src/services/GatewayParts.ts"

export class ScriptedLogin implements Login {
  readonly methods: ReadonlySet<LoginRequest["method"]> = new Set(["qr", "code"])
  /** The requests, in order. */
  readonly begun: Array<LoginRequest["method"]> = []
  looks = 0
  loggedOut = 0
  millis = 60_000
  progress: LoginProgress = { _tag: "Waiting" }
  /** How the next requests are refused, one each. */
  refusals: Array<LoginRefused["reason"] | "away"> = []
  /** The maximum number of requests that were ever in flight at once. */
  atOnce = 0
  #now = 0
  /** While set, requests get no answer. */
  held: Effect.Effect<void> = Effect.void

  readonly begin: Login["begin"] = (_target, request) =>
    Effect.gen({ self: this }, function*() {
      this.begun.push(request.method)
      this.#now++
      this.atOnce = Math.max(this.atOnce, this.#now)
      yield* Effect.ensuring(this.held, Effect.sync(() => this.#now--))
      const refusal = this.refusals.shift()
      if (refusal === "away") {
        return yield* GatewayUnavailable.of("default" as GatewayName, "begin a login", "it is away")
      }
      if (refusal !== undefined) return yield* new LoginRefused({ reason: refusal, message: `refused: ${refusal}` })
      // A new attempt: the outcome of the last one does not apply to it.
      if (this.progress._tag === "Ended") this.progress = { _tag: "Waiting" }
      return request.method === "qr"
        ? { _tag: "Qr" as const, text: Redacted.make(`SECRET-${this.begun.length}`), png: null, millis: this.millis }
        : { _tag: "Code" as const, code: Redacted.make(`ABCD-000${this.begun.length}`), millis: this.millis }
    })

  readonly look: Login["look"] = () =>
    Effect.sync(() => {
      this.looks++
      return this.progress
    })

  readonly logOut: Login["logOut"] = () =>
    Effect.sync(() => {
      this.loggedOut++
    })
}
