/** The program as its user sees it: its output and its exit codes. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import { Webhook } from "standardwebhooks"
import { freshDirectory } from "../support/directory.ts"
import * as Subscriber from "../support/subscriber.ts"
import * as RedisServer from "../support/servers/RedisServer.ts"
import { freePort } from "../support/servers/ServerHome.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"
import { program, runProgram } from "./support/runProgram.ts"
import { until } from "../support/until.ts"

const run = Effect.fnUntraced(function*(args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) {
  return yield* runProgram(args, { cwd: yield* freshDirectory, env })
})

const commands = [
  "serve",
  "top",
  "simulator",
  "devices list",
  "devices add",
  "devices login",
  "devices explain",
  "devices reconnect",
  "devices release",
  "devices deactivate",
  "devices reactivate",
  "devices rename",
  "devices disconnect",
  "devices status",
  "devices auto-reply",
  "gaps list",
  "messages send",
  "messages cancel",
  "messages react",
  "messages edit",
  "messages revoke",
  "messages read",
  "messages typing",
  "events tail",
  "subscriptions add",
  "subscriptions rotate",
  "keys list",
  "keys add",
  "keys rotate",
  "keys revoke",
  "dead list",
  "dead retry",
  "dead drop",
  "migrate",
  "doctor"
]

describe("help", () => {
  it.live("documents every command with examples", () =>
    Effect.gen(function*() {
      const { code, out } = yield* run(["--help"])
      assert.strictEqual(code, 0)
      for (const command of commands) assert.include(out, command.split(" ")[0])
      for (const command of commands) {
        const help = yield* run([...command.split(" "), "--help"])
        assert.strictEqual(help.code, 0, command)
        assert.include(help.out, "EXAMPLES", command)
        assert.include(help.out, `columba ${command}`, command)
      }
    }))

  it.live("names the environment variable and the default of each flag of serve", () =>
    Effect.gen(function*() {
      const { out } = yield* run(["serve", "--help"])
      for (
        const name of ["DATABASE_URL", "RABBITMQ_URL", "WHATSAPP_API_URL", "COLUMBA_API_KEYS", "COLUMBA_ROLES", "PORT"]
      ) {
        assert.include(out, `[${name}]`)
      }
      for (const words of ["[PORT] (default 8080)", "[COLUMBA_RETENTION] (default 90 days)", "(unset: no broker;"]) {
        assert.include(out, words)
      }
    }))
})

describe("mistakes", () => {
  it.live("of usage are one line and a hint, and exit with 2", () =>
    Effect.gen(function*() {
      const { code, err, out } = yield* run(["device", "list"])
      assert.strictEqual(code, 2)
      assert.strictEqual(out, "")
      assert.deepStrictEqual(err.trim().split("\n"), [
        `columba: Unknown subcommand "device" for "columba" Did you mean this? devices`,
        "  see: columba --help"
      ])
    }))

  it.live("in settings are reported all at once, without secrets and stack traces, and exit with 2", () =>
    Effect.gen(function*() {
      const { code, err } = yield* run(["serve", "--port", "lots"], {
        DATABASE_URL: "mysql://root:hunter2@db",
        HOST: "0.0.0.0"
      })
      assert.strictEqual(code, 2)
      assert.include(err, "3 settings need your attention")
      for (const name of ["PORT is 'lots'", "DATABASE_URL is a value", "HOST is '0.0.0.0'"]) assert.include(err, name)
      assert.notInclude(err, "hunter2")
      assert.notInclude(err, "    at ")
    }))

  it.live("in a .env file are reported like those of the environment", () =>
    Effect.gen(function*() {
      const cwd = yield* freshDirectory
      writeFileSync(join(cwd, ".env"), "PORT=lots\n")
      const { code, err } = yield* runProgram(["serve"], { cwd })
      assert.strictEqual(code, 2)
      assert.include(err, "PORT is 'lots'")
    }))
})

describe("invalid values", () => {
  const refused: ReadonlyArray<readonly [args: ReadonlyArray<string>, words: string]> = [
    [["devices", "list", "--limit", "0"], "--limit"],
    [["devices", "list", "--limit", "1001"], "--limit"],
    [["devices", "list", "--url", "localhost"], "Expected a URL like http://127.0.0.1:8080"],
    [["events", "tail", "--after", "-1"], "Expected a position that an answer named, or 0 for the beginning"],
    [["events", "tail", "--limit", "0"], "Expected 1 or more"],
    [["events", "tail", "--kind", "mesage.received"], "message.received, message.sent, "]
  ]

  it.live("are refused before any request, each with the expected form", () =>
    Effect.gen(function*() {
      for (const [args, words] of refused) {
        const { code, err } = yield* run(args)
        assert.strictEqual(code, 2, args.join(" "))
        assert.include(err, words)
        assert.include(err, `see: columba ${args[0]} ${args[1]} --help`)
        assert.notInclude(err, "defect")
      }
    }))
})

describe("a missing part", () => {
  it.live("is reported if it is the server, with the way to start one, and exit code 3", () =>
    Effect.gen(function*() {
      const url = `http://127.0.0.1:${yield* freePort}`
      for (const args of [["devices", "list"], ["events", "tail"]]) {
        const { code, err } = yield* run([...args, "--url", url])
        assert.strictEqual(code, 3)
        assert.include(err, `no Columba answers at ${url}: nothing listens there`)
        assert.include(err, "npm start")
      }
    }))

  it.live("is reported at once by all commands that need the database if it is the user of DATABASE_URL", () =>
    Effect.gen(function*() {
      const env = { DATABASE_URL: `postgres://127.0.0.1:${yield* freePort}/columba`, PORT: "0" }
      for (const command of ["serve", "doctor", "migrate"]) {
        const { code, err, out } = yield* run([command], env)
        assert.notStrictEqual(code, 0, command)
        assert.include(out + err, "DATABASE_URL names no user", command)
        // Printed by a start at each try while it waits for a server.
        assert.notInclude(out + err, "does not answer yet", command)
      }
    }))

  it.live("is reported by doctor and migrate with the server's or network's reason, as by serve, if it is the database", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const env = { DATABASE_URL: `postgres://columba:hunter2@127.0.0.1:${port}/columba` }
      for (const command of ["doctor", "migrate"]) {
        const { code, err, out } = yield* run([command], env)
        assert.strictEqual(code, 3, command)
        assert.include(out + err, `the database at 127.0.0.1:${port}/columba is not usable: `, command)
        assert.include(out + err, "ECONNREFUSED", command)
        assert.notInclude(out + err, "hunter2")
      }
    }))

  it.live("is named by the doctor, each with its fix", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const { code, err, out } = yield* run(["doctor"], {
        DATABASE_URL: `postgres://columba:hunter2@127.0.0.1:${port}/columba`,
        RABBITMQ_URL: `amqp://columba:hunter2@127.0.0.1:${port}`,
        WHATSAPP_API_URL: `http://127.0.0.1:${port}`
      })
      assert.strictEqual(code, 3)
      for (const name of ["DATABASE_URL", "RABBITMQ_URL", "WHATSAPP_API_URL"]) assert.include(out, `check ${name}`)
      assert.include(err, "failed: database, broker, gateway")
      assert.notInclude(out + err, "hunter2")

      const json = yield* run(["doctor", "--json"], { RABBITMQ_URL: `amqp://columba:hunter2@127.0.0.1:${port}` })
      const findings = json.out.trim().split("\n").map((line) =>
        JSON.parse(line) as { name: string; state: string; detail: string; fix: string | null }
      )
      assert.deepInclude(findings.map(({ name, state }) => [name, state]), ["broker", "failed"])
      assert.deepInclude(findings.map(({ fix, name }) => [name, fix]), ["runtime", null])
      assert.notInclude(json.out, "hunter2")
    }))

  it.live("is reported by the doctor if it is Redis: unreachable, refusing, or usable", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.orDie(RedisServer.make)
      const doctor = (url: string) => run(["doctor"], { REDIS_URL: url })
      assert.include((yield* doctor(redis.url)).out, `ok   redis      Redis at ${new URL(redis.url).host} answers`)
      const unknown = yield* doctor(redis.url.replace("//", "//shop:hunter2@"))
      assert.strictEqual(unknown.code, 3)
      assert.include(unknown.out, "fail redis      WRONGPASS")
      const away = yield* doctor(`redis://:hunter2@127.0.0.1:${yield* freePort}`)
      assert.include(away.out, "ECONNREFUSED")
      for (const { err, out } of [unknown, away]) {
        assert.include(out, "check REDIS_URL")
        assert.include(err, "failed: redis")
        assert.notInclude(out + err, "hunter2")
      }
    }))

  it.live("is found by the doctor also if the gateway answers and refuses the key", () =>
    Effect.gen(function*() {
      const gateway = yield* SimulatedGateway.start({ dialect: "waha", waha: { apiKey: "the right key" } })
      const doctor = (key: string) =>
        run(["doctor"], { WHATSAPP_API_URL: gateway.url, WHATSAPP_API_DIALECT: "waha", WHATSAPP_API_KEY: key })
      const refused = yield* doctor("hunter2")
      assert.strictEqual(refused.code, 3)
      assert.include(refused.out, "refused our credentials (401)")
      assert.notInclude(refused.out + refused.err, "hunter2")
      assert.include((yield* doctor("the right key")).out, "ok   gateway    waha at")
    }))
})

describe("a running Columba", () => {
  it.live("delivers to a subscription that the commands add, show, pause, replay and remove", () =>
    Effect.gen(function*() {
      const cwd = yield* freshDirectory
      const server = yield* ColumbaProcess.make({
        directory: cwd,
        env: { COLUMBA_DEMO_DEVICES: "1", COLUMBA_WEBHOOK_ALLOW_PRIVATE: "true" }
      })
      yield* server.start
      const run = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
        const ended = yield* runProgram(["subscriptions", ...args, "--url", server.url], { cwd })
        assert.strictEqual(ended.code, 0, ended.err)
        return ended.out
      })
      const subscriber = yield* Subscriber.start()
      const added = yield* run(
        "add",
        subscriber.url,
        "--name",
        "Orders",
        "--kind",
        "device.state",
        "--from",
        "beginning"
      )
      const [id, secret] = [/sub_[0-9A-Z]{26}/.exec(added)![0], /whsec_\S+/.exec(added)![0]]
      yield* subscriber.until(() => subscriber.taken().length > 0)
      new Webhook(secret).verify(subscriber.received[0]!.text, subscriber.received[0]!.headers as never)
      assert.include(yield* run("list"), "Orders")
      assert.match(yield* run("test", id), /^delivered, status 204, \d+ ms$/m)
      // Attempts are written about once a second.
      yield* until(
        "the delivery is listed",
        Effect.map(run("deliveries", id), (listed) => /device\.state +delivered +204/.test(listed))
      )
      assert.include(yield* run("pause", id), `paused ${id}`)
      assert.match(yield* run("replay", id), /^delivers again after 0: \d+ numbers of the log$/m)
      const before = subscriber.received.length
      assert.match(yield* run("resume", id), /is active\n/)
      yield* subscriber.until(() => subscriber.received.length > before)
      assert.notInclude(yield* run("show", id), secret)
      assert.strictEqual((yield* run("remove", id)).trim(), `removed ${id}`)
    }))

  it.live("is shown by the commands: demo devices with traffic, one more added, explained, and followed", () =>
    Effect.gen(function*() {
      const cwd = yield* freshDirectory
      const server = yield* ColumbaProcess.make({ directory: cwd, env: { COLUMBA_DEMO_DEVICES: "3" } })
      yield* server.start
      const remote = (...args: ReadonlyArray<string>) => runProgram([...args, "--url", server.url], { cwd })

      const tail = yield* remote("events", "tail", "--after", "0", "--kind", "message.received", "--limit", "2")
      assert.strictEqual(tail.code, 0)
      assert.lengthOf(tail.out.trim().split("\n"), 2)

      const pipe = `"${process.execPath}" "${program}" events tail --after 0 --url ${server.url} | head -n 2`
      const piped = yield* runProgram(["-c", pipe], { cwd, command: ["bash", "-o", "pipefail"] })
      assert.deepStrictEqual([piped.code, piped.err], [0, ""], "a reader may stop reading")

      const added = yield* remote("devices", "add", "--name", "Front desk", "--json")
      assert.strictEqual(added.code, 0, added.err)
      const { id } = JSON.parse(added.out) as { id: string }
      const list = yield* remote("devices", "list", "--json")
      assert.lengthOf(list.out.trim().split("\n"), 4)
      assert.include(list.out, id)

      const none = yield* remote("devices", "list", "--state", "Quarantined")
      assert.deepStrictEqual([none.code, none.out.trim()], [0, "no device is in the state Quarantined"])

      const explained = yield* remote("devices", "explain", id)
      assert.strictEqual(explained.code, 0)
      assert.match(explained.out, /\nwhy {4}.*\nnext {3}/)

      const unknown = yield* remote("devices", "explain", "dev_00000000000000000000000000")
      assert.deepStrictEqual([unknown.code, unknown.err.trim()], [
        1,
        "columba: No device dev_00000000000000000000000000"
      ])
      const tailed = yield* remote("events", "tail", "--device", "dev_00000000000000000000000000")
      assert.deepStrictEqual([tailed.code, tailed.err.trim()], [
        1,
        "columba: No device dev_00000000000000000000000000"
      ])

      const replaced = yield* remote("events", "tail", "--after", "1-00000000")
      assert.strictEqual(replaced.code, 1)
      assert.include(replaced.err, "columba: The log was restored or created anew")
      assert.include(replaced.err, "--after 0 begins with the oldest event that is kept")

      const stopped = yield* server.terminate
      assert.deepStrictEqual([stopped.code, stopped.signal], [0, null])
    }))
})
