/**
 * A private RabbitMQ for the tests, with a separate node name, ports, cookie, directories and name daemon, so that it
 * neither sees nor disturbs another broker on this machine.
 */
import { chmodSync, writeFileSync } from "node:fs"
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { spawn } from "node:child_process"
import { connect } from "amqplib"
import { Effect } from "effect"
import type { Scope } from "effect"
import { beginReady, containerHost, localHost, runCommand } from "./ServerHost.ts"
import type { Command, ServerHost } from "./ServerHost.ts"
import { freePort, serverHome } from "./ServerHome.ts"
import { findServer } from "./ServerSource.ts"
import type { ServerMissing } from "./ServerSource.ts"

export interface RabbitMqServer {
  readonly url: string
  /** Starts it (again), and returns when it answers. */
  readonly start: Effect.Effect<void>
  readonly stop: Effect.Effect<void>
  readonly restart: Effect.Effect<void>
  /** Kills all its processes with SIGKILL. */
  readonly kill: Effect.Effect<void>
  /** Suspends all its processes: connections stay open and get no answer, until `thaw`. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** `rabbitmqctl` with these arguments, on this node. */
  readonly ctl: (...args: ReadonlyArray<string>) => Effect.Effect<string>
  /** The same for another process: arguments are to be appended. */
  readonly ctlCommand: Command
}

export const make: Effect.Effect<RabbitMqServer, ServerMissing, Scope.Scope> = Effect.gen(function*() {
  const source = yield* findServer({
    server: "RabbitMQ",
    image: "rabbitmq:4",
    programs: ["rabbitmq-server", "rabbitmqctl"],
    directories: ["/usr/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin/.", "/usr/local/opt/rabbitmq/sbin/."],
    debianPackage: "rabbitmq-server"
  })
  const port = yield* freePort
  const url = `amqp://guest:guest@127.0.0.1:${port}`
  const { host, ctlOptions } = source._tag === "Container"
    ? yield* containerRabbit(source.image, port)
    : yield* localRabbit(source.directory, port)
  const start = beginReady(host, answers(url), "120 seconds")
  const end = (signal: "SIGTERM" | "SIGKILL") => Effect.andThen(host.signal(signal), host.gone)
  yield* Effect.acquireRelease(start, () => Effect.andThen(host.signal("SIGCONT"), end("SIGKILL")))
  return {
    url,
    start,
    stop: end("SIGTERM"),
    restart: Effect.andThen(end("SIGTERM"), start),
    kill: end("SIGKILL"),
    freeze: host.signal("SIGSTOP"),
    thaw: host.signal("SIGCONT"),
    ctl: (...args) => runCommand(host.command("rabbitmqctl", [...ctlOptions, ...args])),
    ctlCommand: host.command("rabbitmqctl", ctlOptions)
  }
})

const containerRabbit = Effect.fnUntraced(function*(image: string, port: number) {
  const home = yield* serverHome("rabbitmq", undefined)
  // The node's name, and with it the data directory, depend on the host name, which must be the same after a restart.
  const options = ["--hostname", "columba-test", "--publish", `127.0.0.1:${port}:5672`]
  return { host: yield* containerHost(home, { image, options, args: [] }), ctlOptions: [] }
})

const localRabbit = Effect.fnUntraced(function*(directory: string, port: number) {
  const home = yield* serverHome("rabbitmq", undefined)
  const inHome = (name: string) => join(home.directory, name)
  const distributionPort = yield* freePort
  const namesPort = yield* freePort
  const node = `columba-test-${port}@localhost`
  const cookie = randomBytes(16).toString("hex")
  writeFileSync(inHome(".erlang.cookie"), cookie)
  chmodSync(inHome(".erlang.cookie"), 0o400)
  writeFileSync(inHome("enabled_plugins"), "[].\n")
  writeFileSync(inHome("environment"), "")
  // A dead letter whose queue is missing is retried after this time; the default is three minutes.
  writeFileSync(inHome("advanced.config"), "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 5000}]}].\n")
  writeFileSync(inHome("rabbitmq.conf"), `listeners.tcp.default = 127.0.0.1:${port}\nlog.console.level = warning\n`)
  const env = {
    PATH: process.env["PATH"] ?? "",
    LANG: "C.UTF-8",
    HOME: home.directory,
    ERL_EPMD_PORT: String(namesPort),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    RABBITMQ_CONF_ENV_FILE: inHome("environment"),
    RABBITMQ_NODENAME: node,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_MNESIA_BASE: inHome("mnesia"),
    RABBITMQ_MNESIA_DIR: inHome("mnesia/node"),
    RABBITMQ_LOG_BASE: home.directory,
    RABBITMQ_LOGS: "-",
    RABBITMQ_ENABLED_PLUGINS_FILE: inHome("enabled_plugins"),
    RABBITMQ_PLUGINS_EXPAND_DIR: inHome("plugins"),
    RABBITMQ_CONFIG_FILE: inHome("rabbitmq"),
    RABBITMQ_ADVANCED_CONFIG_FILE: inHome("advanced.config"),
    RABBITMQ_GENERATED_CONFIG_DIR: inHome("generated"),
    RABBITMQ_FEATURE_FLAGS_FILE: inHome("feature_flags"),
    RABBITMQ_PID_FILE: inHome("rabbitmq.pid"),
    // Schedulers that spin would take a core from the tests.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
      "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
    // Makes the script replace itself by the server, so that the child process is the server and not a shell.
    RUNNING_UNDER_SYSTEMD: "true"
  }
  // A separate name daemon: otherwise the server would start one that outlives it, or use that of the machine.
  const names = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn("epmd", ["-address", "127.0.0.1", "-port", String(namesPort)], { detached: true, stdio: "ignore", env })
    ),
    (daemon) => Effect.sync(() => daemon.kill("SIGKILL"))
  )
  names.unref()
  const companions = names.pid === undefined ? [] : [names.pid]
  yield* home.remember(companions)
  const host: ServerHost = localHost(home, {
    directory,
    program: "rabbitmq-server",
    args: [],
    env,
    owner: undefined,
    companions
  })
  return { host, ctlOptions: ["-n", node, "--erlang-cookie", cookie] }
})

const answers = (url: string) => Effect.tryPromise(() => connect(url).then((connection) => connection.close()))
