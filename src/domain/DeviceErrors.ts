/**
 * Failures of device operations that a caller can act on. The static constructor of each builds its message, a
 * sentence for people.
 */
import { Schema } from "effect"

export class DeviceNotFound extends Schema.TaggedError<DeviceNotFound>()("DeviceNotFound", {
  message: Schema.String,
  id: Schema.String
}, { httpApiStatus: 404 }) {
  static of(id: string): DeviceNotFound {
    return new DeviceNotFound({ id, message: `No device ${id}` })
  }
}

export class GatewayUnknown extends Schema.TaggedError<GatewayUnknown>()("GatewayUnknown", {
  message: Schema.String,
  gateway: Schema.String,
  known: Schema.Array(Schema.String)
}, { httpApiStatus: 422 }) {
  static of(gateway: string, known: ReadonlyArray<string>): GatewayUnknown {
    const message = known.length === 0
      ? "There is no gateway yet; set WHATSAPP_API_URL, or add one: columba gateways add, POST /api/v1/gateways"
      : `No gateway '${gateway}'; there are: ${known.join(", ")}`
    return new GatewayUnknown({ gateway, known, message })
  }
}

/** Another device already holds this slot of the gateway. */
export class UpstreamIdTaken extends Schema.TaggedError<UpstreamIdTaken>()("UpstreamIdTaken", {
  message: Schema.String,
  gateway: Schema.String,
  upstreamId: Schema.String,
  /** The device that holds the slot. */
  deviceId: Schema.String
}, { httpApiStatus: 409 }) {
  static of(gateway: string, upstreamId: string, deviceId: string): UpstreamIdTaken {
    const message = `Slot '${upstreamId}' of gateway '${gateway}' belongs to device ${deviceId}`
    return new UpstreamIdTaken({ gateway, upstreamId, deviceId, message })
  }
}

/** The operation is not possible in the device's current `state`. */
export class DeviceStateConflict extends Schema.TaggedError<DeviceStateConflict>()("DeviceStateConflict", {
  message: Schema.String,
  id: Schema.String,
  operation: Schema.String,
  state: Schema.String
}, { httpApiStatus: 409 }) {
  static of(id: string, operation: string, state: string): DeviceStateConflict {
    const message = `Cannot ${operation} device ${id} while it is ${state}`
    return new DeviceStateConflict({ id, operation, state, message })
  }
}

/**
 * The node of the cluster that holds the device did not answer in time: it may have ended a moment ago, and another
 * node takes over. Whether it has acted on the request is not known.
 */
export class DeviceUnreachable extends Schema.TaggedError<DeviceUnreachable>()("DeviceUnreachable", {
  message: Schema.String,
  id: Schema.String
}, { httpApiStatus: 503 }) {
  static of(id: string): DeviceUnreachable {
    return new DeviceUnreachable({
      id,
      message: `The node that holds device ${id} did not answer in time; try again in some seconds`
    })
  }

  /** The device's node answers, but runs no actor of the device. */
  static ofNoActor(id: string): DeviceUnreachable {
    return new DeviceUnreachable({
      id,
      message:
        `No node runs device ${id} at the moment: it is being started or moved, or its gateway cannot be used; ` +
        "columba devices explain says which, and trying again in some seconds may succeed"
    })
  }
}

/** The gateway did not answer, or its answer could not be understood. A later retry may succeed. */
export class GatewayUnavailable extends Schema.TaggedError<GatewayUnavailable>()("GatewayUnavailable", {
  message: Schema.String,
  gateway: Schema.String,
  operation: Schema.String
}, { httpApiStatus: 502 }) {
  static of(gateway: string, operation: string, detail: string): GatewayUnavailable {
    return new GatewayUnavailable({
      gateway,
      operation,
      message: `Gateway '${gateway}' failed to ${operation}: ${detail}`
    })
  }
}

/**
 * The database is unavailable or refused the statement. Nothing was written. Callers get at most the class of the
 * cause.
 */
export class StorageUnavailable extends Schema.TaggedError<StorageUnavailable>()("StorageUnavailable", {
  message: Schema.String,
  operation: Schema.String
}, { httpApiStatus: 503 }) {
  static of(operation: string, refusal: string | null = null): StorageUnavailable {
    const message = refusal === null
      ? `The database did not answer while trying to ${operation}; nothing was changed`
      : `The database refused to ${operation} (${refusal}); nothing was changed`
    return new StorageUnavailable({ operation, message })
  }
}
