/** Far more requests at once than a key may make: accepted ones are stored, the rest get the time of the next attempt. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Agent, request } from "node:http"
import { freshDirectory } from "../support/directory.ts"
import { ask } from "../support/surface.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"

const requests = 10_000

/** The number that waits at once for an answer; the others wait here. */
const connections = 128

const rootKey = "root-key-0123456789"

/** The rate of the key that asks for too much; it may use two seconds of it at once. */
const perSecond = 20

interface Answer {
  readonly status: number
  readonly tag: string
  readonly retryAfter: string | undefined
}

/** A message of a day ahead: accepting it takes the database alone, and no answer of a gateway. */
const schedule = (address: string, agent: Agent, key: string, text: string) =>
  Effect.callback<Answer>((resume) => {
    const scheduledAt = new Date(Date.now() + 86_400_000).toISOString()
    const body = JSON.stringify({ to: "+6281234567890", text, scheduledAt })
    const headers = { "x-api-key": key, "content-type": "application/json", "content-length": Buffer.byteLength(body) }
    const call = request(address, { method: "POST", agent, headers }, (response) => {
      let text = ""
      response.on("data", (chunk) => text += chunk)
      response.on("end", () =>
        resume(Effect.succeed({
          status: response.statusCode ?? 0,
          retryAfter: response.headers["retry-after"],
          tag: String(JSON.parse(text)._tag ?? "")
        })))
    })
    call.on("error", (error) => resume(Effect.die(error)))
    call.end(body)
  })

describe("ten thousand requests at once", () => {
  it.live("are accepted and stored, or refused with a typed error, while health answers", () =>
    Effect.gen(function*() {
      const columba = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: { COLUMBA_DEMO_DEVICES: "1", COLUMBA_API_KEYS: `root:read+manage+send+admin:${rootKey}` }
      })
      yield* columba.start
      const { url } = columba
      const { body: { key } } = yield* ask(`${url}/api/v1/keys`, {
        method: "POST",
        headers: { "x-api-key": rootKey },
        json: { name: "shop", scopes: ["send"], requestsPerSecond: perSecond }
      })
      const rooted = { headers: { "x-api-key": rootKey } }
      const { body: devices } = yield* ask(`${url}/api/v1/devices`, rooted)
      const { id } = devices.items[0]
      const agent = new Agent({ keepAlive: true, maxSockets: connections })
      yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
      const flood = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: requests }, (_, number) => number),
          (number) => schedule(`${url}/api/v1/devices/${id}/messages`, agent, key, `message ${number}`),
          { concurrency: connections }
        ),
        { startImmediately: true }
      )
      const waits: Array<number> = []
      while (flood.pollUnsafe() === undefined) {
        const begin = performance.now()
        assert.strictEqual((yield* ask(`${url}/healthz`)).status, 200)
        waits.push(performance.now() - begin)
        // The rate belongs to the key: another key is answered.
        const { status } = yield* ask(`${url}/api/v1/server/ping`, rooted)
        assert.strictEqual(status, 200)
      }
      const answers = yield* Fiber.join(flood)
      const accepted = answers.filter(({ status }) => status === 202).length
      const refused = answers.filter(({ status }) => status === 429)
      assert.deepStrictEqual(
        new Set(answers.map(({ status, tag }) => `${status} ${tag}`)),
        new Set(["202 ", "429 TooManyRequests"])
      )
      assert.isAtLeast(accepted, 2 * perSecond)
      assert.isAbove(refused.length, requests / 2)
      for (const { retryAfter } of refused) assert.match(retryAfter ?? "", /^[1-9]\d*$/)
      const count = Effect.fnUntraced(function*(cursor: string | null): Effect.fn.Return<number> {
        const query = cursor === null ? "" : `&cursor=${cursor}`
        const { body } = yield* ask(`${url}/api/v1/messages?status=scheduled&limit=1000${query}`, rooted)
        return body.items.length + (body.next === null ? 0 : yield* count(body.next))
      })
      assert.strictEqual(yield* count(null), accepted)
      const sorted = waits.toSorted((one, other) => one - other)
      const median = sorted[sorted.length >> 1]!
      console.log(
        `${accepted} of ${requests} accepted; health answered ${waits.length} times, ` +
          `after ${median.toFixed(0)} ms in the median and ${sorted.at(-1)?.toFixed(0)} ms at most`
      )
      assert.isBelow(median, 5_000)
    }))
})
