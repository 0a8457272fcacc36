/**
 * Three kinds of tests. `unit` needs nothing and starts nothing. `servers` get a Postgres and a RabbitMQ, which vitest
 * starts only when a file of the kinds that use them is in the run; tests of Redis start one for themselves. `process`
 * runs the built program and kills it. The last two wait for other processes most of the time, so they run beside each
 * other.
 *
 * Files that run in one worker share the modules that they import: loading them anew for every file would be half of all
 * the computing. So a file must leave nothing behind that another one sees.
 */
import { defineConfig } from "vitest/config"
import { serverFolders } from "./test/support/provided.ts"

/**
 * Finds tests that hang. It is no measure of speed: on a machine with other work a test takes ten times as long as alone,
 * and must pass. The longest are a minute of load, and start the program several times.
 */
const testMillis = 600_000

const inServers = serverFolders.map((folder) => `${folder}/**/*.test.ts`)
const inProcess = ["test/process/**/*.test.ts"]
const limits = { testTimeout: testMillis, hookTimeout: testMillis }

export default defineConfig({
  test: {
    reporters: process.env["CI"] === undefined ? ["default"] : ["default", "github-actions"],
    // Two cores are what the tests must be good for; more files at once only make the timing-sensitive ones slow.
    maxWorkers: 2,
    isolate: false,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: [...inServers, ...inProcess],
          ...limits,
          sequence: { groupOrder: 0 }
        }
      },
      {
        extends: true,
        test: {
          name: "servers",
          include: inServers,
          globalSetup: "test/support/globalSetup.ts",
          ...limits,
          maxWorkers: 4,
          sequence: { groupOrder: 1 }
        }
      },
      {
        extends: true,
        test: {
          name: "process",
          include: inProcess,
          globalSetup: ["test/process/support/build.ts", "test/support/globalSetup.ts"],
          ...limits,
          maxWorkers: 4,
          sequence: { groupOrder: 1 }
        }
      }
    ]
  }
})
