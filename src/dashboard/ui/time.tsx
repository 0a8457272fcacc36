/** Times as people read them: how long ago, how long to go, at which moment. */
import { Atom } from "effect/reactivity"
import { useAtomValue } from "./atoms.ts"

/** One timer for all times of a page, and none while no time is shown. */
const nowAtom = Atom.make((get) => {
  const timer = setInterval(() => get.setSelf(Date.now()), 1000)
  get.addFinalizer(() => clearInterval(timer))
  return Date.now()
})

export const useNow = (): number => useAtomValue(nowAtom)

const units = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]] as const

/** `4 min`, `3 h`; the largest unit alone, because the exact time is one hover away. */
export const formatSpan = (millis: number): string => {
  const seconds = Math.max(0, Math.round(millis / 1000))
  for (const [size, name] of units) if (seconds >= size) return `${Math.floor(seconds / size)} ${name}`
  return "0 s"
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" })
const clock = new Intl.DateTimeFormat(undefined, {
  hourCycle: "h23",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit"
})
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "2-digit" })

/** A time from a gateway may be invalid. */
const parse = (time: string): number | null => {
  const parsed = Date.parse(time)
  return Number.isNaN(parsed) ? null : parsed
}

export const formatMoment = (time: string): string => {
  const at = parse(time)
  return at === null ? time : moment.format(at)
}

/** The time alone within half a day of now, the day before it otherwise. */
export const formatClock = (time: string, now: number): string => {
  const at = parse(time)
  if (at === null) return time
  return Math.abs(now - at) < 86_400_000 / 2 ? clock.format(at) : `${day.format(at)} ${clock.format(at)}`
}

export const Clock = ({ at }: { readonly at: string }) => (
  <time className="num" dateTime={at} title={formatMoment(at)}>{formatClock(at, useNow())}</time>
)

/** `4 min ago`, or `in 12 s` for a time in the future. */
export const Ago = ({ at }: { readonly at: string }) => {
  const now = useNow()
  const time = parse(at)
  const text = time === null ? at : time > now + 500 ? `in ${formatSpan(time - now)}` : `${formatSpan(now - time)} ago`
  return <time className="num" dateTime={at} title={formatMoment(at)}>{text}</time>
}
