/**
 * Webhooks as WAHA delivers them: every event separately and so in any order, signed with HMAC-SHA512 over the body,
 * retried by the session's own policy, and kept only in memory.
 */
import { createHmac, randomUUID } from "node:crypto"
import type { WebhookConfig } from "./WahaSession.ts"

export interface WebhookCounts {
  delivered: number
  attempts: number
  dropped: number
}

export interface WebhookSender {
  readonly post: (webhook: WebhookConfig, body: string, now: number) => void
  readonly counts: Readonly<WebhookCounts>
  /** Number of events that are neither delivered nor abandoned. */
  readonly pending: () => number
  /** Drops all undelivered events. */
  readonly forget: () => void
}

/** The server's own defaults. */
const attemptsDefault = 15
const delaySecondsDefault = 2
/** Time limit of one attempt. */
const timeoutMillis = 10_000

/** `pace` multiplies the waits between attempts. */
export const make = (pace: number): WebhookSender => {
  const counts: WebhookCounts = { delivered: 0, attempts: 0, dropped: 0 }
  const timers = new Set<NodeJS.Timeout>()
  let posted = 0
  let generation = new AbortController()

  const tryOnce = async (
    webhook: WebhookConfig,
    body: string,
    headers: Record<string, string>,
    signal: AbortSignal
  ) => {
    counts.attempts++
    try {
      const answer = await fetch(webhook.url, {
        method: "POST",
        headers,
        body,
        redirect: "manual",
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMillis)])
      })
      await answer.arrayBuffer()
      return answer.ok
    } catch {
      return false
    }
  }

  const attempt = (
    webhook: WebhookConfig,
    body: string,
    headers: Record<string, string>,
    number: number,
    signal: AbortSignal
  ): void => {
    void tryOnce(webhook, body, headers, signal).then((delivered) => {
      if (signal.aborted) return
      if (delivered) {
        counts.delivered++
        return
      }
      if (number >= (webhook.retries?.attempts ?? attemptsDefault)) {
        counts.dropped++
        return
      }
      const timer = setTimeout(() => {
        timers.delete(timer)
        attempt(webhook, body, headers, number + 1, signal)
      }, computeDelay(webhook, number) * pace)
      timers.add(timer)
    })
  }

  return {
    counts,
    pending: () => posted - counts.delivered - counts.dropped,
    post: (webhook, body, now) => {
      posted++
      attempt(webhook, body, makeHeaders(webhook, body, now), 1, generation.signal)
    },
    forget: () => {
      posted = counts.delivered + counts.dropped
      generation.abort()
      generation = new AbortController()
      for (const timer of timers) clearTimeout(timer)
      timers.clear()
    }
  }
}

const makeHeaders = (webhook: WebhookConfig, body: string, now: number): Record<string, string> => {
  const key = webhook.hmac?.key
  return {
    "content-type": "application/json",
    "x-webhook-request-id": randomUUID(),
    "x-webhook-timestamp": String(now),
    ...(typeof key === "string" && key !== ""
      ? {
        "x-webhook-hmac": createHmac("sha512", key).update(body).digest("hex"),
        "x-webhook-hmac-algorithm": "sha512"
      }
      : undefined)
  }
}

/** The delay after the attempt of this number. */
const computeDelay = ({ retries }: WebhookConfig, number: number): number => {
  const step = (retries?.delaySeconds ?? delaySecondsDefault) * 1000
  switch (retries?.policy) {
    case "linear":
      return step * number
    case "exponential":
      return step * 2 ** (number - 1)
    default:
      return step
  }
}
