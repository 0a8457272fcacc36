/** The Postgres and the RabbitMQ of a run, shared by its rows. Every fault is healed before its row ends. */
import { Effect } from "effect"
import { freshVhostOn } from "../test/support/broker.ts"
import { freshDatabaseOn } from "../test/support/database.ts"
import * as PostgresServer from "../test/support/servers/PostgresServer.ts"
import * as RabbitMqServer from "../test/support/servers/RabbitMqServer.ts"

export interface Servers {
  readonly postgres: PostgresServer.PostgresServer
  readonly broker: RabbitMqServer.RabbitMqServer
}

export const make = Effect.map(
  Effect.all([PostgresServer.make, RabbitMqServer.make], { concurrency: 2 }),
  ([postgres, broker]): Servers => ({ postgres, broker })
)

/** A separate database and virtual host for a row. */
export const freshPlaces = ({ broker, postgres }: Servers) =>
  Effect.all({
    databaseUrl: freshDatabaseOn(postgres.url),
    rabbitUrl: freshVhostOn(broker.url, broker.ctlCommand)
  })
