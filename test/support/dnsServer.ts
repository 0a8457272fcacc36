/** A name server that answers as the test says, one answer per question. */
import { createSocket } from "node:dgram"
import { Effect } from "effect"
import type { Scope } from "effect"

export interface DnsServer {
  readonly address: string
  /** The questions for IPv4 addresses, in order. */
  readonly asked: ReadonlyArray<string>
}

/** `answer` is called for each question for IPv4 addresses; other questions get no address. Answers have a TTL of 0. */
export const start = (
  answer: (name: string, count: number) => ReadonlyArray<string>
): Effect.Effect<DnsServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const asked: Array<string> = []
    const socket = createSocket("udp4")
    socket.on("message", (query, from) => {
      const labels: Array<string> = []
      let at = 12
      while (query[at]! > 0) {
        labels.push(query.toString("latin1", at + 1, at + 1 + query[at]!))
        at += query[at]! + 1
      }
      const question = query.subarray(12, at + 5)
      const isIpv4 = query.readUInt16BE(at + 1) === 1
      const name = labels.join(".")
      if (isIpv4) asked.push(name)
      const addresses = isIpv4 ? answer(name, asked.length) : []
      const head = Buffer.alloc(12)
      query.copy(head, 0, 0, 2)
      head.writeUInt16BE(0x8180, 2)
      head.writeUInt16BE(1, 4)
      head.writeUInt16BE(addresses.length, 6)
      const records = addresses.map((address) =>
        Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split(".").map(Number)])
      )
      socket.send(Buffer.concat([head, question, ...records]), from.port, from.address)
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        socket.bind(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () => Effect.sync(() => socket.close())
    )
    return { address: `127.0.0.1:${socket.address().port}`, asked }
  })
