/**
 * Why a device is in its state, what happens next and when, and what a person can do: a pure function of its recorded
 * state, its last transitions and its gateway's incident.
 */
import { Schema } from "effect"
import { GapCounts } from "./Gap.ts"
import type { Gap } from "./Gap.ts"
import { DeviceId, Seq, Timestamp } from "./Ids.ts"
import { DeviceStateTag } from "./DeviceState.ts"
import type { Device } from "./Device.ts"
import type { FailureClass } from "./DeviceState.ts"
import type { RecordedDevice, RecordedTransition } from "./RecordedDevice.ts"
import { SendWait } from "./Send.ts"
import type { WebhookState } from "./WebhookState.ts"

/** The state of the device's sending. */
const SendingView = Schema.Struct({
  /** Its pacing in one line, `off` for none. */
  pacing: Schema.String,
  /** How many messages are pending, counted up to 10,000. */
  waiting: Schema.Int,
  /** Why the next of them waits; null if nothing delays it. */
  waitsFor: Schema.NullOr(SendWait)
})
export type SendingView = typeof SendingView.Type

export const Explanation = Schema.Struct({
  deviceId: DeviceId,
  state: DeviceStateTag,
  /** One sentence. */
  why: Schema.String,
  /** The rule of the last transition; null if none is recorded. */
  rule: Schema.NullOr(Schema.String),
  /** The facts behind the answer, newest first. */
  evidence: Schema.Array(Schema.String),
  next: Schema.String,
  nextAt: Schema.NullOr(Timestamp),
  /** Null if nothing needs to be done. */
  howToFix: Schema.NullOr(Schema.String),
  /** The intervals in which the device could not receive. */
  gaps: GapCounts,
  /** Null if the answering process does not have this information. */
  sending: Schema.NullOr(SendingView),
  /** The log number of the newest transition that was used. */
  seq: Schema.NullOr(Seq)
}).annotate({ identifier: "Explanation", description: "Why a device is in its state, what happens next and when" })
export type Explanation = typeof Explanation.Type

/** The gateway's open incident. */
export interface OngoingIncident {
  readonly gateway: string
  readonly since: Timestamp
  readonly reason: string
  readonly nextProbeAt: Timestamp
  /** How many devices wait for it; null if the reader may not see that. */
  readonly waiting: number | null
}

/** How live events arrive if the gateway sends them by webhook alone. */
export interface Reception {
  /** Null if this process has no state of the webhook. */
  readonly webhook: WebhookState | null
  /** When a webhook last brought something new. */
  readonly lastWebhookAt: Timestamp | null
  /** The settings that an operator makes at the gateway by hand. */
  readonly instructions: string
}

export interface ExplanationInput extends RecordedDevice {
  readonly incident: OngoingIncident | null
  /** Null if live events arrive over the session. */
  readonly reception: Reception | null
  readonly sending: SendingView | null
  readonly gaps: {
    readonly counts: GapCounts
    /** The gaps that are open, in order of their beginning. */
    readonly open: ReadonlyArray<Gap>
  }
}

type Verdict = Pick<Explanation, "why" | "next" | "nextAt" | "howToFix">

export const explain = (input: ExplanationInput): Explanation => {
  const { device, incident, transitions } = input
  const last = transitions[0]
  return {
    deviceId: device.id,
    state: device.state._tag,
    rule: last?.data.rule ?? null,
    seq: last?.seq ?? null,
    evidence: listEvidence(input),
    gaps: input.gaps.counts,
    sending: input.sending,
    ...withHistory(
      incident !== null && device.active && device.state._tag !== "Online"
        ? underIncident(incident)
        : withReception(withSending(verdict(device, last?.data.rule ?? null), input), input),
      input
    )
  }
}

/** The missed events are accounted for once the device receives again. */
const withHistory = (verdict: Verdict, { device, gaps }: ExplanationInput): Verdict => {
  const since = gaps.open[0]?.openedAt
  if (since === undefined || !device.active) return verdict
  const when = device.state._tag === "Online" ? "" : " once it receives again"
  return { ...verdict, next: `${verdict.next}. The gateway's history is read for the time since ${since}${when}` }
}

/** A device that is online and does not send looks stuck unless the pacing rule that holds it is named. */
const withSending = (verdict: Verdict, { device, sending }: ExplanationInput): Verdict => {
  const wait = sending?.waitsFor ?? null
  if (sending === null || wait === null || !device.active || device.state._tag !== "Online") return verdict
  const many = `${sending.waiting} message${sending.waiting === 1 ? " waits" : "s wait"} to be sent`
  return {
    ...verdict,
    next: `${verdict.next}. ${many} by its pacing (${wait.reason}; ${sending.pacing}), the next one until ${wait.until}`
  }
}

