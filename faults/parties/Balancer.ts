/**
 * The load balancer in front of the nodes of a cluster: polls each node's `/readyz` twice per second, gives new connections in turn
 * to those that answer 200, and cuts the connections of one that does not.
 */
import { connect, createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"
import { Effect } from "effect"
import type { Scope } from "effect"
import type { ColumbaProcess } from "../../test/process/support/ColumbaProcess.ts"

export interface Balancer {
  readonly url: string
  /** Connections go to this node too, once it answers. */
  readonly add: (node: ColumbaProcess) => void
  /** The nodes that answered the last request. */
  readonly answering: () => ReadonlyArray<ColumbaProcess>
}

const askEvery = 500
const answerMillis = 2000

const isReady = async ({ url }: ColumbaProcess): Promise<boolean> => {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(answerMillis) })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false
  }
}

export const make: Effect.Effect<Balancer, never, Scope.Scope> = Effect.gen(function*() {
  const connections = new Map<ColumbaProcess, Set<Socket>>()
  const up = new Set<ColumbaProcess>()
  let turn = 0
  let ended = false
  const cut = (node: ColumbaProcess) => {
    for (const socket of connections.get(node) ?? []) socket.destroy()
  }
  const look = async (node: ColumbaProcess) => {
    while (!ended) {
      if (await isReady(node)) up.add(node)
      else if (up.delete(node)) cut(node)
      await new Promise((resolve) => setTimeout(resolve, askEvery))
    }
  }
  const server = createServer((client) => {
    const node = [...up][turn++ % up.size]
    if (node === undefined) return void client.destroy()
    const to = connect({ host: "127.0.0.1", port: Number(new URL(node.url).port) })
    for (const [one, other] of [[client, to], [to, client]] as const) {
      connections.get(node)?.add(one)
      one.on("error", () => {})
      one.on("close", () => {
        connections.get(node)?.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.sync(() => {
        ended = true
        server.close()
        for (const node of connections.keys()) cut(node)
      })
  )
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    add: (node) => {
      connections.set(node, new Set())
      void look(node)
    },
    answering: () => [...up]
  }
})
