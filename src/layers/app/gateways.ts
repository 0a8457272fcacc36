/** The gateways of this process: the one of its settings, the built-in simulator, and the rows that users added. */
import { DateTime, Effect, Layer, Redacted } from "effect"
import { parseGatewayUrl } from "../../domain/Gateway.ts"
import { GatewayName } from "../../domain/Ids.ts"
import type { GatewayAdapters } from "../../services/GatewayAdapters.ts"
import { GatewayDirectory } from "../../services/GatewayDirectory.ts"
import type { OwnGateway } from "../../services/GatewayDirectory.ts"
import { GatewayManager } from "../../services/GatewayManager.ts"
import type { GatewayRepository } from "../../services/GatewayRepository.ts"
import type { SecretKey, SecretSeal } from "../../services/SecretSeal.ts"
import { WebhookSecrets } from "../../services/WebhookSecrets.ts"
import * as Demo from "../../simulator/Demo.ts"
import type { SimulatorHandle } from "../../simulator/SimulatedGateway.ts"
import * as adapters from "../gateways/adapters.ts"
import * as AesSecretSeal from "../secrets/AesSecretSeal.ts"
import { readOrMakeKeys } from "../secrets/keyFile.ts"
import type { Settings } from "../Settings.ts"
import { startFailed } from "./StartFailed.ts"
import type { StartFailed } from "./StartFailed.ts"

const defaultGateway = GatewayName.make("default")

const simulated = Effect.fnUntraced(function*() {
  const { start } = yield* Effect.promise(() => import("../../simulator/SimulatedGateway.ts"))
  // Accounts survive restarts, as the database has recorded them; the messages they receive are new in each run.
  const conversation = DateTime.formatIso(yield* DateTime.now)
  return yield* start({ seed: "demo", conversation })
}, Effect.mapError((error) => startFailed(error, null)))

/** The gateways that this process itself adds. All others are rows that users added. */
export const listOwnGateways = (
  gateway: Settings["gateway"],
  simulator: SimulatorHandle | null
): ReadonlyArray<OwnGateway> => {
  if (gateway._tag === "Configured") {
    const { apiKey, dialect, webhookSecret } = gateway
    const { password, url, user } = parseGatewayUrl(gateway.url.href) ??
      { url: gateway.url.origin, user: null, password: null }
    return [{
      name: defaultGateway,
      dialect,
      url,
      user: gateway.user || user,
      secrets: {
        password: Redacted.value(gateway.password) === "" ? Redacted.make(password ?? "") : gateway.password,
        ...(apiKey === null ? {} : { apiKey }),
        ...(webhookSecret === null ? {} : { webhookSecret })
      },
      source: "environment"
    }]
  }
  if (simulator === null) return []
  const { simulatorGateway: name } = Demo
  return [{ name, dialect: "bridge", url: simulator.url, user: null, secrets: {}, source: "simulator" }]
}

const withKeys = (keys: ReadonlyArray<SecretKey>) => Layer.merge(AesSecretSeal.layer(keys), WebhookSecrets.layer(keys))

/** On a server every process needs the same keys, so they come from the environment; a data directory has its own. */
const makeSecrets = (settings: Settings): Layer.Layer<SecretSeal | WebhookSecrets, StartFailed> =>
  settings.database._tag === "Postgres"
    ? withKeys(settings.secretKeys)
    : Layer.unwrap(
      readOrMakeKeys(settings.database.dataDir).pipe(
        Effect.map((keys) => withKeys([...settings.secretKeys, ...keys])),
        Effect.mapError((error) => startFailed(error, null))
      )
    )

export const makeGateways = (
  settings: Settings,
  simulator: SimulatorHandle | null
): Layer.Layer<
  GatewayDirectory | GatewayManager | GatewayAdapters | SecretSeal | WebhookSecrets,
  StartFailed,
  GatewayRepository
> =>
  GatewayManager.layer.pipe(
    Layer.provideMerge(GatewayDirectory.layer(listOwnGateways(settings.gateway, simulator))),
    Layer.provideMerge(adapters.layer),
    Layer.provideMerge(makeSecrets(settings)),
    Layer.catch((error) => Layer.effectContext(Effect.fail(startFailed(error, null))))
  )

/** The parts of the simulator that the roles need, if the gateway is the simulator. */
export const startSimulator = (settings: Settings) =>
  settings.gateway._tag === "Simulator" && settings.roles.has("devices")
    ? simulated()
    : Effect.succeed(null)
