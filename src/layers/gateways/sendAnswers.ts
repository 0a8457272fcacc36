/** What the answer to a message that was given to a gateway comes to. No words of the gateway: they may name a number. */
import { Effect } from "effect"
import type { SendReason } from "../../domain/Send.ts"
import { SendOutcomeUnknown, SendRefused } from "../../services/GatewayParts.ts"

/** It was not sent, and will be refused again. */
export const refusedForGood = (reason: SendReason, message: string) =>
  Effect.fail(new SendRefused({ reason, message, permanent: true }))

/** It was not sent, and may be sent later. */
export const refusedForNow = (reason: SendReason, message: string) =>
  Effect.fail(new SendRefused({ reason, message, permanent: false }))

/** It may have been sent. */
export const inDoubt = (message: string) => Effect.fail(new SendOutcomeUnknown({ message }))
