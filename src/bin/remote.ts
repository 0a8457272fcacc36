/** The common parts of commands that call a running Columba: its address, the key, and the advice when a call fails. */
import { Config, Effect, Option, Schema } from "effect"
import type { Redacted } from "effect"
import { Argument, Flag } from "effect/cli"
import { ColumbaClient } from "../client/ColumbaClient.ts"
import { DeviceId } from "../domain/Ids.ts"
import { contactFailed } from "./contact.ts"
import { CommandFailed, exitCode } from "./failures.ts"

const HttpUrl = Schema.String.check(Schema.makeFilter((text) => {
  const url = URL.parse(text)
  return (url !== null && /^https?:$/.test(url.protocol)) || "Expected a URL like http://127.0.0.1:8080"
}))

export const remoteFlags = {
  url: Flag.String("url").pipe(
    Flag.withDescription("the URL of Columba [COLUMBA_URL] (default http://127.0.0.1:8080)"),
    Flag.withMetavar("url"),
    Flag.withSchema(HttpUrl),
    Flag.withFallbackConfig(Config.schema(HttpUrl, "COLUMBA_URL")),
    Flag.withDefault("http://127.0.0.1:8080")
  ),
  apiKey: Flag.Redacted("api-key").pipe(
    Flag.withDescription("API key, if the server requires one [COLUMBA_API_KEY]"),
    Flag.withMetavar("key"),
    Flag.withFallbackConfig(Config.Redacted("COLUMBA_API_KEY")),
    Flag.optional
  )
}

export const json = Flag.Boolean("json").pipe(
  Flag.withDescription("print JSON, one object per line"),
  Flag.withDefault(false)
)

export interface Remote {
  readonly url: string
  readonly apiKey: Option.Option<Redacted.Redacted<string>>
}

export const deviceArgument = Argument.String("device").pipe(
  Argument.withDescription("the device's id, dev_…"),
  Argument.withSchema(DeviceId)
)

/** Maximum time of a call: adding a device asks the gateway, which has 5 s for each of two requests. */
const callTimeout = "15 seconds"

/** Fails a call, not a stream, that is not answered in time. */
export const answeredInTime = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E | CommandFailed> =>
  Effect.timeoutOrElse(call, {
    duration: callTimeout,
    orElse: () =>
      Effect.fail(CommandFailed.of(
        `no answer within ${callTimeout}`,
        "the server took the connection but does not answer; see its /readyz and its log",
        exitCode.unavailable
      ))
  })

/** Runs with a client for `remote`, and turns the failures every call can have into advice. */
export const withClient = <A, E extends { readonly _tag: string; readonly message: string }>(
  remote: Remote,
  use: (client: ColumbaClient["Service"]) => Effect.Effect<A, E>
): Effect.Effect<A, CommandFailed> =>
  Effect.flatMap(ColumbaClient, use).pipe(
    Effect.provide(ColumbaClient.layerHttp({
      url: remote.url,
      apiKey: Option.getOrUndefined(remote.apiKey),
      // A person does not want to wait for retries.
      retryFor: 0
    })),
    Effect.catch((error) => Effect.flatMap(advise(remote.url, error), Effect.fail))
  )

/** For a reader whose position is no longer in the log. */
const hintWhereToBegin = (error: object): string => {
  const oldest = "oldest" in error ? Number(error.oldest) : 1
  return `--after ${oldest - 1} begins with the oldest event that is kept; without --after only what comes is read`
}

const advise = (
  url: string,
  error: { readonly _tag: string; readonly message: string }
): Effect.Effect<CommandFailed> => {
  if (error instanceof CommandFailed) return Effect.succeed(error)
  switch (error._tag) {
    case "RpcClientError":
      return contactFailed(url, error.message)
    case "Unauthorized":
      return Effect.succeed(
        CommandFailed.of(error.message, "the key comes from --api-key or COLUMBA_API_KEY", exitCode.misused)
      )
    case "Forbidden":
      return Effect.succeed(CommandFailed.of(error.message, "use a key that may do this", exitCode.misused))
    case "EventsExpired":
    case "LogReset":
      return Effect.succeed(CommandFailed.of(error.message, hintWhereToBegin(error)))
    default:
      return Effect.succeed(CommandFailed.of(error.message, null))
  }
}
