/** A test server on a free port of this machine. It closes with its scope, and so do its connections. */
import type { AddressInfo, Server, Socket } from "node:net"
import { Effect } from "effect"
import type { Scope } from "effect"

/** Returns the port. */
export const listen = (server: Server): Effect.Effect<number, never, Scope.Scope> => {
  const sockets = new Set<Socket>()
  server.on("connection", (socket: Socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })
  return Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  ).pipe(Effect.map(() => (server.address() as AddressInfo).port))
}