/** A device that is online but gets no webhooks looks healthy and receives nothing: that is reported first. */
const withReception = (verdict: Verdict, { device, reception }: ExplanationInput): Verdict => {
  const webhook = reception?.webhook ?? null
  if (reception === null || webhook === null || !device.active || device.state._tag !== "Online") return verdict
  const missing = missingWebhook(webhook, reception.instructions)
  if (missing === null || reception.lastWebhookAt !== null) return verdict
  return {
    ...verdict,
    why: `${verdict.why}, but ${missing.why}: its events do not reach Columba`,
    next: "Nothing arrives live until its gateway posts it here",
    howToFix: missing.fix
  }
}

const missingWebhook = (
  { detail, status }: WebhookState,
  instructions: string
): { readonly why: string; readonly fix: string } | null => {
  const byHand =
    `${instructions}; set the same secret in Columba (WHATSAPP_WEBHOOK_SECRET, or webhookSecret of the gateway)`
  switch (status) {
    case "set":
    case "pending":
      return null
    case "failed":
      return {
        why: `its gateway could not be configured to post its events here (${detail ?? "no answer"})`,
        fix: "Columba retries every minute; check that the gateway answers"
      }
    case "unsupported":
      return { why: "its gateway cannot be configured to post its events here", fix: `By hand: ${byHand}` }
    case "no-address":
      return {
        why: "its gateway is not configured to post its events here",
        fix: `Set COLUMBA_PUBLIC_URL to the URL under which the gateway reaches Columba. Or by hand: ${byHand}`
      }
    case "no-secret":
      return {
        why: "there is no key from which to derive a secret for its webhook",
        fix: `Set COLUMBA_SECRET_KEY (openssl rand -base64 32) in every process. Or by hand: ${byHand}`
      }
  }
}

const describeReception = ({ lastWebhookAt, webhook }: Reception): ReadonlyArray<string> => [
  ...(webhook === null
    ? []
    : [
      `webhook at the gateway: ${webhook.status}${webhook.checkedAt === null ? "" : `, asked at ${webhook.checkedAt}`}`
    ]),
  lastWebhookAt === null
    ? "no webhook has brought anything yet"
    : `a webhook last brought something at ${lastWebhookAt}`
]

const underIncident = (incident: OngoingIncident): Verdict => ({
  why: `The gateway '${incident.gateway}' has been down since ${incident.since}: ${incident.reason}` +
    (incident.waiting === null ? "" : `. ${incident.waiting} device(s) wait for it`),
  next: "The gateway is probed again; its devices reconnect, spread out, once it answers",
  nextAt: incident.nextProbeAt,
  howToFix: `Bring the gateway '${incident.gateway}' back`
})

const verdict = (device: Device, rule: string | null): Verdict => {
  if (!device.active) return inactive(device)
  const state = device.state
  if (state._tag === "Inactive") return notRunning(device, rule)
  switch (state._tag) {
    case "Connecting":
      return state.sessionOpen ? unproven : {
        why: state.attempt > 1 ? `It is connecting, attempt ${state.attempt}` : "It is connecting",
        next: "The gateway answers, or the attempt ends by its time limit and is repeated later",
        nextAt: null,
        howToFix: null
      }
    case "AwaitingLogin":
      return {
        why: "The gateway has a slot for it, but no WhatsApp account is logged in there",
        next: state.expiresAt === null
          ? "It goes online by itself once an account is logged in"
          : `It goes online by itself once an account is logged in; the code that is shown expires at ${state.expiresAt}`,
        nextAt: null,
        howToFix:
          `Log in with the phone: columba devices login ${device.id}, or POST /api/v1/devices/${device.id}/login`
      }
    case "Online":
      return {
        why: `It has been online since ${state.since}`,
        next: "Events arrive; the connection is checked regularly",
        nextAt: null,
        howToFix: null
      }
    case "Backoff":
      return {
        why: `The connection ended (${state.reason.class}, ${state.reason.code}): ${state.reason.detail}`,
        next: `Attempt ${state.attempt + 1} to connect`,
        nextAt: state.retryAt,
        howToFix: failureHint[state.reason.class]
      }
    case "LoggedOut":
      return {
        why: `WhatsApp or the gateway logged the account out: ${state.reason}`,
        next: "The gateway is asked from time to time whether an account is logged in again",
        nextAt: null,
        howToFix: `Log in with the phone again: columba devices login ${device.id}`
      }
    case "Deaf":
      return {
        why: `It seemed connected but did not receive: ${state.evidence}`,
        next: "It reconnects",
        nextAt: null,
        howToFix: null
      }
    case "Quarantined":
      return {
        why: `It was taken out of service after repeated failures (${state.reason.class}, ${state.reason.code}): ` +
          state.reason.detail,
        next: "It connects again, once",
        nextAt: state.until,
        howToFix: `${failureHint[state.reason.class] ?? "Look at the evidence"}; then release the device to try at once`
      }
  }
}

