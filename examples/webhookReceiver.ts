/**
 * A receiver of webhooks, in Node without any package: verifies each delivery, answers at once, and prints an event the
 * first time it comes.
 *
 *   WEBHOOK_SECRET=whsec_… node examples/webhookReceiver.ts
 */
import { createHmac, timingSafeEqual } from "node:crypto"
import { createServer } from "node:http"

const key = Buffer.from(process.env["WEBHOOK_SECRET"]!.replace(/^whsec_/, ""), "base64")

const isGenuine = (headers: Record<string, string | string[] | undefined>, body: Buffer): boolean => {
  const [id, time] = [String(headers["webhook-id"]), String(headers["webhook-timestamp"])]
  // A recorded delivery is invalid after five minutes.
  if (!(Math.abs(Date.now() / 1000 - Number(time)) < 300)) return false
  const expected = createHmac("sha256", key).update(`${id}.${time}.`).update(body).digest()
  // Two signatures while a secret is being replaced.
  return String(headers["webhook-signature"]).split(" ").some((signature) => {
    const given = Buffer.from(signature.replace(/^v1,/, ""), "base64")
    return given.length === expected.length && timingSafeEqual(given, expected)
  })
}

/** A real receiver uses a unique index of its database. */
const seen = new Set<string>()

createServer((request, response) => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => {
    const body = Buffer.concat(chunks)
    if (!isGenuine(request.headers, body)) {
      response.writeHead(401).end()
      return
    }
    const id = String(request.headers["webhook-id"])
    if (!seen.has(id)) {
      const event = JSON.parse(body.toString()) as { readonly seq: string; readonly kind: string }
      console.log(`${event.seq} ${event.kind} ${id}`)
      seen.add(id)
    }
    // Only now: an event whose answer is 2xx does not come again.
    response.writeHead(204).end()
  })
}).listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1", () => console.log("listening"))
