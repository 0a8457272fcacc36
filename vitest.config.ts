/**
 * Three kinds of tests. `unit` needs nothing and starts nothing. `servers` get a Postgres and a RabbitMQ, which vitest
 * starts only when a file of that project is in the run. `process` runs the built program and kills it; one file at a
 * time, because its load is sized for the whole machine.
 */
import { defineConfig } from "vitest/config"
import { serverFolders } from "./test/support/provided.ts"

/**
 * Time limits find tests that hang. They are no measure of speed: on a machine with other work a test takes ten times
 * as long as alone, and must pass.
 */
const unitTestMillis = 60_000
const serversTestMillis = 180_000

const inServers = serverFolders.map((folder) => `${folder}/**/*.test.ts`)
const inProcess = ["test/process/**/*.test.ts"]

export default defineConfig({
  test: {
    reporters: process.env["CI"] === undefined ? ["default"] : ["default", "github-actions"],
    // Two cores are what the tests must be good for; more files at once only make the timing-sensitive ones slow.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: [...inServers, ...inProcess],
          testTimeout: unitTestMillis,
          sequence: { groupOrder: 0 }
        }
      },
      {
        test: {
          name: "servers",
          include: inServers,
          globalSetup: "test/support/globalSetup.ts",
          testTimeout: serversTestMillis,
          hookTimeout: serversTestMillis,
          sequence: { groupOrder: 1 }
        }
      },
      {
        test: {
          name: "process",
          include: inProcess,
          globalSetup: ["test/process/support/build.ts", "test/support/globalSetup.ts"],
          fileParallelism: false,
          testTimeout: 240_000,
          hookTimeout: 180_000,
          sequence: { groupOrder: 2 }
        }
      }
    ]
  }
})
