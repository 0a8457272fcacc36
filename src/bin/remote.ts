/** What the commands that talk to a running Columba share: where it is, the key, and what to say when it is not there. */
import { Config, Effect, Option, Redacted } from "effect"
import { Argument, Flag } from "effect/cli"
import { ColumbaClient } from "../client/ColumbaClient.ts"
import { DeviceId } from "../domain/Ids.ts"
import { CommandFailed, exitCode } from "./failures.ts"

export const remoteFlags = {
  url: Flag.String("url").pipe(
    Flag.withDescription("where Columba listens [COLUMBA_URL], default http://127.0.0.1:8080"),
    Flag.withMetavar("url"),
    Flag.withFallbackConfig(Config.String("COLUMBA_URL")),
    Flag.withDefault("http://127.0.0.1:8080")
  ),
  apiKey: Flag.Redacted("api-key").pipe(
    Flag.withDescription("key to call it with, where it asks for one [COLUMBA_API_KEY]"),
    Flag.withMetavar("key"),
    Flag.withFallbackConfig(Config.Redacted("COLUMBA_API_KEY")),
    Flag.optional
  )
}

export interface Remote {
  readonly url: string
  readonly apiKey: Option.Option<Redacted.Redacted<string>>
}

export const deviceArgument = Argument.String("device").pipe(
  Argument.withDescription("the device's id, dev_…"),
  Argument.withSchema(DeviceId)
)

/** Runs with a client for `remote`, and turns the failures every call can have into advice. */
export const withClient = <A, E extends { readonly _tag: string; readonly message: string }>(
  remote: Remote,
  use: (client: ColumbaClient["Service"]) => Effect.Effect<A, E>
): Effect.Effect<A, CommandFailed> =>
  Effect.flatMap(ColumbaClient, use).pipe(
    Effect.provide(ColumbaClient.layerHttp({
      url: remote.url,
      apiKey: Option.getOrUndefined(Option.map(remote.apiKey, Redacted.value))
    })),
    Effect.mapError((error) => advice(remote.url, error))
  )

const advice = (url: string, error: { readonly _tag: string; readonly message: string }): CommandFailed => {
  switch (error._tag) {
    case "RpcClientError":
      return CommandFailed.of(
        `no Columba answers at ${url}`,
        "start one with 'npm start', or say where it is with --url",
        exitCode.unavailable
      )
    case "Unauthorized":
      return CommandFailed.of(error.message, "give a key with --api-key or COLUMBA_API_KEY", exitCode.misused)
    case "Forbidden":
      return CommandFailed.of(error.message, "use a key that has this scope", exitCode.misused)
    default:
      return CommandFailed.of(error.message, null)
  }
}
