/**
 * A TCP proxy that disturbs connections, with Toxiproxy's terms: `latency`, `bandwidth`, `timeout` (a black hole, closed
 * after a while or never), `reset_peer`, `slicer`, `limit_data`. A toxic applies to one direction of all open and later
 * connections until it is removed. The actions of the proxy can be awaited, so that a test needs no sleep.
 */
import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net"
import { Effect, type Scope } from "effect"

export type Toxic =
  /** Each piece of data is delayed by this time. */
  | { readonly type: "latency"; readonly millis: number }
  /** Limits the bytes per second. */
  | { readonly type: "bandwidth"; readonly bytesPerSecond: number }
  /** Data is swallowed. After `millis` the connection is closed; with 0 it never is. */
  | { readonly type: "timeout"; readonly millis: number }
  /** After `millis` both sides get an RST. */
  | { readonly type: "reset_peer"; readonly millis: number }
  /** Data arrives in pieces of this many bytes. */
  | { readonly type: "slicer"; readonly bytes: number }
  /** The connection is closed after this many bytes. */
  | { readonly type: "limit_data"; readonly bytes: number }

/** `downstream` is from the server to the client. */
export type Direction = "upstream" | "downstream"

export interface FaultProxy {
  readonly port: number
  /** Returns the function that removes the toxic. */
  readonly add: (direction: Direction, toxic: Toxic) => () => void
  /** Succeeds while at least one connection is open. */
  readonly connected: Effect.Effect<void>
  /** Succeeds while no connection is open on either side. */
  readonly drained: Effect.Effect<void>
  /** Succeeds once the data that went into black holes has this many matches of the global pattern. */
  readonly swallowed: (pattern: RegExp, count: number) => Effect.Effect<void>
  /** Refuses new connections and cuts the open ones, until `enable`. */
  readonly disable: Effect.Effect<void>
  readonly enable: Effect.Effect<void>
  /** The local ports of its connections to the server. */
  readonly ports: Effect.Effect<ReadonlyArray<number>>
}

interface Link {
  readonly client: Socket
  readonly server: Socket
  readonly timers: Set<NodeJS.Timeout>
}

export const make = (upstream: { readonly host: string; readonly port: number }): Effect.Effect<
  FaultProxy,
  never,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const toxics: Record<Direction, Set<Toxic>> = { upstream: new Set(), downstream: new Set() }
    const links = new Set<Link>()
    const waiting = new Set<() => void>()
    let swallowedText = ""
    const changed = () => {
      for (const check of waiting) check()
    }
    const onSwallowed = (data: Buffer) => {
      swallowedText += data.toString("latin1")
      changed()
    }
    const until = (condition: () => boolean) =>
      Effect.callback<void>((resume) => {
        const check = () => {
          if (!condition()) return
          waiting.delete(check)
          resume(Effect.void)
        }
        waiting.add(check)
        check()
        return Effect.sync(() => waiting.delete(check))
      })
    const cut = () => {
      for (const link of links) close(link)
    }
    // Half-open is allowed: an end is forwarded like data, so that toxics delay it too.
    const server = createServer({ allowHalfOpen: true }, (client) => {
      const link: Link = {
        client,
        server: connect({ ...upstream, allowHalfOpen: true }),
        timers: new Set()
      }
      links.add(link)
      pipe(link, link.client, link.server, toxics.upstream, onSwallowed)
      pipe(link, link.server, link.client, toxics.downstream, onSwallowed)
      const onClose = () => {
        if (client.destroyed && link.server.destroyed) links.delete(link)
        changed()
      }
      client.on("close", onClose)
      link.server.on("close", onClose)
      changed()
    })
    let port = 0
    const enable = Effect.callback<void>((resume) => {
      server.listen(port, "127.0.0.1", () => {
        port = (server.address() as AddressInfo).port
        resume(Effect.void)
      })
    })
    yield* Effect.acquireRelease(enable, () => Effect.sync(() => stop(server, cut)))
    return {
      port,
      add: (direction, toxic) => {
        toxics[direction].add(toxic)
        for (const link of links) strike(link, toxic)
        return () => toxics[direction].delete(toxic)
      },
      connected: until(() => links.size > 0),
      drained: until(() => links.size === 0),
      swallowed: (pattern, count) => until(() => (swallowedText.match(pattern)?.length ?? 0) >= count),
      disable: Effect.sync(() => stop(server, cut)),
      enable,
      ports: Effect.sync(() => [...links].flatMap(({ server }) => server.localPort ?? []))
    }
  })

