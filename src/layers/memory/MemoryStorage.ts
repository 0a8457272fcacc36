/** The log and the repositories in memory, over one set of tables: the whole storage of a test. */
import { Layer } from "effect"
import type { DeviceRepository } from "../../services/DeviceRepository.ts"
import type { EventLog } from "../../services/EventLog.ts"
import type { LogStatus } from "../../services/LogStatus.ts"
import type { LogStore } from "../../log/LogStore.ts"
import * as GroupCommit from "../../log/GroupCommit.ts"
import * as MemoryDatabase from "./MemoryDatabase.ts"
import * as MemoryGapRepository from "./MemoryGapRepository.ts"
import * as MemoryGatewayRepository from "./MemoryGatewayRepository.ts"
import * as MemoryLogStore from "./MemoryLogStore.ts"
import * as MemoryApiKeyRepository from "./MemoryApiKeyRepository.ts"
import * as MemoryAutoReplyRepository from "./MemoryAutoReplyRepository.ts"
import * as MemoryMessageInbox from "./MemoryMessageInbox.ts"
import * as MemoryRepositories from "./MemoryRepositories.ts"
import type { GapRepository } from "../../services/GapRepository.ts"
import * as MemoryScheduleRepository from "./MemoryScheduleRepository.ts"
import * as MemorySendRepository from "./MemorySendRepository.ts"
import * as MemorySubscriptionRepository from "./MemorySubscriptionRepository.ts"
import * as MemoryWebhookRefusals from "./MemoryWebhookRefusals.ts"
import type { GatewayRepository } from "../../services/GatewayRepository.ts"
import type { ApiKeyRepository } from "../../services/ApiKeyRepository.ts"
import type { AutoReplyRepository } from "../../services/AutoReplyRepository.ts"
import type { MessageInbox } from "../../services/MessageInbox.ts"
import type { MessageRepository } from "../../services/MessageRepository.ts"
import type { ScheduleRepository } from "../../services/ScheduleRepository.ts"
import type { SendRepository } from "../../services/SendRepository.ts"
import type { SubscriptionRepository } from "../../services/SubscriptionRepository.ts"
import type { WebhookRefusals } from "../../services/WebhookRefusals.ts"

export const layerMemory: Layer.Layer<
  | EventLog
  | LogStatus
  | LogStore
  | DeviceRepository
  | GapRepository
  | GatewayRepository
  | ApiKeyRepository
  | AutoReplyRepository
  | MessageInbox
  | MessageRepository
  | ScheduleRepository
  | SendRepository
  | SubscriptionRepository
  | WebhookRefusals
> = Layer.mergeAll(
  GroupCommit.layer.pipe(Layer.provideMerge(MemoryLogStore.layer)),
  MemoryRepositories.layerDevices,
  MemoryRepositories.layerMessages,
  MemoryGapRepository.layer,
  MemoryGatewayRepository.layer,
  MemoryApiKeyRepository.layer,
  MemoryAutoReplyRepository.layer,
  MemoryMessageInbox.layer,
  MemoryScheduleRepository.layer,
  MemorySendRepository.layer,
  MemorySubscriptionRepository.layer,
  MemoryWebhookRefusals.layer
).pipe(Layer.provide(MemoryDatabase.layer))
