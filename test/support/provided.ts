/** Says what to do to a test that asks for servers where none are started. */
export const outsideServers = (asked: string): never => {
  throw new Error(
    `${asked} is there for the tests under ${serverFolders.join(", ")} only; see vitest.config.ts for why`
  )
}

/** The folders whose tests get a Postgres and a RabbitMQ. All others must run without. */
export const serverFolders = [
  "test/conformance",
  "test/integration",
  "test/layers/postgres",
  "test/layers/rabbitmq",
  "test/support/servers"
]
