/**
 * Opens sessions for the devices of one gateway: a connection per device if the gateway offers that, otherwise a share of
 * the gateway's link, or no connection at all if the gateway only posts to us.
 *
 * The link is opened for the first device and closed after the last one. Its loss ends the sessions of all devices at once
 * with a failure that concerns the gateway, so that it is handled as one incident and burns no device's budget. When the
 * link is refused, the refusal holds for all further requests for a while.
 */
import { Clock, Duration, Effect, RcMap, Scope } from "effect"
import type { Failure } from "../../domain/DeviceState.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { canonical } from "../../domain/Jid.ts"
import { SessionRefused } from "../../services/GatewayParts.ts"
import type {
  ConnectLink,
  OpenSession,
  Session,
  SessionEvent,
  SessionListener,
  SessionTarget
} from "../../services/GatewayParts.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"

/**
 * How long a refusal of the link holds for all devices, so that the link is requested once in that time however many
 * devices retry. Refused credentials hold longer, but not longer than an operator who has changed them would wait.
 */
const refusalHolds = ({ class: kind }: SessionRefused): number =>
  Duration.toMillis(Duration.seconds(kind === "auth" ? 5 : 1))

/**
 * Returns the function that opens sessions for this gateway's devices. The link, if any, lives at most as long as the
 * scope.
 */
export const make = (gateway: WhatsAppGateway): Effect.Effect<OpenSession, never, Scope.Scope> => {
  if (gateway.open !== undefined) return Effect.succeed(gateway.open)
  return gateway.link === undefined ? Effect.map(makeMembers, ({ join }) => join) : shareLink(gateway.link)
}

/** The session of a device without its own connection. */
class Member implements Session {
  target: SessionTarget
  readonly listener: SessionListener
  readonly #leave: (member: Member) => boolean

  constructor(target: SessionTarget, listener: SessionListener, leave: (member: Member) => boolean) {
    this.target = target
    this.listener = listener
    this.#leave = leave
  }

  /** Cannot be paused: it has no socket of its own. */
  pause(): boolean {
    return false
  }

  resume(): void {}

  /** `onEnd` follows in a microtask, so that a listener may end the session from within `onEvent`. */
  end(failure: Failure): void {
    if (this.#leave(this)) queueMicrotask(() => this.listener.onEnd(failure))
  }

  /** Events of the link have been passed on already: the gateway need not be asked. */
  finish(done: (complete: boolean) => void): void {
    done(this.#leave(this))
  }
}

/** The devices with such a session, indexed by device id, slot and account. */
const makeMembers = Effect.sync(() => {
  const members = new Map<DeviceId, Member>()
  const bySlot = new Map<string, Member>()
  const byAccount = new Map<string, Member>()

  const setAccount = (member: Member): void => {
    if (member.target.jid !== null) byAccount.set(canonical(member.target.jid), member)
  }
  const forget = <Key>(index: Map<Key, Member>, key: Key, member: Member): boolean =>
    index.get(key) === member && index.delete(key)
  const leave = (member: Member): boolean => {
    const { deviceId, jid, upstreamId } = member.target
    forget(bySlot, upstreamId, member)
    if (jid !== null) forget(byAccount, canonical(jid), member)
    return forget(members, deviceId, member)
  }

  const join: OpenSession = (target, listener) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const member = new Member(target, listener, leave)
        members.set(target.deviceId, member)
        bySlot.set(target.upstreamId, member)
        setAccount(member)
        return member
      }),
      (member) => Effect.sync(() => member.end(closedByUs))
    )

  const find = (name: string): SessionTarget | null =>
    (bySlot.get(name) ?? (name.includes("@") ? byAccount.get(canonical(name)) : undefined))?.target ?? null

  const deliver = (deviceId: DeviceId, event: SessionEvent): void => {
    const member = members.get(deviceId)
    if (member === undefined) return
    if (event._tag === "UpstreamConnected" && event.jid !== null && event.jid !== member.target.jid) {
      if (member.target.jid !== null) forget(byAccount, canonical(member.target.jid), member)
      member.target = { ...member.target, jid: event.jid }
      setAccount(member)
    }
    member.listener.onEvent(event)
  }

  const deliverAll = (event: SessionEvent): void => {
    for (const { listener } of [...members.values()]) listener.onEvent(event)
  }

  const endAll = (failure: Failure): void => {
    const ended = [...members.values()]
    for (const member of ended) leave(member)
    for (const { listener } of ended) listener.onEnd(failure)
  }

  return { join, find, deliver, deliverAll, endAll }
})

const shareLink = Effect.fnUntraced(function*(connect: ConnectLink) {
  const members = yield* makeMembers
  const clock = yield* Clock.Clock
  let refusal: { readonly error: SessionRefused; readonly until: number } | null = null
  const noteRefusal = (error: SessionRefused) => {
    refusal = { error, until: monotonicMillis(clock) + refusalHolds(error) }
  }
  // A link that is lost or was refused is never reused: the next device opens one under the next number.
  let number = 1
  const retire = (mine: number): boolean => mine === number && number++ > 0
  const links = yield* RcMap.make({
    lookup: (mine: number) =>
      connect({
        find: members.find,
        onEvent: members.deliver,
        onAny: members.deliverAll,
        onEnd: (failure) => {
          if (retire(mine)) members.endAll(linkLost(failure))
        }
      })
  })
  const open: OpenSession = (target, listener) =>
    Effect.suspend(() => {
      if (refusal !== null && monotonicMillis(clock) < refusal.until) return Effect.fail(refusal.error)
      const mine = number
      return Effect.andThen(
        RcMap.get(links, mine).pipe(
          Effect.tapError((error) => Effect.sync(() => noteRefusal(error))),
          Effect.onError(() => Effect.sync(() => retire(mine)))
        ),
        Effect.suspend(() => mine === number ? members.join(target, listener) : Effect.fail(lostMeanwhile))
      )
    })
  return open
})

const closedByUs: Failure = { class: "transport", code: "closed-by-us", detail: "the session was closed by this side" }

/** Rejected credentials keep their class; every other loss of the link is the gateway's failure. */
const linkLost = ({ class: kind, detail }: Failure): Failure =>
  kind === "auth"
    ? { class: kind, code: "link-lost", detail }
    : { class: "upstreamDown", code: "link-lost", detail }

const lostMeanwhile = new SessionRefused({
  message: "The gateway's link was lost while the device joined it",
  class: "upstreamDown",
  code: "link-lost",
  retryAfter: null
})
