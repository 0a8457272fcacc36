import { layerFreshEmbedded } from "../support/storage.ts"
import { apiKeyRepositoryConformance } from "./apiKeyRepository.ts"
import { autoRepliesConformance } from "./autoReplies.ts"
import { eventLogConformance } from "./eventLog.ts"
import { gapRepositoryConformance } from "./gapRepository.ts"
import { gatewayRepositoryConformance } from "./gatewayRepository.ts"
import { logStoreConformance } from "./logStore.ts"
import { messageInboxConformance, messageInboxTransactions } from "./messageInbox.ts"
import { repositoriesConformance } from "./repositories.ts"
import { scheduleRepositoryConformance } from "./scheduleRepository.ts"
import { sendRepositoryConformance } from "./sendRepository.ts"
import { subscriptionRepositoryConformance } from "./subscriptionRepository.ts"
import { webhookRefusalsConformance } from "./webhookRefusals.ts"

eventLogConformance("on the embedded database", layerFreshEmbedded)
logStoreConformance("on the embedded database", layerFreshEmbedded)
repositoriesConformance("on the embedded database", layerFreshEmbedded)
gatewayRepositoryConformance("on the embedded database", layerFreshEmbedded)
gapRepositoryConformance("on the embedded database", layerFreshEmbedded)
scheduleRepositoryConformance("on the embedded database", layerFreshEmbedded)
sendRepositoryConformance("on the embedded database", layerFreshEmbedded)
subscriptionRepositoryConformance("on the embedded database", layerFreshEmbedded)
webhookRefusalsConformance("on the embedded database", layerFreshEmbedded)
messageInboxConformance("on the embedded database", layerFreshEmbedded)
messageInboxTransactions("on the embedded database", layerFreshEmbedded)
apiKeyRepositoryConformance("on the embedded database", layerFreshEmbedded)
autoRepliesConformance("on the embedded database", layerFreshEmbedded)
