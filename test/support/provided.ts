/** The error for a test that needs servers in a project that starts none. It says what to do. */
export const outsideServers = (asked: string): never => {
  throw new Error(
    `${asked} is there for the tests under ${serverFolders.join(", ")} only; see vitest.config.ts for why`
  )
}

/** The folders whose tests use servers. They get a Postgres and a RabbitMQ; tests with Redis start a server each. */
export const serverFolders = [
  "test/conformance",
  "test/integration",
  "test/layers/postgres",
  "test/layers/rabbitmq",
  "test/layers/redis",
  "test/support/servers"
]
