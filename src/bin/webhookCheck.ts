/**
 * The check `webhooks` of `columba doctor`: whether the gateway of the settings can post its events to Columba, and if
 * not, what to set where.
 */
import { Effect, Redacted } from "effect"
import type { Settings } from "../layers/Settings.ts"
import { gatewayWebhookUrl } from "../services/PublicAddress.ts"
import type { WhatsAppGateway } from "../services/WhatsAppGateway.ts"
import { ok, warning } from "./finding.ts"
import type { Finding } from "./finding.ts"

const name = "webhooks"

/** The secret with which some gateways sign when none was chosen: it is public. */
const knownSecret = "secret"

/** An answer through a proxy takes less; meanwhile the other findings are visible. */
const answerMillis = 4000

export interface Configured {
  readonly settings: Pick<Settings, "publicUrl" | "secretKeys" | "database">
  readonly webhookSecret: Redacted.Redacted | null
}

/** Null if the gateway sends none. */
export const checkWebhooks = (
  { capabilities, ingest, name: gateway, webhook }: WhatsAppGateway,
  { settings, webhookSecret }: Configured
): Effect.Effect<Finding | null> => {
  if (ingest === undefined || webhook === undefined) return Effect.succeed(null)
  const { publicUrl } = settings
  const url = gatewayWebhookUrl(publicUrl, gateway)
  const byHand = `${webhook.instructions(url)}; here set WHATSAPP_WEBHOOK_SECRET to the same secret`
  if (webhookSecret !== null && Redacted.value(webhookSecret) === knownSecret) {
    const detail = "WHATSAPP_WEBHOOK_SECRET is what gateways sign with when no secret was chosen: anyone can forge it"
    return Effect.succeed(warning(name, detail, "choose another one at the gateway and here: openssl rand -hex 32"))
  }
  if (publicUrl === null) {
    if (webhookSecret !== null) {
      return Effect.succeed(ok(name, `set by hand at the gateway: ${webhook.instructions(url)}`))
    }
    return Effect.succeed(
      capabilities.liveEvents === "session"
        ? ok(name, "not used; live events come by the session")
        : warning(
          name,
          "the gateway has not been told where to post its events, and it sends messages in no other way",
          `set COLUMBA_PUBLIC_URL to where the gateway reaches Columba; or by hand: ${byHand}`
        )
    )
  }
  if (settings.database._tag === "Postgres" && settings.secretKeys.length === 0 && webhookSecret === null) {
    return Effect.succeed(
      warning(
        name,
        "there is no key to make the secrets of devices from, so no webhook can be set",
        `set COLUMBA_SECRET_KEY (openssl rand -base64 32) in every process; or by hand: ${byHand}`
      )
    )
  }
  return Effect.map(postUnsigned(url), (answer) => judge(url, answer))
}

/** The kinds of answers there. Columba refuses unsigned requests with its own message. */
type Answer =
  | { readonly _tag: "Columba" }
  | { readonly _tag: "Other"; readonly status: number }
  | { readonly _tag: "Nothing"; readonly reason: string }

const postUnsigned = (url: string): Effect.Effect<Answer> =>
  Effect.tryPromise({
    try: async (signal): Promise<Answer> => {
      const response = await fetch(url, {
        method: "POST",
        body: "{}",
        headers: { "content-type": "application/json" },
        redirect: "manual",
        signal
      })
      const text = await response.text()
      return response.status === 401 && text.includes("WebhookUnsigned")
        ? { _tag: "Columba" }
        : { _tag: "Other", status: response.status }
    },
    catch: readReason
  }).pipe(
    Effect.timeoutOrElse({
      duration: answerMillis,
      orElse: () => Effect.fail(`no answer within ${answerMillis / 1000} s`)
    }),
    Effect.catch((reason) => Effect.succeed<Answer>({ _tag: "Nothing", reason }))
  )

const judge = (url: string, answer: Answer): Finding => {
  switch (answer._tag) {
    case "Columba":
      return ok(name, `${url} is answered by Columba, as seen from here; Columba sets it at the gateway by itself`)
    case "Other":
      return warning(
        name,
        `${url} is answered with status ${answer.status}, which is not Columba's answer to what is not signed`,
        "look at the proxy in front of Columba: it must pass on POST /webhooks/ with the body unchanged"
      )
    case "Nothing":
      return warning(
        name,
        `${url} does not answer (${answer.reason})`,
        "start Columba; if it runs, look at COLUMBA_PUBLIC_URL, the name and the proxy in front of it"
      )
  }
}

const readReason = (error: unknown): string => {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error && "code" in cause ? String(cause.code) : "the connection failed"
}
