/**
 * The common checks of everything that is sent: a device that may send, a gateway that can, the message that an action
 * applies to, and one stored row for all requests with one idempotency key.
 */
import { Effect } from "effect"
import { SecureRandom } from "effect/crypto"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { Device } from "../domain/Device.ts"
import { DeviceStateConflict } from "../domain/DeviceErrors.ts"
import type { DeviceNotFound, GatewayUnknown, StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { GatewayUnusable } from "../domain/GatewayErrors.ts"
import type { DeviceId, MessageId } from "../domain/Ids.ts"
import type { MessageNotFound } from "../domain/MessageErrors.ts"
import { isAction } from "../domain/Send.ts"
import type { ActionTarget } from "../domain/Send.ts"
import { ContentInvalid, ContentUnsupported } from "../domain/SendErrors.ts"
import type { IdempotencyKeyReused } from "../domain/SendErrors.ts"
import { DeviceRepository } from "./DeviceRepository.ts"
import { digest, formatMessageId } from "./EventIdentity.ts"
import { GatewayDirectory, useGateway } from "./GatewayDirectory.ts"
import type { Send } from "./GatewayParts.ts"
import { MessageRepository } from "./MessageRepository.ts"
import { typeOf } from "./sendDrafts.ts"
import { SendRepository } from "./SendRepository.ts"
import type { NewSend, StoredSend } from "./SendRepository.ts"
import { SendSettings } from "./SendSettings.ts"

/** Why a device cannot send this. */
export type Unable =
  | DeviceNotFound
  | DeviceStateConflict
  | ContentUnsupported
  | GatewayUnknown
  | GatewayUnusable
  | StorageUnavailable

/** A checked request, not stored yet. */
export type PreparedSend = Omit<NewSend, "id" | "grace" | "idempotency">

/** A message that an action applies to, or that is replied to. */
export interface FoundMessage {
  readonly deviceId: DeviceId
  readonly chat: string
  readonly target: ActionTarget
  readonly type: string
}

export const makeAcceptance = Effect.gen(function*() {
  const devices = yield* DeviceRepository
  const directory = yield* GatewayDirectory
  const sends = yield* SendRepository
  const messages = yield* MessageRepository
  const { grace } = yield* SendSettings
  const random = yield* SecureRandom.SecureRandom

  /** The device, if it may send and its gateway has the capability that `can` checks. */
  const able = (
    id: DeviceId,
    name: string,
    can: (part: Send) => boolean
  ): Effect.Effect<Device, Unable> =>
    Effect.gen(function*() {
      const device = yield* devices.get(id)
      if (!device.active) return yield* DeviceStateConflict.of(device.id, "send a message from", "Inactive")
      return yield* useGateway(directory, device.gateway, ({ name: gateway, send: part }) =>
        part !== undefined && can(part)
          ? Effect.succeed(device)
          : Effect.fail(ContentUnsupported.of(gateway, name, [...part?.contents ?? []])))
    })

  /** `field`: the field of the request that names it. */
  const find = Effect.fnUntraced(function*(
    field: string,
    id: MessageId,
    visible: VisibleDevices
  ): Effect.fn.Return<FoundMessage, MessageNotFound | ContentInvalid | StorageUnavailable> {
    const send = yield* sends.find(id, visible)
    if (send === null) {
      const { data: { chat, fromMe, sender, type, waId }, deviceId } = yield* messages.content(id, visible)
      return { deviceId, chat, type, target: { message: id, waId, fromMe, sender } }
    }
    const { body: { content }, chat, deviceId, sender, waId } = send
    if (isAction(content)) {
      return yield* ContentInvalid.of(`${field}: this is something done to a message, and none itself`)
    }
    if (waId === null) return yield* ContentInvalid.of(`${field}: this message has not been sent yet`)
    return { deviceId, chat, type: typeOf(content), target: { message: id, waId, fromMe: true, sender } }
  })

  /** `check`: may fail for a repeat too, although the message was accepted at first. */
  const accept = Effect.fnUntraced(function*<E>(
    prepared: PreparedSend,
    key: string | undefined,
    check: Effect.Effect<void, E>
  ): Effect.fn.Return<StoredSend, E | IdempotencyKeyReused | StorageUnavailable> {
    const { body: { content, mentions, replyTo }, chat, deviceId, onUnknown, scheduledAt } = prepared
    const idempotency = key === undefined ? null : {
      key,
      digest: digest(JSON.stringify([chat, content, replyTo, mentions, scheduledAt, onUnknown]))
    }
    const known = yield* check.pipe(
      Effect.as(null),
      Effect.catch((error) =>
        Effect.flatMap(
          idempotency === null ? Effect.succeed(null) : sends.repeated(deviceId, idempotency),
          (send) => send === null ? Effect.fail(error) : Effect.succeed(send)
        )
      )
    )
    if (known !== null) return known
    const bytes = yield* random.randomBytes(16)
    const id = formatMessageId(Buffer.from(bytes).toString("hex"))
    const { send } = yield* sends.accept({ ...prepared, id, grace, idempotency })
    return send
  })

  return { able, find, accept }
}).pipe(Effect.provide(SecureRandom.layerWebCrypto))
