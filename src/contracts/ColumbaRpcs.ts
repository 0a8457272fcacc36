/**
 * The same operations as HTTP, with the same requests and answers, and the two streams HTTP cannot offer as well.
 * `columba/client` wraps this group; the dashboard and other Effect programs use that.
 */
import { Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"
import { Device } from "../domain/Device.ts"
import {
  DeviceNotFound,
  DeviceStateConflict,
  GatewayUnavailable,
  GatewayUnknown,
  StorageUnavailable,
  UpstreamIdTaken
} from "../domain/DeviceErrors.ts"
import { Explanation } from "../domain/Explanation.ts"
import { Message } from "../domain/Message.ts"
import { CursorInvalid, EventsExpired, MessageNotFound } from "../domain/MessageErrors.ts"
import { RequiredScope, RpcAuthorization } from "./Authorization.ts"
import { TooManyStreams } from "./Failures.ts"
import {
  CreateDeviceFields,
  DeviceConnection,
  DeviceIdField,
  DevicePage,
  DeviceStatus,
  EventsItem,
  EventsPage,
  FollowEventsFields,
  ListDevicesFields,
  ListMessagesFields,
  MessageIdField,
  MessagePage,
  ReadEventsFields,
  RenameDeviceFields,
  ServerInfo,
  WatchItem
} from "./Payloads.ts"

const DeviceErrors = Schema.Union([DeviceNotFound, StorageUnavailable])
const DeviceCommandErrors = Schema.Union([DeviceNotFound, DeviceStateConflict, StorageUnavailable])

const StreamErrors = Schema.Union([EventsExpired, StorageUnavailable, TooManyStreams])

const devices = RpcGroup.make(
  Rpc.make("Devices.Create", {
    payload: CreateDeviceFields,
    success: Device,
    error: Schema.Union([GatewayUnknown, GatewayUnavailable, UpstreamIdTaken, StorageUnavailable])
  }).annotate(RequiredScope, "manage"),
  Rpc.make("Devices.List", {
    payload: ListDevicesFields,
    success: DevicePage,
    error: Schema.Union([CursorInvalid, StorageUnavailable])
  }).annotate(RequiredScope, "read"),
  Rpc.make("Devices.Get", { payload: DeviceIdField, success: Device, error: DeviceErrors })
    .annotate(RequiredScope, "read"),
  Rpc.make("Devices.Rename", {
    payload: { ...DeviceIdField, ...RenameDeviceFields },
    success: Device,
    error: DeviceErrors
  }).annotate(RequiredScope, "manage"),
  Rpc.make("Devices.Deactivate", { payload: DeviceIdField, success: Device, error: DeviceErrors })
    .annotate(RequiredScope, "manage"),
  Rpc.make("Devices.Reactivate", { payload: DeviceIdField, success: Device, error: DeviceErrors })
    .annotate(RequiredScope, "manage"),
  Rpc.make("Devices.Reconnect", { payload: DeviceIdField, success: Device, error: DeviceCommandErrors })
    .annotate(RequiredScope, "manage"),
  Rpc.make("Devices.Release", { payload: DeviceIdField, success: Device, error: DeviceCommandErrors })
    .annotate(RequiredScope, "manage"),
  Rpc.make("Devices.Status", {
    payload: DeviceIdField,
    success: DeviceStatus,
    error: Schema.Union([DeviceNotFound, GatewayUnknown, GatewayUnavailable, StorageUnavailable])
  }).annotate(RequiredScope, "read"),
  Rpc.make("Devices.Connection", { payload: DeviceIdField, success: DeviceConnection, error: DeviceErrors })
    .annotate(RequiredScope, "read"),
  Rpc.make("Devices.Explain", { payload: DeviceIdField, success: Explanation, error: DeviceErrors })
    .annotate(RequiredScope, "read")
)

const reads = RpcGroup.make(
  Rpc.make("Messages.List", {
    payload: ListMessagesFields,
    success: MessagePage,
    error: Schema.Union([CursorInvalid, StorageUnavailable])
  }).annotate(RequiredScope, "read"),
  Rpc.make("Messages.Get", {
    payload: MessageIdField,
    success: Message,
    error: Schema.Union([MessageNotFound, StorageUnavailable])
  }).annotate(RequiredScope, "read"),
  Rpc.make("Events.Page", {
    payload: ReadEventsFields,
    success: EventsPage,
    error: Schema.Union([EventsExpired, StorageUnavailable])
  }).annotate(RequiredScope, "read"),
  Rpc.make("Server.Info", { success: ServerInfo }).annotate(RequiredScope, "read")
)

const streams = RpcGroup.make(
  /** Every device, then its changes. Ends only by failure or with its reader. */
  Rpc.make("WatchDevices", {
    success: WatchItem,
    error: StreamErrors,
    stream: true
  })
    .annotate(RequiredScope, "read"),
  /** Replay from the log, then live, without hole or double at the switch. Ends only by failure or with its reader. */
  Rpc.make("Events", {
    payload: FollowEventsFields,
    success: EventsItem,
    error: StreamErrors,
    stream: true
  }).annotate(RequiredScope, "read")
)

export const ColumbaRpcs = devices.merge(reads, streams).middleware(RpcAuthorization)

/** Where the server offers them. The HTTP form takes the trailing slash or leaves it. */
export const rpcHttpPath = "/rpc"
export const rpcWebSocketPath = "/rpc/ws"