const unproven: Verdict = {
  why: "The session with the gateway is open, but the gateway has not confirmed that the account is connected",
  next: "It goes online when the gateway confirms it or a message arrives; the gateway is asked again until then",
  nextAt: null,
  howToFix: "If it stays so, check the account at the gateway and on the phone"
}

/** An active device that no actor runs: the last rule shows whether that is because of its gateway. */
const notRunning = ({ gateway }: Device, rule: string | null): Verdict => {
  const missing = (why: string, howToFix: string): Verdict => ({
    why,
    next: "It connects by itself once the gateway can be used",
    nextAt: null,
    howToFix
  })
  switch (rule) {
    case "simulator-not-running":
      return simulated
    case "gateway-inactive":
      return missing(
        `Its gateway '${gateway}' is deactivated`,
        `Activate the gateway '${gateway}', or deactivate the device`
      )
    case "gateway-unknown":
      return missing(
        `It names the gateway '${gateway}', which does not exist`,
        `Add the gateway '${gateway}'`
      )
    case "gateway-unusable":
      return missing(
        `The process that runs devices cannot use the gateway '${gateway}': its variables, its key or its dialect are ` +
          "missing there",
        "Look at that process's log; set WHATSAPP_API_URL or COLUMBA_SECRET_KEY there"
      )
    default:
      return {
        why: "The device is active, but no process runs it yet",
        next: "A process with the role 'devices' starts it within seconds",
        nextAt: null,
        howToFix: "If it stays so, check that a process with the role 'devices' is running"
      }
  }
}

const simulated: Verdict = {
  why: "It is a made-up device of the built-in simulator, which does not run in this process",
  next: "Nothing; no other gateway ever sees it",
  nextAt: null,
  howToFix: "Deactivate it, or begin with an empty database"
}

const inactive = (device: Device): Verdict => ({
  why: "The device is deactivated",
  next: device.state._tag === "Inactive" ? "Nothing, until it is reactivated" : "Its actor stops it",
  nextAt: null,
  howToFix: "Reactivate it to connect again"
})

const failureHint: Readonly<Record<FailureClass, string | null>> = {
  transport: null,
  auth: "Check the gateway's user, password or key, and whether the account is still logged in",
  conflict: "Find the other program that uses this slot of the gateway, and stop it",
  upstreamDown: "Bring the gateway back",
  ours: "This is a defect in Columba: its log at that time says which"
}

/** Number of transitions shown: enough to see a pattern, few enough to read. */
const transitionsShown = 5

/** Number of open gaps shown. A device has one or two; more are counted in `gaps`. */
const gapsShown = 3

const describeGap = ({ cause, detail, endedAt, openedAt }: Gap): string =>
  (endedAt === null
    ? `not everything is received since ${openedAt} (${cause})`
    : `whether everything was received from ${openedAt} to ${endedAt} (${cause}) is still to be proven`) +
  (detail === "" ? "" : `: ${detail}`)

const listEvidence = (
  { device, gaps, incident, reception, transitions }: ExplanationInput
): ReadonlyArray<string> => [
  ...(incident === null
    ? []
    : [`incident of gateway '${incident.gateway}' since ${incident.since}: ${incident.reason}`]),
  ...(device.state._tag === "Quarantined" ? device.state.evidence : []),
  ...(device.state._tag === "Deaf" ? [device.state.evidence] : []),
  ...(reception === null ? [] : describeReception(reception)),
  ...gaps.open.slice(0, gapsShown).map(describeGap),
  ...transitions.slice(0, transitionsShown).flatMap(describeTransition).slice(0, transitionsShown)
]

/** The transition with its steps, newest first. */
const describeTransition = ({ at, data, seq }: RecordedTransition): ReadonlyArray<string> => {
  const steps = data.steps ?? []
  const before = (index: number) => steps[index - 1]?.state._tag ?? data.from
  return [
    `${at} #${seq} ${before(steps.length)} -> ${data.state._tag} by '${data.rule}'` +
    (data.failure === null ? "" : `: ${data.failure.detail}`),
    ...steps.map((step, index) => `${step.at} #${seq} ${before(index)} -> ${step.state._tag} by '${step.rule}'`)
      .toReversed()
  ]
}
