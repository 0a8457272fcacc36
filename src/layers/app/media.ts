/** The files of messages: served from the store if there is one, and stored as they arrive. */
import { Effect, Layer, Option } from "effect"
import type { Scope } from "effect"
import * as MediaKeeper from "../../actors/delivery/MediaKeeper.ts"
import type { DeviceRepository } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import type { GatewayDirectory } from "../../services/GatewayDirectory.ts"
import { MediaStore } from "../../services/MediaStore.ts"
import { MessageMedia } from "../../services/MessageMedia.ts"
import type { MessageRepository } from "../../services/MessageRepository.ts"
import * as FileMediaStore from "../files/FileMediaStore.ts"
import * as FileOutbox from "../files/FileOutbox.ts"
import type { Settings } from "../Settings.ts"
import { startFailed } from "./StartFailed.ts"
import type { StartFailed } from "./StartFailed.ts"

/** Without the setting there is no store, and files come only from the gateways. */
export const messageMedia = (
  { media }: Settings
): Layer.Layer<MessageMedia, StartFailed, MessageRepository | DeviceRepository | GatewayDirectory> =>
  media === null ? MessageMedia.layer : MessageMedia.layer.pipe(
    Layer.provideMerge(FileMediaStore.layer(media)),
    Layer.catch((error) => Layer.effectContext(Effect.fail(startFailed(error, "check COLUMBA_DATA_DIR"))))
  )

/**
 * Files to send are on the disk of the process that runs the devices. Another process could not send them, and accepts
 * none.
 */
export const filesToSend = ({ outbox, roles }: Settings): Layer.Layer<never> =>
  roles.has("devices") ? FileOutbox.layer({ directory: outbox }) : Layer.empty

/** Runs with its scope; does nothing where files are not kept. */
export const keepMedia: Effect.Effect<void, never, EventLog | MessageMedia | Scope.Scope> = Effect.flatMap(
  Effect.serviceOption(MediaStore),
  (store) => Option.isNone(store) ? Effect.void : Effect.provideService(MediaKeeper.make, MediaStore, store.value)
)
