/**
 * Parsers of the settings' values. Each function is pure and returns null where the text is not acceptable; the table of
 * variables holds the description of what is expected.
 */
import { ByteSize, Duration, Option, Redacted, Schema } from "effect"
import { Scope } from "../contracts/Authorization.ts"
import { DeviceId } from "../domain/Ids.ts"
import type { ApiKey } from "../services/ApiKeys.ts"

export const Role = Schema.Literals(["api", "devices", "consumer", "scheduler"])
export type Role = typeof Role.Type

export const urlWith = (protocols: ReadonlyArray<string>) => (given: string): URL | null => {
  const url = URL.parse(given)
  return url !== null && protocols.includes(url.protocol) && url.hostname !== "" ? url : null
}

/** The former system wrote `postgresql+asyncpg://`, and `ssl` for `sslmode`. */
export const postgresUrl = (given: string): Redacted.Redacted<string> | null => {
  const url = urlWith(["postgres:", "postgresql:"])(given.replace(/^postgres(?:ql)?\+[a-z0-9]+:/, "postgresql:"))
  if (url === null) return null
  const ssl = url.searchParams.get("ssl")
  if (ssl !== null) {
    url.searchParams.delete("ssl")
    url.searchParams.set("sslmode", ssl === "true" ? "require" : ssl === "false" ? "disable" : ssl)
  }
  return Redacted.make(url.href)
}

export const amqpUrl = (given: string): Redacted.Redacted<string> | null =>
  urlWith(["amqp:", "amqps:"])(given) === null ? null : Redacted.make(given)

export const redisUrl = (given: string): Redacted.Redacted<string> | null =>
  urlWith(["redis:", "rediss:"])(given) === null ? null : Redacted.make(given)

const isRole = Schema.is(Role)
const isScope = Schema.is(Scope)
const isDeviceId = Schema.is(DeviceId)

export const roles = (given: string): ReadonlySet<Role> | null => {
  const words = given.split(",").map((word) => word.trim()).filter((word) => word !== "")
  return words.length > 0 && words.every(isRole) ? new Set(words) : null
}
export const allRoles: ReadonlySet<Role> = new Set(Role.literals)

export const OtlpProtocol = Schema.Literals(["grpc", "http/protobuf"])
export const TraceSampler = Schema.Literals([
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio"
])

/** A share from 0 to 1. */
export const share = (given: string): number | null => {
  const number = given === "" ? Number.NaN : Number(given)
  return number >= 0 && number <= 1 ? number : null
}

export const httpUrl = urlWith(["http:", "https:"])

/** Without a slash at its end, since paths are appended. */
export const publicUrl = (given: string): string | null => {
  const url = httpUrl(given)
  return url === null || url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== ""
    ? null
    : url.href.replace(/\/+$/, "")
}

/** Shorter keys can be guessed over a network. */
export const apiKeyLengthMin = 16

export const apiKeys = (given: string): ReadonlyArray<ApiKey> | null => {
  const entries = given.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "")
  const keys = entries.flatMap((entry): ReadonlyArray<ApiKey> => {
    const [, name, scopeList, deviceList, key] = /^([\w.-]+):([a-z+]+):(?:([^:]*):)?([^\s:]+)$/.exec(entry) ?? []
    const scopes = scopeList?.split("+") ?? []
    const devices = deviceList?.split("+")
    return name !== undefined && key !== undefined && key.length >= apiKeyLengthMin && scopes.every(isScope) &&
        (devices === undefined || devices.every(isDeviceId))
      ? [{ name, scopes, devices, key: Redacted.make(key) }]
      : []
  })
  const unique = new Set(keys.map(({ key }) => Redacted.value(key))).size === keys.length
  return keys.length === entries.length && keys.length > 0 && unique ? keys : null
}

/** Origins exactly as browsers send them. `*` is refused: origins that may call with a key are named. */
export const corsOrigins = (given: string): ReadonlyArray<string> | null => {
  const origins = given.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "")
  return origins.length > 0 && origins.every((entry) => httpUrl(entry)?.origin === entry) ? origins : null
}

/** More modules than this in one process are a mistake. */
const pathsMax = 16

export const paths = (given: string): ReadonlyArray<string> | null => {
  const entries = given.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "")
  return entries.length > 0 && entries.length <= pathsMax ? entries : null
}

/** `off` keeps events forever. */
export const retention = (given: string): Duration.Duration | null =>
  /^(off|never|forever)$/i.test(given)
    ? Duration.infinity
    : Option.getOrNull(Option.filter(Duration.fromInput(given as Duration.Input), Duration.isPositive))

/** A whole number of bytes, within the range of a JavaScript number. */
export const byteSize = (given: string): number | null =>
  Option.getOrNull(
    ByteSize.fromString(given).pipe(Option.flatMap(ByteSize.toNumber), Option.filter((bytes) => bytes > 0))
  )

export const count = (max: number) => (given: string): number | null =>
  /^\d{1,6}$/.test(given) && Number(given) <= max ? Number(given) : null

/** The demo is for watching; a load test adds its own devices. */
export const demoDevicesMax = 10_000

/** A name or an address of another machine, as a socket takes it. */
export const nodeHost = (given: string): string | null => /^[\w.:-]+$/.test(given) ? given : null

/** The system uses ports from 32768 on for outgoing connections, of which a process with thousands of sockets has many. */
const nodePortMax = 32_767

export const nodePort = (given: string): number | null => {
  const port = count(nodePortMax)(given)
  return port === 0 ? null : port
}

/** Above this time, the broker would take a message back before its handler has failed. */
const handlerTimeoutMax = Duration.minutes(15)

export const handlerTimeout = (given: string): Duration.Duration | null =>
  durationWithin(given, Duration.seconds(1), handlerTimeoutMax)

/** Each stream takes an open file, of which a process has some ten thousands. */
const streamsMin = 10
const streamsMax = 20_000

export const streams = (given: string): number | null => {
  const wanted = count(streamsMax)(given)
  return wanted !== null && wanted >= streamsMin ? wanted : null
}

/** The minimum weight. A node that should run no devices lacks the role `devices` instead. */
const nodeWeightMin = 0.1
const nodeWeightMax = 10

export const nodeWeight = (given: string): number | null => {
  const weight = /^\d+(\.\d+)?$/.test(given) ? Number(given) : Number.NaN
  return weight >= nodeWeightMin && weight <= nodeWeightMax ? weight : null
}

/** Below this time, a third of the lease is shorter than one attempt at a database that does not answer. */
const clusterLeaseMin = Duration.seconds(6)
const clusterLeaseMax = Duration.minutes(5)

export const clusterLease = (given: string): Duration.Duration | null =>
  durationWithin(given, clusterLeaseMin, clusterLeaseMax)

const durationWithin = (
  given: string,
  minimum: Duration.Duration,
  maximum: Duration.Duration
): Duration.Duration | null => {
  const time = Option.getOrNull(Duration.fromInput(given as Duration.Input))
  return time !== null && Duration.between(time, { minimum, maximum }) ? time : null
}
