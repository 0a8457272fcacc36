/** Which messages a language model answers, and how often. Pure. */
import type { MessageReceived } from "./MessageHandler.ts"

/** An answer to an older message surprises more than none: it was sent before a gap, or while the consumer was down. */
export const ageMaxMillis = 10 * 60_000

/** Two programs that answer each other do so within seconds; people need longer for as many messages. */
export const burst = { answers: 10, millis: 5 * 60_000 }

/** The pause of a chat after such a burst. */
export const burstPauseMillis = 60 * 60_000

/** Why a message gets no answer, whatever was answered before; null if it may. */
export const findObstacle = (
  { data, occurredAt, recordedAt }: MessageReceived,
  nowMillis: number
): "own" | "not-individual" | "no-text" | "old" | null => {
  if (data.fromMe) return "own"
  if (!/@(s\.whatsapp\.net|lid)$/.test(data.chat)) return "not-individual"
  if (data.type !== "text" || data.body === null || data.body.trim() === "") return "no-text"
  // The gateway's time may be wrong in either direction, and `recordedAt` is that of the commit: the older one counts.
  const happened = Date.parse(occurredAt)
  const oldest = Math.min(Number.isNaN(happened) ? Infinity : happened, Date.parse(recordedAt))
  return nowMillis - oldest > ageMaxMillis ? "old" : null
}

/**
 * Why a chat gets no further answer now; null: it may. `answers`: the ages of those of the last day, newest first. The
 * burst rule ends a conversation of two programs, and the limit of a day bounds the remaining ones.
 */
export const findLimit = (answers: ReadonlyArray<number>, dailyLimit: number): "budget" | "loop" | null => {
  if (answers.length >= dailyLimit) return "budget"
  const looped = answers.some((ago, index) => {
    const first = answers[index + burst.answers - 1]
    return first !== undefined && ago < burstPauseMillis && first - ago <= burst.millis
  })
  return looped ? "loop" : null
}
