/**
 * A node's link to the database, so that this node alone can be cut off: packets get no answer, and connections do not end. Either
 * a proxy stops forwarding data, or the packets themselves are lost: then the database's end is in a network namespace, and the
 * link to it goes down, like a failed switch or cable. That needs root on Linux, and `ip`.
 */
import { spawn } from "node:child_process"
import { createServer, connect } from "node:net"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"
import { freshDirectory } from "../../test/support/directory.ts"
import * as FaultProxy from "../../test/support/FaultProxy.ts"
import { run } from "../../test/support/servers/ServerSource.ts"
import { until } from "../../test/support/until.ts"

export interface NodeLink {
  /** The database's URL for the node. */
  readonly databaseUrl: string
  readonly cutOff: Effect.Effect<void>
  readonly reconnect: Effect.Effect<void>
  /** The ports of the node's connections on the database's side. */
  readonly databasePorts: Effect.Effect<ReadonlyArray<number>>
}

export const byProxy = Effect.fnUntraced(
  function*(databaseUrl: string): Effect.fn.Return<NodeLink, never, Scope.Scope> {
    const url = new URL(databaseUrl)
    const proxy = yield* FaultProxy.make({ host: url.hostname, port: Number(url.port) })
    url.port = String(proxy.port)
    let heal: ReadonlyArray<() => void> = []
    return {
      databaseUrl: url.href,
      cutOff: Effect.sync(() => {
        heal = [proxy.add("upstream", blackHole), proxy.add("downstream", blackHole)]
      }),
      reconnect: Effect.sync(() => heal.forEach((remove) => remove())),
      databasePorts: proxy.ports
    }
  }
)

const blackHole = { type: "timeout", millis: 0 } as const

const commandMillis = 10_000

const forwarder = join(import.meta.dirname, "../program/forward.mjs")
/** The hardware address of the far end of each link: a link has only two ends. */
const hardware = "02:00:00:00:00:02"

/** Inside of its own network. */
const port = 5432

/** Four addresses of a range that is reserved for tests (RFC 2544), of which two can be used. */
const addresses = (index: number): readonly [ours: string, theirs: string] => {
  const base = `198.${18 + (process.pid >> 8) % 2}.${process.pid % 256}`
  return [`${base}.${index * 4 + 1}`, `${base}.${index * 4 + 2}`]
}

export const byPackets = Effect.fnUntraced(function*(
  databaseUrl: string,
  index: number
): Effect.fn.Return<NodeLink, never, Scope.Scope> {
  const url = new URL(databaseUrl)
  const database = { host: url.hostname, port: Number(url.port) }
  const name = `columba${process.pid}n${index}`
  const [here, there] = [`v${process.pid}n${index}a`, `v${process.pid}n${index}b`]
  const [ours, theirs] = addresses(index)
  const ip = (...args: ReadonlyArray<string>) => Effect.orDie(run(["ip", ...args], commandMillis))
  const inside = (...args: ReadonlyArray<string>) => ip("-n", name, ...args)

  // A path is the same in all network namespaces, so the link to the database uses a socket with a path.
  const path = join(yield* freshDirectory, "database")
  const ports = new Set<number>()
  yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer((client) => {
        const to = connect(database)
        to.on("connect", () => ports.add(to.localPort ?? 0))
        for (const [one, other] of [[client, to], [to, client]] as const) {
          one.on("error", () => {})
          one.on("close", () => other.destroy())
          one.pipe(other)
        }
      })
      server.listen(path, () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )
  yield* Effect.acquireRelease(ip("netns", "add", name), () => Effect.ignoreCause(ip("netns", "del", name)))
  yield* ip("link", "add", here, "type", "veth", "peer", "name", there, "address", hardware, "netns", name)
  yield* ip("addr", "add", `${ours}/30`, "dev", here)
  yield* ip("link", "set", here, "up")
  // Otherwise a connection would fail after some seconds, because no neighbour answers for the address.
  yield* ip("neigh", "add", theirs, "lladdr", hardware, "dev", here, "nud", "permanent")
  yield* inside("addr", "add", `${theirs}/30`, "dev", there)
  yield* inside("link", "set", there, "up")
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn("ip", ["netns", "exec", name, process.execPath, forwarder, String(port), path], { stdio: "ignore" })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  url.hostname = theirs
  url.port = String(port)
  yield* until("the database answers through the link", reaches(theirs, port))
  return {
    databaseUrl: url.href,
    // At the far end: the near one keeps its address and its route, and packets to it are lost.
    cutOff: Effect.asVoid(inside("link", "set", there, "down")),
    reconnect: Effect.asVoid(inside("link", "set", there, "up")),
    databasePorts: Effect.sync(() => [...ports])
  }
})

const reaches = (host: string, port: number) =>
  Effect.callback<boolean>((resume) => {
    const socket = connect({ host, port })
    const end = (reached: boolean) => {
      socket.destroy()
      resume(Effect.succeed(reached))
    }
    socket.once("connect", () => end(true)).once("error", () => end(false))
  })
