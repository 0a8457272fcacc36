/**
 * Actions on messages, and signals to a chat without a message. A reaction, an edit and a revocation change what
 * others see, so they are accepted and sent as messages are. Read receipts and typing signals are worth nothing later:
 * the gateway is asked at once, and the caller gets the result.
 */
import { Context, Effect, Layer } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { GatewayUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId, MessageId } from "../domain/Ids.ts"
import type { Message } from "../domain/Message.ts"
import type { MessageNotFound } from "../domain/MessageErrors.ts"
import { parseRecipient } from "../domain/Recipient.ts"
import type { ActionContent, ActionTarget } from "../domain/Send.ts"
import { ContentInvalid } from "../domain/SendErrors.ts"
import type { IdempotencyKeyReused, RecipientInvalid } from "../domain/SendErrors.ts"
import { makeAcceptance } from "./acceptSend.ts"
import type { FoundMessage, PreparedSend, Unable } from "./acceptSend.ts"
import { GatewayDirectory, useGateway } from "./GatewayDirectory.ts"
import type { Send } from "./GatewayParts.ts"
import { viewSend } from "./sendView.ts"

interface Action {
  /** The message that the action applies to. */
  readonly id: MessageId
  readonly idempotencyKey?: string | undefined
}

export type ActionFailure = Unable | MessageNotFound | ContentInvalid | IdempotencyKeyReused

export type SignalFailure = Unable | MessageNotFound | RecipientInvalid | ContentInvalid | GatewayUnavailable

export class MessageActions extends Context.Service<MessageActions, {
  /** An empty `emoji` removes the reaction. */
  readonly react: (
    action: Action & { readonly emoji: string },
    visible: VisibleDevices
  ) => Effect.Effect<Message, ActionFailure>
  readonly edit: (
    action: Action & { readonly text: string },
    visible: VisibleDevices
  ) => Effect.Effect<Message, ActionFailure>
  readonly revoke: (action: Action, visible: VisibleDevices) => Effect.Effect<Message, ActionFailure>
  /** Sends a read receipt. Returns once the gateway has done it. */
  readonly markRead: (id: MessageId, visible: VisibleDevices) => Effect.Effect<void, SignalFailure>
  /** The chat sees that the account is typing, for some seconds, or no longer. */
  readonly typing: (device: DeviceId, chat: string, active: boolean) => Effect.Effect<void, SignalFailure>
}>()("columba/services/MessageActions") {
  static readonly layer = Layer.effect(MessageActions, Effect.suspend(() => make))
}

const make = Effect.gen(function*() {
  const { able, accept, find } = yield* makeAcceptance
  const directory = yield* GatewayDirectory

  const act = Effect.fnUntraced(function*(
    { id, idempotencyKey: key }: Action,
    visible: VisibleDevices,
    compose: (found: FoundMessage) => Effect.Effect<ActionContent, ContentInvalid>
  ): Effect.fn.Return<Message, ActionFailure> {
    const found = yield* find("id", id, visible)
    const content = yield* compose(found)
    const device = yield* able(found.deviceId, content.type, ({ contents }) => contents.has(content.type))
    const prepared: PreparedSend = {
      deviceId: device.id,
      chat: found.chat,
      sender: device.jid ?? "",
      body: { content, replyTo: null, mentions: [] },
      onUnknown: "report",
      scheduledAt: null
    }
    return viewSend(yield* accept(prepared, key, Effect.void))
  })

  const signal = Effect.fnUntraced(function*(
    id: DeviceId,
    name: "read" | "typing",
    give: (part: Required<Pick<Send, "read" | "typing">>, target: Parameters<Send["message"]>[0]) => ReturnType<
      NonNullable<Send["typing"]>
    >
  ): Effect.fn.Return<void, Unable | GatewayUnavailable> {
    const device = yield* able(id, name, (part) => part[name] !== undefined)
    const target = { deviceId: device.id, upstreamId: device.upstreamId, jid: device.jid }
    yield* useGateway(directory, device.gateway, ({ send }) => {
      const { read, typing } = send ?? {}
      return read === undefined || typing === undefined ? Effect.void : give({ read, typing }, target)
    })
  })

  return MessageActions.of({
    react: ({ emoji, ...action }, visible) =>
      act(action, visible, ({ target }) => Effect.succeed({ type: "reaction", target, emoji })),
    edit: ({ text, ...action }, visible) =>
      act(action, visible, ({ target, type }) =>
        target.fromMe && type === "text"
          ? Effect.succeed({ type: "edit", target, text })
          : Effect.fail(ContentInvalid.of("id: only a text of this account can be edited"))),
    revoke: (action, visible) =>
      act(action, visible, ({ chat, target }) =>
        mayRevoke(target, chat)
          ? Effect.succeed({ type: "revoke", target })
          : Effect.fail(ContentInvalid.of("id: only a message of this account can be revoked, or one of a group"))),
    markRead: Effect.fn("MessageActions.markRead")(function*(id, visible) {
      const { chat, deviceId, target } = yield* find("id", id, visible)
      if (target.fromMe) return yield* ContentInvalid.of("id: a message of this account is not marked as read")
      yield* signal(deviceId, "read", ({ read }, session) => read(session, chat, target))
    }),
    typing: Effect.fn("MessageActions.typing")(function*(id, address, active) {
      const chat = yield* Effect.fromResult(parseRecipient(address))
      yield* signal(id, "typing", ({ typing }, session) => typing(session, chat, active))
    })
  })
})

/** For a message of somebody else WhatsApp decides: an administrator of the group may. */
const mayRevoke = ({ fromMe }: ActionTarget, chat: string): boolean => fromMe || chat.endsWith("@g.us")
