/**
 * Compares the outcome of messages that were accepted for sending with the gateway's record of sent messages.
 */
import type { LedgerEntry } from "../../src/simulator/Ledger.ts"
import { countBy } from "./upstream.ts"

export interface AcceptedSend {
  readonly text: string
  readonly id: string
}

export interface SendStatus {
  readonly id: string
  readonly waId: string | null
  readonly status: string
}

export interface SendLedgers {
  /** Each has a different text. */
  readonly accepted: ReadonlyArray<AcceptedSend>
  readonly statuses: ReadonlyArray<SendStatus>
  /** What the gateway has sent: text and WhatsApp id, in its order. */
  readonly sent: ReadonlyArray<readonly [text: string, waId: string]>
}

export interface SendVerdict {
  /** The gateway has sent it more than once. */
  readonly resent: ReadonlyArray<string>
  /** It was accepted and is not there, or has neither ended nor is in doubt. */
  readonly unaccounted: ReadonlyArray<string>
  /** The status that the program shows contradicts what the gateway did. */
  readonly misreported: ReadonlyArray<string>
  /** Nobody asked for it, or its id differs from the one in the answer. */
  readonly unasked: ReadonlyArray<string>
  readonly doubtful: number
}

export const listSent = (entries: ReadonlyArray<LedgerEntry>): SendLedgers["sent"] =>
  entries.flatMap(({ id, sent }) => sent === undefined ? [] : [[sent.text, id] as const])

const reached = new Set(["sent", "delivered", "read", "played"])

export const checkSends = ({ accepted, sent, statuses }: SendLedgers): SendVerdict => {
  const byText = new Map(sent)
  const byId = new Map(statuses.map((one) => [one.id, one]))
  const asked = new Set(accepted.map(({ text }) => text))
  const described = accepted.map(({ id, text }) => {
    const { status = "missing", waId = null } = byId.get(id) ?? {}
    return { status, waId, sentAs: byText.get(text) ?? null, text: `${text} (${id}) is ${status}` }
  })
  const isOpen = (status: string) => !reached.has(status) && status !== "failed" && status !== "unknown"
  return {
    resent: [...countBy(sent.map(([text]) => text))].filter(([, count]) => count > 1)
      .map(([text, count]) => `${text}, ${count} times`),
    unaccounted: described.filter(({ status }) => isOpen(status)).map(({ text }) => text),
    misreported: described.filter(({ sentAs, status, waId }) =>
      reached.has(status) ? sentAs === null || sentAs !== waId : status === "failed" && sentAs !== null
    ).map(({ sentAs, text }) => `${text}, and was ${sentAs === null ? "not sent" : `sent as ${sentAs}`}`),
    unasked: sent.filter(([text]) => !asked.has(text)).map(([text]) => text),
    doubtful: described.filter(({ status }) => status === "unknown").length
  }
}
