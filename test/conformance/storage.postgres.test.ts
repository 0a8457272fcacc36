import { layerFreshPostgres } from "../support/storage.ts"
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

eventLogConformance("on Postgres", layerFreshPostgres)
logStoreConformance("on Postgres", layerFreshPostgres)
repositoriesConformance("on Postgres", layerFreshPostgres)
gatewayRepositoryConformance("on Postgres", layerFreshPostgres)
gapRepositoryConformance("on Postgres", layerFreshPostgres)
scheduleRepositoryConformance("on Postgres", layerFreshPostgres)
sendRepositoryConformance("on Postgres", layerFreshPostgres)
subscriptionRepositoryConformance("on Postgres", layerFreshPostgres)
webhookRefusalsConformance("on Postgres", layerFreshPostgres)
messageInboxConformance("on Postgres", layerFreshPostgres)
messageInboxTransactions("on Postgres", layerFreshPostgres)
apiKeyRepositoryConformance("on Postgres", layerFreshPostgres)
autoRepliesConformance("on Postgres", layerFreshPostgres)
