/** One reader of the events of one device, over SSE or over RPC, that notes what it gets. */
import { connect } from "node:net"
import type { Socket } from "node:net"
import { Effect, Stream } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import type { DeviceId, Position } from "../../src/domain/Ids.ts"

export interface Reader {
  readonly device: string
  opened: boolean
  ended: boolean
  /** Numbers of the events that it got, in order. */
  readonly seqs: Array<number>
  readonly close: () => void
}

export interface Reading {
  readonly url: string
  readonly device: string
  readonly after: string
  /** Is told how late each event came. */
  readonly onDelay: ((millis: number) => void) | null
  /** Over SSE: is told the text of each event. */
  readonly onBlock?: (block: string) => void
  readonly onOpen: () => void
  /** Its connection ended, with what was heard last. */
  readonly onEnd: (why: string) => void
}

/** It parses no more than it needs: what a reader costs its server is to be measured. */
export const openSse = ({ after, device, onBlock, onDelay, onEnd, onOpen, url }: Reading): Reader => {
  const reader: Reader = { device, opened: false, ended: false, seqs: [], close: () => socket.destroy() }
  const { port } = new URL(url)
  let rest = ""
  let newest = ""
  const socket: Socket = connect(Number(port), "127.0.0.1", () => {
    socket.write(
      `GET /api/v1/events?device=${device}&after=${after} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: text/event-stream\r\n\r\n`
    )
  })
  socket.setEncoding("latin1")
  socket.on("data", (text: string) => {
    if (!reader.opened) {
      reader.opened = true
      if (!text.startsWith("HTTP/1.1 200")) reader.ended = true
      onOpen()
    }
    newest = text
    const blocks = (rest + text).split("\n\n")
    rest = blocks.pop()!
    for (const block of blocks) {
      const seq = /"seq":"(\d+)"/.exec(block)?.[1]
      if (seq === undefined) continue
      reader.seqs.push(Number(seq))
      onBlock?.(block)
      const at = onDelay === null ? undefined : /"recordedAt":"([^"]+)"/.exec(block)?.[1]
      if (at !== undefined) onDelay?.(Date.now() - Date.parse(at))
    }
  })
  socket.on("error", () => {})
  socket.on("close", () => {
    onEnd(newest.slice(0, 300))
    reader.ended = true
    if (!reader.opened) onOpen()
  })
  return reader
}

/** The typed client, with a WebSocket of its own. It is open when the server has answered it. */
export const openRpc = ({ after, device, onDelay, onEnd, onOpen, url }: Reading): Reader => {
  const reader: Reader = {
    device,
    opened: false,
    ended: false,
    seqs: [],
    close: () => fiber.interruptUnsafe()
  }
  const read = Effect.gen(function*() {
    const { events, server } = yield* ColumbaClient
    yield* server.ping()
    reader.opened = true
    onOpen()
    yield* Stream.runForEach(
      events.follow({ device: device as DeviceId, after: after as Position }),
      (item) =>
        Effect.sync(() => {
          if (item._tag !== "Event") return
          reader.seqs.push(Number(item.event.seq))
          onDelay?.(Date.now() - Date.parse(String(item.event.recordedAt)))
        })
    )
  })
  const fiber = Effect.runFork(
    read.pipe(
      Effect.provide(ColumbaClient.layer({ url, onReconnect: ({ message }) => onEnd(message) })),
      Effect.ensuring(Effect.sync(() => {
        reader.ended = true
        if (!reader.opened) onOpen()
      }))
    )
  )
  return reader
}
