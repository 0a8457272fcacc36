/** Devices over HTTP. */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Device } from "../domain/Device.ts"
import {
  DeviceStateConflict,
  GatewayUnavailable,
  GatewayUnknown,
  StorageUnavailable,
  UpstreamIdTaken
} from "../domain/DeviceErrors.ts"
import { Explanation } from "../domain/Explanation.ts"
import { CursorInvalid } from "../domain/MessageErrors.ts"
import { RequiredScope } from "./Authorization.ts"
import {
  CreateDeviceFields,
  DeviceConnection,
  deviceErrors,
  DeviceIdField,
  DevicePage,
  DeviceStatus,
  ListDevicesFields,
  RenameDeviceFields
} from "./Payloads.ts"

const create = HttpApiEndpoint.post("create", "/devices", {
  payload: Schema.Struct(CreateDeviceFields),
  success: Device.pipe(HttpApiSchema.status(201)),
  error: [GatewayUnknown, GatewayUnavailable, UpstreamIdTaken, StorageUnavailable]
}).annotate(RequiredScope, "manage")
  .annotate(OpenApi.Description, "Adds a device, and creates its slot at the gateway where that lacks it.")

const list = HttpApiEndpoint.get("list", "/devices", {
  query: ListDevicesFields,
  success: DevicePage,
  error: [CursorInvalid, StorageUnavailable]
}).annotate(RequiredScope, "read").annotate(OpenApi.Description, "Devices, oldest first.")

const get = HttpApiEndpoint.get("get", "/devices/:id", {
  params: DeviceIdField,
  success: Device,
  error: deviceErrors
}).annotate(RequiredScope, "read")

const rename = HttpApiEndpoint.patch("rename", "/devices/:id", {
  params: DeviceIdField,
  payload: Schema.Struct(RenameDeviceFields),
  success: Device,
  error: deviceErrors
}).annotate(RequiredScope, "manage")

const deactivate = HttpApiEndpoint.delete("deactivate", "/devices/:id", {
  params: DeviceIdField,
  success: Device,
  error: deviceErrors
}).annotate(RequiredScope, "manage")
  .annotate(OpenApi.Description, "Stops the device and keeps all it has. Doing it twice changes nothing.")

const reactivate = HttpApiEndpoint.post("reactivate", "/devices/:id/reactivate", {
  params: DeviceIdField,
  success: Device,
  error: deviceErrors
}).annotate(RequiredScope, "manage")

const reconnect = HttpApiEndpoint.post("reconnect", "/devices/:id/reconnect", {
  params: DeviceIdField,
  success: Device,
  error: [...deviceErrors, DeviceStateConflict]
}).annotate(RequiredScope, "manage")
  .annotate(OpenApi.Description, "Has the device drop its connection and open a new one.")

const release = HttpApiEndpoint.post("release", "/devices/:id/release", {
  params: DeviceIdField,
  success: Device,
  error: [...deviceErrors, DeviceStateConflict]
}).annotate(RequiredScope, "manage").annotate(OpenApi.Description, "Lets a quarantined device out at once.")

const status = HttpApiEndpoint.get("status", "/devices/:id/status", {
  params: DeviceIdField,
  success: DeviceStatus,
  error: [...deviceErrors, GatewayUnknown, GatewayUnavailable]
}).annotate(RequiredScope, "read")
  .annotate(OpenApi.Description, "Asks the gateway first, and stores the JID and phone it names.")

const connection = HttpApiEndpoint.get("connection", "/devices/:id/connection", {
  params: DeviceIdField,
  success: DeviceConnection,
  error: deviceErrors
}).annotate(RequiredScope, "read")

const explain = HttpApiEndpoint.get("explain", "/devices/:id/explain", {
  params: DeviceIdField,
  success: Explanation,
  error: deviceErrors
}).annotate(RequiredScope, "read")
  .annotate(OpenApi.Description, "Why the device is in this state, what happens next, when, and how to mend it.")

export const DevicesApi = HttpApiGroup.make("devices")
  .add(create, list, get, rename, deactivate, reactivate, reconnect, release, status, connection, explain)
