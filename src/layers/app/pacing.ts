/** The rates of accounts, shared over Redis where it is set. */
import { Effect, Layer } from "effect"
import type { Readiness } from "../../services/Readiness.ts"
import type { Settings } from "../Settings.ts"

/**
 * `SharedPacing` where messages are sent, and where callers ask what they wait for; nothing without the setting. Building does
 * not wait for Redis.
 */
export const sharedPacing = ({ redisUrl, roles }: Settings): Layer.Layer<never, never, Readiness> =>
  redisUrl === null || !(roles.has("devices") || roles.has("api"))
    ? Layer.empty
    : Layer.unwrap(
      Effect.map(Effect.promise(() => import("../redis/RedisPacing.ts")), (RedisPacing) => RedisPacing.layer(redisUrl))
    )
