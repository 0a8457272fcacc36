/** The log and the repositories over a SQL database, Postgres or embedded, with its schema migrated first. */
import { Layer } from "effect"
import * as GroupCommit from "../../log/GroupCommit.ts"
import * as Migrations from "./Migrations.ts"
import * as SqlGapRepository from "./SqlGapRepository.ts"
import * as SqlGatewayRepository from "./SqlGatewayRepository.ts"
import * as SqlDeviceRepository from "./SqlDeviceRepository.ts"
import * as SqlLogStore from "./SqlLogStore.ts"
import * as SqlApiKeyRepository from "./SqlApiKeyRepository.ts"
import * as SqlAutoReplyRepository from "./SqlAutoReplyRepository.ts"
import * as SqlMessageInbox from "./SqlMessageInbox.ts"
import * as SqlMessageRepository from "./SqlMessageRepository.ts"
import * as SqlNodeRegistry from "./SqlNodeRegistry.ts"
import * as SqlScheduleRepository from "./SqlScheduleRepository.ts"
import * as SqlSendRepository from "./SqlSendRepository.ts"
import * as SqlSubscriptionRepository from "./SqlSubscriptionRepository.ts"
import * as SqlWebhookRefusals from "./SqlWebhookRefusals.ts"

/**
 * Provides `EventLog` over its `LogStore`, and the repositories of API keys, devices, gaps, gateways, messages, messages to send,
 * handled messages, nodes, subscriptions and refused webhooks; needs `SqlClient` and `DatabaseSignals`.
 */
export const layer = Layer.mergeAll(
  GroupCommit.layer.pipe(Layer.provideMerge(SqlLogStore.layer)),
  SqlDeviceRepository.layer,
  SqlGapRepository.layer,
  SqlGatewayRepository.layer,
  SqlApiKeyRepository.layer,
  SqlAutoReplyRepository.layer,
  SqlMessageInbox.layer,
  SqlMessageRepository.layer,
  SqlNodeRegistry.layer,
  SqlScheduleRepository.layer,
  SqlSendRepository.layer,
  SqlSubscriptionRepository.layer,
  SqlWebhookRefusals.layer
).pipe(Layer.provide(Migrations.layer))