const stop = (server: Server, cut: () => void): void => {
  server.close()
  cut()
}

const close = (link: Link): void => {
  for (const timer of link.timers) clearTimeout(timer)
  link.client.destroy()
  link.server.destroy()
}

/** The effect of a toxic that needs no data: it starts when the toxic is added or the connection opens. */
const strike = (link: Link, toxic: Toxic): void => {
  if (toxic.type === "timeout" && toxic.millis > 0) later(link, toxic.millis, () => close(link))
  if (toxic.type === "reset_peer") {
    later(link, toxic.millis, () => {
      link.client.resetAndDestroy()
      link.server.resetAndDestroy()
    })
  }
}

const pipe = (
  link: Link,
  from: Socket,
  to: Socket,
  toxics: ReadonlySet<Toxic>,
  onSwallowed: (data: Buffer) => void
): void => {
  let passed = 0
  /** When the last piece of this direction is sent. Later pieces must not overtake it. */
  let dueAt = 0
  const held: Array<{ readonly dueAt: number; readonly run: () => void }> = []
  /** One timer for all pieces: timers of one millisecond do not fire in the order in which they were set. */
  const release = () => {
    const now = performance.now()
    while (held.length > 0 && held[0]!.dueAt <= now) held.shift()!.run()
    if (held.length > 0) later(link, held[0]!.dueAt - now, release)
  }
  const inTurn = (run: () => void) => {
    const now = performance.now()
    if (held.length === 0 && dueAt <= now) return run()
    if (held.push({ dueAt, run }) === 1) later(link, dueAt - now, release)
  }
  const send = (data: Buffer | null) => {
    const { bytesPerSecond, delay, limit, pieces, swallow } = chooseEffect(toxics)
    // A black hole swallows an end as well as data: neither side notices that the other is gone.
    if (swallow) return data === null ? undefined : onSwallowed(data)
    dueAt = Math.max(dueAt, performance.now() + delay)
    if (data === null) return inTurn(() => to.end())
    const allowed = data.subarray(0, limit - passed)
    passed += data.length
    for (let at = 0; at < allowed.length; at += pieces) {
      const piece = allowed.subarray(at, at + pieces)
      dueAt += piece.length / bytesPerSecond * 1000
      inTurn(() => to.write(piece))
    }
    // The data that was written last is then on its way.
    if (passed >= limit) inTurn(() => later(link, 0, () => close(link)))
  }
  for (const toxic of toxics) strike(link, toxic)
  from.on("data", send)
  from.on("end", () => send(null))
  from.on("error", () => {})
  from.on("close", (failed) => {
    if (failed && !chooseEffect(toxics).swallow) to.resetAndDestroy()
  })
}

const chooseEffect = (toxics: ReadonlySet<Toxic>) => {
  const effect = { delay: 0, bytesPerSecond: Infinity, pieces: Infinity, limit: Infinity, swallow: false }
  for (const toxic of toxics) {
    if (toxic.type === "latency") effect.delay = toxic.millis
    else if (toxic.type === "bandwidth") effect.bytesPerSecond = toxic.bytesPerSecond
    else if (toxic.type === "slicer") effect.pieces = toxic.bytes
    else if (toxic.type === "limit_data") effect.limit = toxic.bytes
    else if (toxic.type === "timeout") effect.swallow = true
  }
  return effect
}

const later = (link: Link, millis: number, run: () => void): void => {
  const timer = setTimeout(() => {
    link.timers.delete(timer)
    run()
  }, millis)
  link.timers.add(timer)
}
