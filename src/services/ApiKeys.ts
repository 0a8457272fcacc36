/**
 * The configured API keys. Without any, every caller may do everything; that is only accepted on a loopback address,
 * which no other machine can reach.
 */
import { Context, Redacted } from "effect"
import type { Scope, VisibleDevices } from "../contracts/Authorization.ts"

export interface ApiKey {
  /** For people and logs. It reveals nothing about the key. */
  readonly name: string
  readonly scopes: ReadonlyArray<Scope>
  /** The devices it is limited to; undefined for all. */
  readonly devices: VisibleDevices
  readonly key: Redacted.Redacted<string>
}

export class ApiKeys extends Context.Service<ApiKeys, {
  readonly keys: ReadonlyArray<ApiKey>
}>()("columba/services/ApiKeys") {}

/** `127.0.0.0/8`, `::1` (also as IPv4 in IPv6) and `localhost`. Accepts brackets as in URLs. */
export const isLoopback = (host: string): boolean => {
  const bare = host.replace(/^\[|\]$/g, "").toLowerCase()
  return bare === "localhost" || bare.endsWith(".localhost") || bare === "::1" || bare === "0:0:0:0:0:0:0:1" ||
    /^(::ffff:)?127(\.\d{1,3}){3}$/.test(bare)
}
