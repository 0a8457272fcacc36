/**
 * The table of all operations. To add one: an entry in the table of its group, and a handler of the same name in
 * `http/operationHandlers.ts`. A new group also needs its table here and its name in `Api.ts`.
 */
import { deadLetterOperations } from "./DeadLetterOperations.ts"
import { deviceOperations } from "./DeviceOperations.ts"
import { eventOperations } from "./EventOperations.ts"
import { gapOperations } from "./GapOperations.ts"
import { gatewayOperations } from "./GatewayOperations.ts"
import { keyOperations } from "./KeyOperations.ts"
import { loginOperations } from "./LoginOperations.ts"
import { messageOperations } from "./MessageOperations.ts"
import type * as Operation from "./Operation.ts"
import { scheduleOperations } from "./ScheduleOperations.ts"
import { serverOperations } from "./ServerOperations.ts"
import { subscriptionOperations } from "./SubscriptionOperations.ts"

export const operations = [
  ...deviceOperations,
  ...loginOperations,
  ...gatewayOperations,
  ...messageOperations,
  ...scheduleOperations,
  ...gapOperations,
  ...eventOperations,
  ...subscriptionOperations,
  ...deadLetterOperations,
  ...keyOperations,
  ...serverOperations
] as const

export type AnyOperation = (typeof operations)[number]

/** One handler per operation, used by both transports. */
export type OperationHandlers = Operation.Handlers<AnyOperation>
