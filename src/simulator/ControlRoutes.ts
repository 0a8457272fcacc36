/**
 * The control API by which another process drives the simulator: JSON under `/__sim/`, without authentication, since a
 * simulator has nothing to protect. The ledger and the record of the sockets are returned as NDJSON.
 */
import { Result, Schema } from "effect"
import { Fault } from "./FaultPlan.ts"
import { json as reply, plain, type Reply } from "./http.ts"
import type { SimulatorCore } from "./SimulatorCore.ts"

const EmitBody = Schema.Struct({
  devices: Schema.optionalKey(Schema.Array(Schema.String)),
  count: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThan(0))),
  rate: Schema.optionalKey(Schema.Finite.check(Schema.isGreaterThan(0))),
  speed: Schema.optionalKey(Schema.Finite.check(Schema.isGreaterThan(0))),
  /** Whether to answer only after all events have been emitted. */
  wait: Schema.optionalKey(Schema.Boolean)
})
const DevicesBody = Schema.Struct({
  count: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100_000 })),
  prefix: Schema.optionalKey(Schema.String)
})
const EventBody = Schema.Struct({
  device: Schema.String,
  event: Schema.String,
  payload: Schema.Record(Schema.String, Schema.Unknown)
})
const RawBody = Schema.Struct({ device: Schema.String, text: Schema.String })
const DeviceBody = Schema.Struct({ device: Schema.String })
const RestartBody = Schema.Struct({ millis: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 600_000 })) })
/** The text that is scanned or typed in; without it, the code that the slot shows. */
const ScanBody = Schema.Struct({
  device: Schema.String,
  text: Schema.optionalKey(Schema.String),
  passkey: Schema.optionalKey(Schema.Boolean)
})
const StatusBody = Schema.Struct({ device: Schema.String, status: Schema.NullOr(Schema.String) })

const decodeEmit = Schema.decodeUnknownResult(EmitBody)
const decodeDevices = Schema.decodeUnknownResult(DevicesBody)
const decodeEvent = Schema.decodeUnknownResult(EventBody)
const decodeRaw = Schema.decodeUnknownResult(RawBody)
const decodeDevice = Schema.decodeUnknownResult(DeviceBody)
const decodeRestart = Schema.decodeUnknownResult(RestartBody)
const decodeScan = Schema.decodeUnknownResult(ScanBody)
const decodeStatus = Schema.decodeUnknownResult(StatusBody)
const decodeFault = Schema.decodeUnknownResult(Fault)

/** Maximum number of lines in one answer. The next page starts after the `n` of the last line. */
const pageMax = 100_000

const json = (value: unknown): Reply => reply(200, value)

const invalid = (error: unknown): Reply => plain(400, String(error))

const unknownDevice = (id: string): Reply => plain(404, `no device ${id}`)

/** Calls `done` once: immediately, or at the end of a job that the caller waits for. */
export const control = (
  core: SimulatorCore,
  method: string,
  url: URL,
  body: unknown,
  done: (reply: Reply) => void
): void => {
  const path = url.pathname.slice("/__sim/".length)
  if (method === "POST" && path === "emit") return emit(core, body, done)
  done(answer(core, method, path, url, body))
}

const emit = (core: SimulatorCore, body: unknown, done: (reply: Reply) => void): void => {
  const decoded = decodeEmit(body ?? {})
  if (Result.isFailure(decoded)) return done(invalid(decoded.failure))
  const { wait, ...request } = decoded.success
  if (wait === true) core.emit(request, () => done(json(core.stats())))
  else done(json({ job: core.emit(request) }))
}

const answer = (core: SimulatorCore, method: string, path: string, url: URL, body: unknown): Reply => {
  switch (`${method} ${path}`) {
    case "GET stats":
      return json(core.stats())
    case "GET ledger":
      return page(core.ledger, url)
    case "GET sockets":
      return page(core.sockets, url)
    case "GET faults":
      return json(core.faults.active(core.now()))
    case "POST faults": {
      const fault = decodeFault(body)
      return Result.isFailure(fault) ? invalid(fault.failure) : json({ id: core.applyFault(fault.success) })
    }
    case "DELETE faults":
      core.clearFaults(numberIn(url, "id"))
      return json(core.stats())
    case "POST crash":
      // After the answer, which a crashed process would not send.
      setImmediate(() => core.crash())
      return json({})
    case "POST restart": {
      const asked = decodeRestart(body)
      if (Result.isFailure(asked)) return invalid(asked.failure)
      setImmediate(() => core.restart(asked.success.millis))
      return json({})
    }
    case "DELETE emit":
      core.emitter.stop(numberIn(url, "job"))
      return json(core.stats())
    case "POST devices": {
      const asked = decodeDevices(body)
      if (Result.isFailure(asked)) return invalid(asked.failure)
      return json({ devices: core.addDevices(asked.success.count, asked.success.prefix) })
    }
    case "POST event": {
      const asked = decodeEvent(body)
      if (Result.isFailure(asked)) return invalid(asked.failure)
      const device = core.devices.get(asked.success.device)
      if (device === undefined) return unknownDevice(asked.success.device)
      core.emitter.emit(device, asked.success.event, asked.success.payload)
      return json({ seq: device.seq })
    }
    case "POST raw": {
      const asked = decodeRaw(body)
      if (Result.isFailure(asked)) return invalid(asked.failure)
      const device = core.devices.get(asked.success.device)
      if (device === undefined) return unknownDevice(asked.success.device)
      core.emitter.sendRaw(device, asked.success.text)
      return json({ sockets: device.sockets.size })
    }
    case "POST status": {
      const asked = decodeStatus(body)
      if (Result.isFailure(asked)) return invalid(asked.failure)
      const device = core.devices.get(asked.success.device)
      if (device === undefined) return unknownDevice(asked.success.device)
      const { status } = asked.success
      return core.dialect.force?.(device, status) === true ? json({ status }) : plain(400, "no such status here")
    }
    case "POST scan": {
      const asked = decodeScan(body)
      if (Result.isFailure(asked)) return invalid(asked.failure)
      const device = core.devices.get(asked.success.device)
      if (device === undefined) return unknownDevice(asked.success.device)
      const scanned = core.pairings.scan(device, asked.success.text, asked.success.passkey ?? false)
      return reply(scanned === "paired" || scanned === "passkey" ? 200 : 409, { scanned, jid: device.jid })
    }
    case "POST pair":
    case "POST logout":
    case "POST disconnect":
    case "POST replace":
    case "POST ban":
      return account(core, path, body)
    default:
      return plain(404, "Not Found")
  }
}

const account = (core: SimulatorCore, command: string, body: unknown): Reply => {
  const asked = decodeDevice(body)
  if (Result.isFailure(asked)) return invalid(asked.failure)
  const device = core.devices.get(asked.success.device)
  if (device === undefined) return unknownDevice(asked.success.device)
  if (command === "pair") core.pair(device)
  else if (command === "logout") core.logOut(device)
  else if (command === "replace") core.replace(device)
  else if (command === "ban") core.ban(device)
  else core.disconnect(device)
  return json({ jid: device.jid })
}

const page = (record: { readonly page: (after: number, limit: number) => string }, url: URL): Reply => ({
  status: 200,
  body: record.page(numberIn(url, "after") ?? 0, Math.min(numberIn(url, "limit") ?? pageMax, pageMax)),
  headers: { "content-type": "application/x-ndjson" }
})

const numberIn = (url: URL, name: string): number | undefined => {
  const text = url.searchParams.get(name)
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}
