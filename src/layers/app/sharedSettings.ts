/** The settings that must be the same on all processes of a cluster, in a form without secrets. */
import { Duration, Redacted } from "effect"
import { createHash } from "node:crypto"
import { formatPacing } from "../../domain/Pacing.ts"
import type { SecretKey } from "../../services/SecretSeal.ts"
import type { Settings } from "../Settings.ts"
import { redactedAddress } from "./addresses.ts"

/** Keyed by the variable's name. A process that runs no devices needs no broker, gateway or files. */
export const sharedSettings = (settings: Settings): Readonly<Record<string, string>> => {
  const { cluster, gateway, media, pacing, publicUrl, rabbitUrl, redisUrl, retention, roles, secretKeys } = settings
  return {
    COLUMBA_CLUSTER_LEASE: cluster === null ? "none" : Duration.format(cluster.lease),
    COLUMBA_SECRET_KEY: secretKeys.map(fingerprint).join(", ") || "none",
    COLUMBA_PUBLIC_URL: publicUrl ?? "none",
    COLUMBA_PACING: formatPacing(pacing),
    ...!roles.has("devices") ? {} : {
      RABBITMQ_URL: rabbitUrl === null ? "none" : redactedAddress(rabbitUrl),
      REDIS_URL: redisUrl === null ? "none" : redactedAddress(redisUrl),
      WHATSAPP_API_URL: gateway._tag === "Configured" ? `${gateway.dialect} at ${gateway.url.host}` : "none",
      COLUMBA_MEDIA: media === null ? "off" : `keep for ${Duration.format(media.keep)}`
    },
    ...roles.has("scheduler") ? { COLUMBA_RETENTION: retention === null ? "off" : Duration.format(retention) } : {}
  }
}

/** Eight digits of a hash: enough to distinguish two keys of 32 random bytes, too few to find one. */
const fingerprint = (key: SecretKey): string =>
  createHash("sha256").update("columba shared setting").update(Redacted.value(key)).digest("hex").slice(0, 8)
