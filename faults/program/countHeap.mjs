/** `node countHeap.mjs <snapshot>`: the megabytes and the number of fibers in a heap snapshot, as JSON. */
import { readFileSync } from "node:fs"

const { nodes, snapshot, strings } = JSON.parse(readFileSync(process.argv[2], "utf8"))
const { node_fields } = snapshot.meta
const [name, size] = [node_fields.indexOf("name"), node_fields.indexOf("self_size")]
const fiber = strings.indexOf("FiberImpl")
let [bytes, fibers] = [0, 0]
for (let at = 0; at < nodes.length; at += node_fields.length) {
  bytes += nodes[at + size]
  if (nodes[at + name] === fiber) fibers++
}
console.log(JSON.stringify({ megabytes: Math.round(bytes / 1024 / 1024), fibers }))
