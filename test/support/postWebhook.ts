/** Posts webhooks of the scripted gateway, as any gateway would. */
import type { Effect } from "effect"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { sign, signatureHeader } from "./scriptedWebhooks.ts"
import type { ScriptedPost } from "./scriptedWebhooks.ts"
import { ask } from "./surface.ts"
import type { Json } from "./surface.ts"

export interface PostOptions {
  /** Null: not signed. */
  readonly secret: string | null
  readonly gateway?: string
  /** The device of the address. */
  readonly device?: DeviceId
  readonly headers?: Readonly<Record<string, string>>
}

/** Posts once, as a gateway would. The body is sent unchanged. */
export const post = (
  server: string,
  body: ScriptedPost | string,
  { device, gateway = "default", headers = {}, secret }: PostOptions
): Effect.Effect<{ readonly status: number; readonly headers: Headers; readonly body: Json }> => {
  const text = typeof body === "string" ? body : JSON.stringify(body)
  return ask(`${server}/webhooks/${gateway}${device === undefined ? "" : `?device=${device}`}`, {
    method: "POST",
    body: text,
    headers: {
      "content-type": "application/json",
      ...(secret === null ? {} : { [signatureHeader]: sign(text, secret) }),
      ...headers
    }
  })
}
