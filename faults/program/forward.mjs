/** Forwards connections from a TCP port to a socket with a path, which is the same in all network namespaces. */
import { connect, createServer } from "node:net"

const [port, path] = process.argv.slice(2)

createServer((client) => {
  const to = connect(path)
  for (const [one, other] of [[client, to], [to, client]]) {
    one.on("error", () => {})
    one.on("close", () => other.destroy())
    one.pipe(other)
  }
}).listen(Number(port))
