/**
 * Handlers that are the operator's own modules (`COLUMBA_HANDLERS`). They run in this process with all of its
 * permissions, so only somebody who may set its environment can name one.
 */
import { Effect, Schema } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type { HandlerModule, Query } from "../../contracts/HandlerModule.ts"
import { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import { Event } from "../../domain/Event.ts"
import { handlerName } from "../../services/AutoReply.ts"
import { HandlerFailed } from "../../services/MessageHandler.ts"
import type { HandlerFailure, MessageHandler } from "../../services/MessageHandler.ts"

/** The module cannot be a handler. */
export class HandlerModuleInvalid extends Schema.TaggedError<HandlerModuleInvalid>()("HandlerModuleInvalid", {
  message: Schema.String
}) {
  static of(path: string, detail: string): HandlerModuleInvalid {
    return new HandlerModuleInvalid({ message: `COLUMBA_HANDLERS names '${path}': ${detail}` })
  }
}

const namePattern = /^[a-z0-9][a-z0-9-]{0,63}$/

/** Names of Columba's own handlers. */
const reservedNames: ReadonlySet<string> = new Set([handlerName])

const encodeEvent = Schema.encodeSync(Event)

/** Loads all of them, in their order; relative paths begin in the current directory. */
export const load = Effect.fnUntraced(function*(
  paths: ReadonlyArray<string>
): Effect.fn.Return<ReadonlyArray<MessageHandler>, HandlerModuleInvalid, SqlClient.SqlClient> {
  const sql = yield* SqlClient.SqlClient
  const names = new Set(reservedNames)
  return yield* Effect.forEach(paths, (path) =>
    Effect.gen(function*() {
      const loaded: unknown = yield* Effect.tryPromise({
        try: async () => (await import(pathToFileURL(resolve(path)).href) as { readonly default?: unknown }).default,
        catch: (error) => HandlerModuleInvalid.of(path, `it cannot be loaded (${describe(error)})`)
      })
      if (!isHandlerModule(loaded)) {
        return yield* HandlerModuleInvalid.of(
          path,
          "its default export is no { name, handle } with a name of a-z, 0-9 and -"
        )
      }
      if (names.has(loaded.name)) return yield* HandlerModuleInvalid.of(path, `the name '${loaded.name}' is taken`)
      names.add(loaded.name)
      return toHandler(loaded, sql)
    }))
})

const isHandlerModule = (given: unknown): given is HandlerModule => {
  if (typeof given !== "object" || given === null) return false
  const { handle, name } = given as Partial<HandlerModule>
  return typeof name === "string" && namePattern.test(name) && typeof handle === "function"
}

const toHandler = (module: HandlerModule, sql: SqlClient.SqlClient): MessageHandler => ({
  name: module.name,
  handle: (event) =>
    Effect.tryPromise({
      try: (signal) => module.handle(encodeEvent(event) as Parameters<HandlerModule["handle"]>[0], { signal }),
      catch: toFailure
    }).pipe(Effect.map((commit) => typeof commit === "function" ? runCommit(commit, sql) : Effect.void))
})

/** Runs with the fiber of the transaction, so its statements are part of it; none are accepted after its end. */
const runCommit = (
  commit: (query: Query) => Promise<void>,
  sql: SqlClient.SqlClient
): Effect.Effect<void, HandlerFailure> =>
  Effect.flatMap(Effect.context<never>(), (context) => {
    let ended = false
    let lost = false
    const query: Query = (statement, parameters = []) =>
      ended
        ? Promise.reject(new Error("the commit has ended: await every query"))
        : Effect.runPromiseWith(context)(
          Effect.tapError(sql.unsafe<Readonly<Record<string, unknown>>>(statement, [...parameters]), (error) =>
            Effect.sync(() => {
              lost ||= SqlError.isSqlError(error) && error.reason._tag === "ConnectionError"
            }))
        )
    return Effect.tryPromise({
      try: () => commit(query),
      catch: (error) => lost ? StorageUnavailable.of("commit what a handler writes") : toFailure(error)
    }).pipe(Effect.ensuring(Effect.sync(() => {
      ended = true
    })))
  })

const toFailure = (error: unknown): HandlerFailed =>
  HandlerFailed.of(describe(error), {
    permanent: typeof error === "object" && error !== null && "permanent" in error && error.permanent === true
  })

/** The innermost reason: wrappers of the database's client report only that a statement failed. */
const describe = (error: unknown): string => {
  let inner: unknown = error
  for (let depth = 0; depth < 4 && inner instanceof Error; depth++) {
    const cause = SqlError.isSqlError(inner) ? inner.reason.cause : inner.cause
    if (!(cause instanceof Error)) break
    inner = cause
  }
  return inner instanceof Error ? `${inner.name}: ${inner.message}` : String(inner)
}
