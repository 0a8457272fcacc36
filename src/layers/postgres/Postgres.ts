/** A Postgres server as the database, by the URL an operator gives. */
import { Layer, Redacted } from "effect"
import { PgClient } from "@effect/sql-pg"
import * as DatabaseSignals from "./DatabaseSignals.ts"

/**
 * Connections of one process: one for the log's writer, one a LISTEN channel, the rest for reads, which share
 * connections (multiplex). A dozen processes stay under a stock server's limit of 100.
 */
const connectionsMax = 8

/**
 * What the session asks of the server. A statement may take 30 s (retention and migrations stay far below); who waits
 * for a lock gives up earlier than that; an abandoned transaction, which would hold up every append, is ended by the
 * server; a peer that vanished without a word is noticed by keep-alives.
 */
const startupParameters = {
  statement_timeout: "30000",
  lock_timeout: "20000",
  idle_in_transaction_session_timeout: "30000",
  tcp_keepalives_idle: "15",
  tcp_keepalives_interval: "5",
  tcp_keepalives_count: "3"
}

/** `postgresql+asyncpg://…` (and other drivers' spellings) names the same server as `postgresql://…`. */
export const plainUrl = (url: Redacted.Redacted): Redacted.Redacted =>
  Redacted.make(Redacted.value(url).replace(/^(postgres(?:ql)?)\+[a-z0-9]+:/i, "$1:"))

const layerClient = (url: Redacted.Redacted) =>
  Layer.suspend(() =>
    PgClient.layer({
      url: plainUrl(url),
      applicationName: "columba",
      multiplex: true,
      maxConnections: connectionsMax,
      connectTimeout: "5 seconds",
      keepAlive: "15 seconds",
      startupParameters
    })
  )

/** Provides `SqlClient`, `PgClient` and `DatabaseSignals`. */
export const layer = (url: Redacted.Redacted) =>
  DatabaseSignals.layerPostgres.pipe(Layer.provideMerge(layerClient(url)))
