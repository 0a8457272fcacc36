/** Outcomes of a message that was sent to a gateway. Without texts of the gateway: they may contain a number. */
import { Effect } from "effect"
import type { SendReason } from "../../domain/Send.ts"
import { SendOutcomeUnknown, SendRefused } from "../../services/GatewayParts.ts"

/** The message was not sent, and will be refused again. */
export const refusedForGood = (reason: SendReason, message: string) =>
  Effect.fail(new SendRefused({ reason, message, permanent: true }))

/** The message was not sent, and may be sent later. */
export const refusedForNow = (reason: SendReason, message: string) =>
  Effect.fail(new SendRefused({ reason, message, permanent: false }))

/** The message may have been sent. */
export const inDoubt = (message: string) => Effect.fail(new SendOutcomeUnknown({ message }))
