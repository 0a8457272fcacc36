/**
 * A client that has messages sent while the load runs. It repeats each request under its idempotency key until it gets
 * a 202, like a client whose connection broke. Its ledger is the list of accepted messages.
 */
import { Effect, Fiber } from "effect"
import type { Scope } from "effect"
import type { ColumbaProcess } from "../../test/process/support/ColumbaProcess.ts"
import { untilSo } from "../../test/support/until.ts"
import type { AcceptedSend, SendStatus } from "../../test/support/SendChecker.ts"

export interface SendingClient {
  /** Returns once all of its messages were accepted. */
  readonly finished: Effect.Effect<void>
  readonly accepted: Effect.Effect<ReadonlyArray<AcceptedSend>>
  /** The statuses of the messages in the program. */
  readonly statuses: Effect.Effect<ReadonlyArray<SendStatus>>
  /** How many of them still wait, or are in doubt. */
  readonly open: Effect.Effect<{ readonly waiting: number; readonly doubtful: number }>
}

/** Maximum number of concurrent requests. */
const requestsMax = 4

const recipients = 40
const answerMillis = 15_000

/** The program may be away for as long as a row allows it. */
const acceptedWithin = "10 minutes"

interface ListedMessage {
  readonly id: string
  readonly waId: string | null
  readonly status: string
}

interface Page {
  readonly items: ReadonlyArray<ListedMessage>
  readonly next: string | null
}

export const make = Effect.fnUntraced(function*(options: {
  readonly columba: ColumbaProcess
  readonly devices: ReadonlyArray<string>
  readonly count: number
  /** The time over which the requests are spread. */
  readonly millis: number
}): Effect.fn.Return<SendingClient, never, Scope.Scope> {
  const { columba, count, devices, millis } = options
  const accepted = new Map<string, AcceptedSend>()
  const post = (n: number) =>
    Effect.promise(async () => {
      try {
        const response = await fetch(`${columba.url}/api/v1/devices/${devices[n % devices.length]}/messages`, {
          method: "POST",
          headers: { "content-type": "application/json", "idempotency-key": `request-${n}`, connection: "close" },
          body: JSON.stringify({ to: `62812000${String(n % recipients).padStart(4, "0")}`, text: `request ${n}` }),
          signal: AbortSignal.timeout(answerMillis)
        })
        const { id } = await response.json() as { readonly id: string }
        return response.status === 202 ? id : null
      } catch {
        return null
      }
    })
  const ask = (n: number) =>
    untilSo(`request ${n} is accepted`, post(n), (id) => id !== null, acceptedWithin).pipe(
      Effect.map((id) => accepted.set(`request ${n}`, { text: `request ${n}`, id: id ?? "" })),
      Effect.andThen(Effect.sleep(millis * requestsMax / count))
    )
  const asking = yield* Effect.forkScoped(
    Effect.forEach(Array.from({ length: count }, (_, n) => n), ask, { concurrency: requestsMax, discard: true })
  )
  const page = (query: string) => columba.get<Page>(`/api/v1/messages?limit=1000${query}`)
  const countOf = (status: string) => Effect.map(page(`&status=${status}`), ({ items }) => items.length)
  return {
    finished: Fiber.join(asking),
    accepted: Effect.sync(() => [...accepted.values()]),
    statuses: Effect.gen(function*() {
      const ids = new Set([...accepted.values()].map(({ id }) => id))
      const found: Array<SendStatus> = []
      for (let cursor = "";;) {
        const { items, next } = yield* page(cursor)
        found.push(...items.filter(({ id }) => ids.has(id)))
        if (next === null) return found
        cursor = `&cursor=${encodeURIComponent(next)}`
      }
    }),
    open: Effect.all({ waiting: countOf("pending"), doubtful: countOf("unknown") })
  }
})
