/** The operations on devices. */
import { Schema } from "effect"
import { HttpApiSchema } from "effect/http-api"
import { AutoReply, autoReplyFields } from "../domain/AutoReply.ts"
import { Device } from "../domain/Device.ts"
import {
  DeviceNotFound,
  DeviceStateConflict,
  DeviceUnreachable,
  GatewayUnavailable,
  GatewayUnknown,
  StorageUnavailable,
  UpstreamIdTaken
} from "../domain/DeviceErrors.ts"
import { GatewayUnusable } from "../domain/GatewayErrors.ts"
import { Explanation } from "../domain/Explanation.ts"
import { CursorInvalid } from "../domain/MessageErrors.ts"
import { autoReply, connection, device, explanation, gap } from "./examples.ts"
import * as Operation from "./Operation.ts"
import {
  ChatFields,
  CreateDeviceFields,
  DeviceConnection,
  DeviceIdField,
  DevicePage,
  DeviceStatus,
  EditDeviceFields,
  Erasure,
  ListDevicesFields
} from "./DevicePayloads.ts"
import { GapPage, ListDeviceGapsFields } from "./GapPayloads.ts"

/** Omitted fields are unchanged. */
const EditAutoReplyFields = {
  enabled: Schema.optionalKey(autoReplyFields.enabled),
  prompt: Schema.optionalKey(autoReplyFields.prompt),
  window: Schema.optionalKey(autoReplyFields.window),
  dailyLimit: Schema.optionalKey(autoReplyFields.dailyLimit)
}

const deviceErrors = [DeviceNotFound, StorageUnavailable] as const

