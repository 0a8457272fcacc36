import { layerMemory } from "../../src/layers/memory/MemoryStorage.ts"
import { apiKeyRepositoryConformance } from "./apiKeyRepository.ts"
import { autoRepliesConformance } from "./autoReplies.ts"
import { eventLogConformance } from "./eventLog.ts"
import { gapRepositoryConformance } from "./gapRepository.ts"
import { gatewayRepositoryConformance } from "./gatewayRepository.ts"
import { logStoreConformance } from "./logStore.ts"
import { messageInboxConformance } from "./messageInbox.ts"
import { repositoriesConformance } from "./repositories.ts"
import { scheduleRepositoryConformance } from "./scheduleRepository.ts"
import { sendRepositoryConformance } from "./sendRepository.ts"
import { subscriptionRepositoryConformance } from "./subscriptionRepository.ts"
import { webhookRefusalsConformance } from "./webhookRefusals.ts"

eventLogConformance("in memory", layerMemory)
logStoreConformance("in memory", layerMemory)
repositoriesConformance("in memory", layerMemory)
gatewayRepositoryConformance("in memory", layerMemory)
gapRepositoryConformance("in memory", layerMemory)
scheduleRepositoryConformance("in memory", layerMemory)
sendRepositoryConformance("in memory", layerMemory)
subscriptionRepositoryConformance("in memory", layerMemory)
webhookRefusalsConformance("in memory", layerMemory)
messageInboxConformance("in memory", layerMemory)
apiKeyRepositoryConformance("in memory", layerMemory)
autoRepliesConformance("in memory", layerMemory)
