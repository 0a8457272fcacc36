/** Times as people read them: how long ago, or how soon. */

const units = [
  ["d", 24 * 3600],
  ["h", 3600],
  ["min", 60]
] as const

/** `12 s`, `3 min`, `2 h`, `5 d`. */
const describeSeconds = (seconds: number): string => {
  const [unit, length] = units.find(([, one]) => seconds >= one) ?? ["s", 1]
  return `${Math.floor(seconds / length)} ${unit}`
}

/** `just now`, `3 min ago`, `in 20 s`. A text that is no time stays as it is. */
export const describeTime = (time: string, now: number): string => {
  const at = Date.parse(time)
  if (Number.isNaN(at)) return time
  const seconds = Math.round(Math.abs(now - at) / 1000)
  if (seconds < 1) return "just now"
  return at > now ? `in ${describeSeconds(seconds)}` : `${describeSeconds(seconds)} ago`
}
