/** A private Redis for the tests that need one, with a separate port and directory and nothing on disk. */
import { Effect } from "effect"
import type { Scope } from "effect"
import { createConnection } from "node:net"
import { beginReady, containerHost, localHost } from "./ServerHost.ts"
import { freePort, serverHome } from "./ServerHome.ts"
import { findServer } from "./ServerSource.ts"
import type { ServerMissing } from "./ServerSource.ts"

export interface RedisServer {
  readonly url: string
  /** Starts it (again), and returns when it answers. */
  readonly start: Effect.Effect<void>
  readonly kill: Effect.Effect<void>
  /** Suspends it: connections stay open and get no answer, until `thaw`. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
}

export const make: Effect.Effect<RedisServer, ServerMissing, Scope.Scope> = Effect.gen(function*() {
  const source = yield* findServer({
    server: "Redis",
    image: "redis:7-alpine",
    programs: ["redis-server"],
    directories: ["/opt/homebrew/opt/redis/bin/.", "/usr/local/opt/redis/bin/."],
    debianPackage: "redis-server"
  })
  const port = yield* freePort
  const home = yield* serverHome("redis", undefined)
  const args = ["--save", "", "--appendonly", "no"]
  const host = source._tag === "Container"
    ? yield* containerHost(home, { image: source.image, options: ["--publish", `127.0.0.1:${port}:6379`], args })
    : localHost(home, {
      directory: source.directory,
      program: "redis-server",
      args: ["--bind", "127.0.0.1", "--port", String(port), "--dir", home.directory, ...args],
      env: { PATH: process.env["PATH"] ?? "" },
      owner: undefined,
      companions: []
    })
  const start = beginReady(host, answers(port), "60 seconds")
  const kill = Effect.andThen(host.signal("SIGKILL"), host.gone)
  yield* Effect.acquireRelease(start, () => Effect.andThen(host.signal("SIGCONT"), kill))
  return {
    url: `redis://127.0.0.1:${port}`,
    start,
    kill,
    freeze: host.signal("SIGSTOP"),
    thaw: host.signal("SIGCONT")
  }
})

const answers = (port: number): Effect.Effect<void, string> =>
  Effect.callback((resume) => {
    const socket = createConnection({ host: "127.0.0.1", port }, () => socket.write("PING\r\n"))
    const end = (answered: boolean) => {
      socket.destroy()
      resume(answered ? Effect.void : Effect.fail("no answer"))
    }
    socket.once("data", (data) => end(data.toString().startsWith("+PONG")))
    socket.once("error", () => end(false))
    return Effect.sync(() => socket.destroy())
  })
