/**
 * A state as a sign, a colour and a word: each is sufficient alone, so that neither colours nor pictures have to be
 * seen.
 */
import type { DeviceStateTag } from "../../domain/DeviceState.ts"

interface Look {
  readonly word: string
  /** One of the tones of `tokens.css`. */
  readonly tone: "good" | "busy" | "wait" | "bad" | "off"
  /** Drawn in 12 by 12. */
  readonly sign: string
  readonly filled: boolean
}

const ring = "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9"

export const looks: Readonly<Record<DeviceStateTag, Look>> = {
  Online: { word: "Online", tone: "good", sign: ring, filled: true },
  Connecting: {
    word: "Connecting",
    tone: "busy",
    sign: "M6 1.5a4.5 4.5 0 0 1 0 9M6 1.5a4.5 4.5 0 0 0-4.5 4.5",
    filled: false
  },
  Backoff: { word: "Backoff", tone: "busy", sign: `${ring}M6 3.5v2.7l1.8 1.2`, filled: false },
  AwaitingLogin: {
    word: "Awaiting login",
    tone: "wait",
    sign: "M1.8 1.8h8.4v8.4h-8.4zM4.5 4.5h3v3h-3z",
    filled: false
  },
  LoggedOut: { word: "Logged out", tone: "bad", sign: "M2 2l8 8M10 2l-8 8", filled: false },
  Deaf: { word: "Deaf", tone: "bad", sign: `${ring}M2.8 9.2l6.4-6.4`, filled: false },
  Quarantined: { word: "Quarantined", tone: "bad", sign: "M6 0.8l5.2 5.2-5.2 5.2-5.2-5.2z", filled: true },
  Inactive: { word: "Inactive", tone: "off", sign: "M2 6h8", filled: false }
}

export const states = Object.keys(looks) as ReadonlyArray<DeviceStateTag>

export const StateSign = ({ state }: { readonly state: DeviceStateTag }) => {
  const { filled, sign, tone } = looks[state]
  return (
    <svg className={`sign tone-${tone}${filled ? " filled" : ""}`} viewBox="0 0 12 12" aria-hidden="true">
      <path d={sign} />
    </svg>
  )
}

export const StateBadge = ({ state }: { readonly state: DeviceStateTag }) => (
  <span className={`state tone-${looks[state].tone}`} data-state={state}>
    <StateSign state={state} />
    {looks[state].word}
  </span>
)
