/** Server addresses without their secrets. */
import { Redacted } from "effect"
import type { Settings } from "../Settings.ts"

/** The address of a database or broker, without the secrets of its URL. */
export const redactedAddress = (url: Redacted.Redacted<string>): string => {
  const { host, pathname } = new URL(Redacted.value(url))
  return `${host}${pathname === "/" ? "" : pathname}`
}

export const describeDatabase = (database: Settings["database"]): string =>
  database._tag === "Embedded" ? `embedded in ${database.dataDir}` : `Postgres at ${redactedAddress(database.url)}`
