/**
 * How GOWA posts its events: each separately and at once, so in any order; signed; five attempts with growing pauses within
 * one time budget; after that the event is lost.
 */
import { createHmac } from "node:crypto"

export interface WebhookConfig {
  readonly webhook_url: string
  readonly webhook_secret: string
  readonly webhook_events: string
  readonly webhook_insecure_skip_verify: boolean
}

export const noWebhook: WebhookConfig = {
  webhook_url: "",
  webhook_secret: "",
  webhook_events: "",
  webhook_insecure_skip_verify: false
}

/** The flags of the process. */
export interface GlobalWebhooks {
  readonly urls: ReadonlyArray<string>
  /** The text `secret` unless it is set. */
  readonly secret: string
  /** Comma list; empty: all. */
  readonly events: string
}

export interface WebhookTimes {
  /** Pauses between attempts, in milliseconds. */
  readonly pauses: ReadonlyArray<number>
  readonly attemptMillis: number
  /** Time budget of one event over all its addresses. */
  readonly budgetMillis: number
}

export const realTimes: WebhookTimes = { pauses: [1000, 2000, 4000, 8000], attemptMillis: 10_000, budgetMillis: 30_000 }

export const scaleTimes = (times: WebhookTimes, factor: number): WebhookTimes => ({
  pauses: times.pauses.map((pause) => pause * factor),
  attemptMillis: times.attemptMillis * factor,
  budgetMillis: times.budgetMillis * factor
})

/** The result of one delivery. */
export interface Outcome {
  readonly body: string | Buffer
  readonly url: string
  readonly delivered: boolean
  readonly attempts: number
  /** The answer to the last attempt; null without one. */
  readonly status: number | null
}

export class GowaWebhooks {
  readonly #times: WebhookTimes
  #life = new AbortController()
  delivered = 0
  dropped = 0
  attempts = 0
  /** Events that are being delivered. */
  pending = 0
  /** Called at the end of every delivery. */
  onOutcome: (outcome: Outcome) => void = () => {}

  constructor(times: WebhookTimes) {
    this.#times = times
  }

  /** Posts a body to every address, one after another, within one budget. */
  post(urls: ReadonlyArray<string>, secret: string, body: string | Buffer): void {
    this.pending++
    void this.#deliverAll(urls, secret, body, this.#life.signal).finally(() => {
      this.pending--
    })
  }

  /** All running deliveries are dropped. */
  stop(): void {
    this.#life.abort()
    this.#life = new AbortController()
  }

  async #deliverAll(urls: ReadonlyArray<string>, secret: string, body: string | Buffer, life: AbortSignal) {
    const signature = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`
    const deadline = Date.now() + this.#times.budgetMillis
    for (const url of urls) {
      const outcome = await this.#deliver(url, signature, body, deadline, life)
      if (life.aborted) return
      if (outcome.delivered) this.delivered++
      else this.dropped++
      this.onOutcome(outcome)
    }
  }

  async #deliver(
    url: string,
    signature: string,
    body: string | Buffer,
    deadline: number,
    life: AbortSignal
  ): Promise<Outcome> {
    let status: number | null = null
    const { pauses } = this.#times
    for (let attempt = 1; attempt <= pauses.length + 1; attempt++) {
      const left = deadline - Date.now()
      this.attempts++
      status = left <= 0
        ? null
        : await this.#attempt(url, signature, body, Math.min(left, this.#times.attemptMillis), life)
      const delivered = status !== null && status >= 200 && status < 300
      const pause = pauses[attempt - 1]
      if (delivered || life.aborted || pause === undefined || Date.now() + pause >= deadline) {
        return { body, url, delivered, attempts: attempt, status }
      }
      await sleep(pause, life)
    }
    return { body, url, delivered: false, attempts: pauses.length + 1, status }
  }

  async #attempt(
    url: string,
    signature: string,
    body: string | Buffer,
    millis: number,
    life: AbortSignal
  ): Promise<number | null> {
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", "x-hub-signature-256": signature },
        body: typeof body === "string" ? body : new Uint8Array(body),
        redirect: "manual",
        signal: AbortSignal.any([life, AbortSignal.timeout(Math.max(1, Math.ceil(millis)))])
      })
      await response.arrayBuffer()
      return response.status
    } catch {
      return null
    }
  }
}

const sleep = (millis: number, life: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, millis)
    life.addEventListener("abort", () => {
      clearTimeout(timer)
      resolve()
    }, { once: true })
  })
