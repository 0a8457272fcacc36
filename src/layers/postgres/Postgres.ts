/** A Postgres server as the database, by the operator's URL. */
import { Context, Duration, Effect, Layer, Redacted } from "effect"
import type { Duplex } from "node:stream"
import { PgClient } from "@effect/sql-pg"
import { DatabaseSilence } from "../../services/DatabaseSilence.ts"
import * as DatabaseSignals from "./DatabaseSignals.ts"
import * as SqlFleetLease from "./SqlFleetLease.ts"
import { makeServerSockets } from "./ServerSockets.ts"
import type { ServerSockets } from "./ServerSockets.ts"

/**
 * Connections shared by reads (multiplexed). In addition, a process has one for the log's writer, one per LISTEN channel and
 * one for the fleet's lease. A dozen processes stay below a stock server's limit of 100.
 */
const connectionsMax = 7

/** Time limit of a statement at the server. Appends, reads and retention stay far below. */
const statementMax = Duration.seconds(10)

/** A live server answers within this time: its longest statement, and a little for the network. */
const silenceMax = Duration.sum(statementMax, Duration.seconds(2))

/** Closing waits this long for running statements, then their connections are cut. */
const closeMax = Duration.seconds(2)

/**
 * The settings of every session. Waiting for a lock ends before the statement timeout. The server ends an abandoned
 * transaction, which would block every append. Keep-alives detect a dead peer. The append relies on a fresh
 * snapshot for every statement, whatever the default of the database. No plan is compiled (JIT): the estimated cost of a
 * read over many blocks of the log is high, and compiling it took a second where reading took a millisecond.
 */
const startupParameters = {
  statement_timeout: String(Duration.toMillis(statementMax)),
  lock_timeout: "8000",
  idle_in_transaction_session_timeout: "10000",
  default_transaction_isolation: "read committed",
  jit: "off",
  tcp_keepalives_idle: "15",
  tcp_keepalives_interval: "5",
  tcp_keepalives_count: "3"
}

/** `postgresql+asyncpg://…` (and other drivers' schemes) means the same server as `postgresql://…`. */
const plainUrl = (url: Redacted.Redacted): Redacted.Redacted =>
  Redacted.make(Redacted.value(url).replace(/^(postgres(?:ql)?)\+[a-z0-9]+:/i, "$1:"))

/** Null for a Unix socket, which cannot become silent, and for a URL that the client will refuse. */
const parseAddress = (url: Redacted.Redacted): { readonly host: string; readonly port: number } | null => {
  const text = Redacted.value(url)
  if (!URL.canParse(text)) return null
  const { hostname, port, searchParams } = new URL(text)
  const host = searchParams.get("host") ?? decodeURIComponent(hostname.replace(/^\[(.*)\]$/, "$1"))
  if (host.startsWith("/")) return null
  return {
    host: host === "" ? "localhost" : host,
    port: Number(searchParams.get("port") ?? (port === "" ? 5432 : port))
  }
}

/** Monitored connections, destroyed with the scope. */
const makeStream = Effect.fnUntraced(function*(url: Redacted.Redacted, silence: Duration.Duration) {
  const address = parseAddress(url)
  if (address === null) return null
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  return yield* Effect.acquireRelease(
    Effect.sync(() =>
      makeServerSockets({
        ...address,
        silenceMillis: Duration.toMillis(silence),
        onSilent: (count) =>
          runFork(Effect.logWarning(
            `The database did not answer for ${Duration.format(silence)}; ${count} connections are opened anew`
          ))
      })
    ),
    (sockets) => Effect.sync(sockets.destroy)
  )
})

/** Bounds the release of the pool, which waits for every connection that is still in use. */
const boundClosing = Effect.fnUntraced(function*(sockets: ServerSockets) {
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      setTimeout(sockets.destroy, Duration.toMillis(closeMax)).unref()
    })
  )
})

const makeClient = Effect.fnUntraced(function*(given: Redacted.Redacted, silence: Duration.Duration) {
  const url = plainUrl(given)
  const sockets = yield* makeStream(url, silence)
  const connection = {
    url,
    applicationName: "columba",
    connectTimeout: "5 seconds",
    startupParameters,
    ...(sockets === null ? {} : { stream: (): Duplex => sockets.open() })
  } as const
  const client = yield* Layer.build(
    PgClient.layer({ ...connection, multiplex: true, maxConnections: connectionsMax })
  )
  if (sockets !== null) yield* boundClosing(sockets)
  return Context.make(DatabaseSignals.ListenConfig, connection).pipe(
    Context.merge(client),
    Context.add(DatabaseSilence, () => sockets?.silentMillis() ?? 0)
  )
})

/** Provides `SqlClient`, `PgClient`, `DatabaseSignals` and `FleetLease`. */
export const layer = (url: Redacted.Redacted, options: { readonly silence?: Duration.Duration } = {}) =>
  Layer.merge(DatabaseSignals.layerPostgres, SqlFleetLease.layer).pipe(
    Layer.provideMerge(Layer.effectContext(makeClient(url, options.silence ?? silenceMax)))
  )