export const deviceOperations = [
  Operation.post("Devices", "Create", "/devices", {
    scope: "manage",
    reach: "fleet",
    summary: "Add a device",
    description: "Adds an active device, and creates its slot at the gateway if the gateway lacks it. The device " +
      "connects by itself.",
    body: CreateDeviceFields,
    bodyExample: { name: device.name },
    success: Device.pipe(HttpApiSchema.status(201)),
    example: device,
    errors: [GatewayUnknown, GatewayUnusable, GatewayUnavailable, UpstreamIdTaken, StorageUnavailable]
  }),
  Operation.get("Devices", "List", "/devices", {
    scope: "read",
    reach: "filter",
    summary: "List devices",
    description: "A page of devices, oldest first.",
    query: ListDevicesFields,
    success: DevicePage,
    example: { items: [device], next: null },
    errors: [CursorInvalid, StorageUnavailable]
  }),
  Operation.get("Devices", "Get", "/devices/:id", {
    scope: "read",
    reach: "device",
    summary: "Get a device",
    description: "The device, with the state that its actor last recorded.",
    params: DeviceIdField,
    success: Device,
    example: device,
    errors: deviceErrors
  }),
  Operation.patch("Devices", "Edit", "/devices/:id", {
    scope: "manage",
    reach: "device",
    summary: "Edit a device",
    description:
      "Changes the displayed name, and how fast the device may send. The connection is not touched. A new pacing " +
      "applies to all waiting messages.",
    params: DeviceIdField,
    body: EditDeviceFields,
    bodyExample: { name: "Front desk, second floor", pacing: "20/min, 500/day" },
    success: Device,
    example: device,
    errors: deviceErrors
  }),
  Operation.remove("Devices", "Deactivate", "/devices/:id", {
    scope: "manage",
    reach: "device",
    summary: "Deactivate a device",
    description: "Closes the device's connection and keeps all its records. Repeating it changes nothing.",
    params: DeviceIdField,
    success: Device,
    example: device,
    errors: deviceErrors
  }),
  Operation.act("Devices", "Reactivate", "/devices/:id/reactivate", {
    scope: "manage",
    reach: "device",
    summary: "Reactivate a device",
    description: "Lets a deactivated device connect again. Repeating it changes nothing.",
    params: DeviceIdField,
    success: Device,
    example: device,
    errors: deviceErrors
  }),
  Operation.act("Devices", "Reconnect", "/devices/:id/reconnect", {
    scope: "manage",
    reach: "device",
    summary: "Reconnect a device",
    description:
      "Makes the device close its connection and open a new one. Refused for an inactive or quarantined device.",
    params: DeviceIdField,
    success: Device,
    example: device,
    errors: [...deviceErrors, DeviceStateConflict]
  }),
  Operation.act("Devices", "Release", "/devices/:id/release", {
    scope: "manage",
    reach: "device",
    summary: "Release a device from quarantine",
    description:
      "Ends a device's quarantine now instead of when it would end. Refused for a device that is not quarantined.",
    params: DeviceIdField,
    success: Device,
    example: device,
    errors: [...deviceErrors, DeviceStateConflict]
  }),
  Operation.get("Devices", "Status", "/devices/:id/status", {
    scope: "read",
    reach: "device",
    summary: "Ask the gateway about a device",
    description:
      "Asks the gateway about the device's slot, and stores the JID and phone number that the gateway returns.",
    params: DeviceIdField,
    success: DeviceStatus,
    example: { device, upstream: { isConnected: true, isLoggedIn: true, jid: device.jid } },
    errors: [...deviceErrors, DeviceUnreachable, GatewayUnknown, GatewayUnusable, GatewayUnavailable]
  }),
  Operation.get("Devices", "Connection", "/devices/:id/connection", {
    scope: "read",
    reach: "device",
    summary: "Get a device's connection",
    description: "The connection as the device's actor sees it, if the answering process hosts that actor.",
    params: DeviceIdField,
    success: DeviceConnection,
    example: connection,
    errors: deviceErrors
  }),
  Operation.get("Devices", "Explain", "/devices/:id/explain", {
    scope: "read",
    reach: "device",
    summary: "Explain a device's state",
    description: "Why the device is in its state, what happens next and when, and what an operator can do.",
    params: DeviceIdField,
    success: Explanation,
    example: explanation,
    errors: deviceErrors
  }),
  Operation.get("Devices", "Gaps", "/devices/:id/gaps", {
    scope: "read",
    reach: "device",
    summary: "List a device's gaps",
    description: "A page of the intervals in which the device could not receive, newest first by when they were " +
      "recorded down.",
    params: DeviceIdField,
    query: ListDeviceGapsFields,
    success: GapPage,
    example: { items: [gap], next: null },
    errors: [...deviceErrors, CursorInvalid]
  }),
  Operation.remove("Devices", "EraseChat", "/devices/:id/chats/:chat", {
    scope: "manage",
    reach: "device",
    summary: "Erase a chat",
    description:
      "Erases what the log holds of one chat, under both spellings of its account: the messages with their " +
      "text, their acks and actions. Each event keeps its number and becomes `event.erased`. What subscribers received " +
      "before is not erased. What remains are digests that identify repeats, and, as long as the gateway could still " +
      "repeat them (COLUMBA_RETENTION), the pair of the account's two spellings; the pair stays while another event " +
      "of the device names the account, such as its message in a group. Erasing again erases what has arrived since.",
    params: ChatFields,
    success: Erasure,
    example: { erased: 42 },
    errors: deviceErrors
  }),
  Operation.get("Devices", "AutoReply", "/devices/:id/auto-reply", {
    scope: "read",
    reach: "device",
    summary: "Get the automatic answers of a device",
    description:
      "Whether and how messages to the device are answered by a language model. Off until it is switched on.",
    params: DeviceIdField,
    success: AutoReply,
    example: autoReply,
    errors: deviceErrors
  }),
  Operation.patch("Devices", "EditAutoReply", "/devices/:id/auto-reply", {
    scope: "manage",
    reach: "device",
    summary: "Change the automatic answers of a device",
    description:
      "Switches answers by a language model on or off, and sets the model's instructions and context. The server " +
      "answers only if it has the key of a model. It answers texts from individual chats that are at most ten " +
      "minutes old, each once.",
    params: DeviceIdField,
    body: EditAutoReplyFields,
    bodyExample: { enabled: true, prompt: autoReply.prompt },
    success: AutoReply,
    example: autoReply,
    errors: deviceErrors
  }),
  // Not at `/chats`: for a request with an empty chat the path would become that one, and erase all chats.
  Operation.remove("Devices", "EraseChats", "/devices/:id/history", {
    scope: "manage",
    reach: "device",
    summary: "Erase all chats of a device",
    description:
      "Erases all that the log holds of a device except its transitions, and removes its account's address " +
      "and phone number, in the transitions too. The digests and pairs of spellings that remain are those of the " +
      "erasure of one chat. Deactivate the device first, or it continues to receive and reports its account again.",
    params: DeviceIdField,
    success: Erasure,
    example: { erased: 4200 },
    errors: deviceErrors
  })
] as const
