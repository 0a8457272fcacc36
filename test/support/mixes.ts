/**
 * One conversation as a gateway delivers it: by session, by webhook and from its history, each through the real adapter
 * over the real simulator. Deliveries are copies of facts. Whichever copies arrive, in whatever order, how often and in
 * whatever batches, the tables must be the same.
 */
import { assert } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { Scope } from "effect"
import type { EventDraft } from "../../src/domain/Event.ts"
import type { Message } from "../../src/domain/Message.ts"
import type { GatewayName } from "../../src/domain/Ids.ts"
import { canonical } from "../../src/domain/Jid.ts"
import * as BridgeGateway from "../../src/layers/gateways/bridge/BridgeGateway.ts"
import * as GowaGateway from "../../src/layers/gateways/gowa/GowaGateway.ts"
import * as WahaGateway from "../../src/layers/gateways/waha/WahaGateway.ts"
import { deriveKeyParts } from "../../src/log/EventKey.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { deriveMessageId, makeEventId } from "../../src/services/EventIdentity.ts"
import type { SessionTarget } from "../../src/services/GatewayParts.ts"
import type { Page } from "../../src/services/DeviceRepository.ts"
import { MessageRepository } from "../../src/services/MessageRepository.ts"
import type { WhatsAppGateway } from "../../src/services/WhatsAppGateway.ts"
import type { Payload, SimulatedDialect } from "../../src/simulator/Dialect.ts"
import { makeSamples } from "../../src/simulator/samples.ts"
import type { LedgerEntry } from "../../src/simulator/Ledger.ts"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import { makeTarget, record } from "./gateway.ts"
import * as WebhookReceiver from "./webhookReceiver.ts"

/** All deliveries of one fact. A fact without an identity cannot be repeated and has one copy. */
export interface Fact {
  readonly key: string
  readonly copies: ReadonlyArray<EventDraft>
}

export interface Conversation {
  readonly dialect: SimulatedDialect
  readonly facts: ReadonlyArray<Fact>
  /** The pairs of spellings that its copies contain. */
  readonly phones: ReadonlyMap<string, string>
}

const name = "default" as GatewayName
const beginning = Date.UTC(2026, 7, 22, 12)

interface Dialect {
  readonly simulator: SimulatedGateway.SimulatorOptions
  readonly open: (url: string) => Effect.Effect<WhatsAppGateway, never, Scope.Scope>
}

const dialects: Readonly<Record<SimulatedDialect, Dialect>> = {
  bridge: { simulator: {}, open: (url) => BridgeGateway.make({ name, url }) },
  gowa: { simulator: { gowa: { pace: 0 } }, open: (url) => GowaGateway.make({ name, url }) },
  waha: { simulator: { waha: { waitMillis: 100 } }, open: (url) => WahaGateway.make({ name, url }) }
}

/** The dialect's simulator runs a conversation; the drafts of every delivery path are collected. */
export const deliver = Effect.fnUntraced(function*(dialect: SimulatedDialect, seed: string, events: number) {
  let now = beginning
  const simulator = yield* Effect.orDie(SimulatedGateway.start({
    dialect,
    seed,
    devices: 1,
    now: () => now += 1000,
    ...dialects[dialect].simulator
  }))
  const { core } = simulator
  const device = core.devices.get("sim-1")!
  const target = makeTarget("sim-1", device.jid)
  const gateway = yield* dialects[dialect].open(simulator.url)
  const copies: Array<EventDraft> = []
  const listener = record()
  if (gateway.open !== undefined) yield* Effect.orDie(gateway.open(target, listener))
  const posted = yield* receive(gateway, target)

  const emit = (count: number) =>
    Effect.callback<void>((resume) => void core.emit({ count }, () => resume(Effect.void)))
  const peer = "628999000111@s.whatsapp.net"
  const tell = (event: string, payload: Payload) => {
    const timestamp = new Date(now).toISOString()
    core.emitter.emit(device, event, { timestamp, is_from_me: false, chat_id: peer, from: peer, ...payload })
  }
  tell("message", { id: "EDITED", body: "before the edit" })
  yield* emit(Math.floor(events / 2))
  yield* readHistory(gateway, target, copies)
  tell("message.edited", { id: "EDIT", original_message_id: "EDITED", body: "after the edit" })
  yield* emit(Math.ceil(events / 2))
  for (const { event, payload } of makeSamples(device.jid!, now)) core.emitter.emit(device, event, payload)
  yield* readHistory(gateway, target, copies)
  if (gateway.open !== undefined) {
    tell("message", { id: "LAST", body: "the last one" })
    yield* listener.until(() =>
      listener.drafts().some(({ data }) => (data as { readonly waId?: string }).waId === "LAST")
    )
    copies.push(...listener.drafts())
  }
  copies.push(...(yield* posted(() => core.stats().frames - (gateway.open === undefined ? 0 : listener.events.length))))
  const conversation = gather(dialect, copies)
  checkIdentities(conversation, core.ledger.entries())
  return conversation
})

/** Checks the facts against the simulator's ledger, not the adapters' output: one message is one fact on every path. */
const checkIdentities = ({ facts }: Conversation, ledger: ReadonlyArray<LedgerEntry>): void => {
  const seen = new Map<string, number>()
  for (const { copies: [copy] } of facts) {
    const { data, kind } = copy!
    if (!kind.startsWith("message.")) continue
    const { chat, status = "", waId } = data as {
      readonly chat: string
      readonly status?: string
      readonly waId: string
    }
    // In a group every member acknowledges, and a history keeps reactions without their ids.
    if (waId === "" || (kind === "message.ack" && chat.endsWith("@g.us"))) continue
    const name = `${kind === "message.sent" ? "message.received" : kind} ${waId} ${status}`
    seen.set(name, (seen.get(name) ?? 0) + 1)
  }
  assert.deepStrictEqual([...seen].filter(([, count]) => count > 1), [])
  for (const { event, id } of ledger) {
    if (event === "message") assert.isTrue(seen.has(`message.received ${id} `), id)
  }
}

/** The webhooks of the gateway, as its adapter reads them. */
const receive = Effect.fnUntraced(function*(gateway: WhatsAppGateway, target: SessionTarget) {
  const { ingest, webhook } = gateway
  if (ingest === undefined || webhook === undefined) return () => Effect.succeed<ReadonlyArray<EventDraft>>([])
  const receiver = yield* WebhookReceiver.start
  const secret = Redacted.make("a secret of the device")
  yield* Effect.orDie(webhook.ensure(target, { url: receiver.url, secret }))
  return (expected: () => number) =>
    Effect.gen(function*() {
      yield* receiver.until(({ length }) => length >= expected())
      return yield* Effect.forEach(receiver.received, ({ body, headers }) =>
        Effect.gen(function*() {
          const read = () =>
            ingest({ headers, body, secrets: [secret] }, { find: () => target, now: beginning, device: target })
          const first = read()
          assert(first._tag === "Accepted")
          if (first.better !== undefined) yield* first.better
          const result = first.better === undefined ? first : read()
          assert(result._tag === "Accepted")
          return result.events.flatMap((event) => event._tag === "Record" ? [event.draft] : [])
        })).pipe(Effect.map((drafts) => drafts.flat()))
    })
})

const window = {
  from: new Date(beginning - 86_400_000).toISOString(),
  to: new Date(beginning + 86_400_000).toISOString()
}

const readHistory = Effect.fnUntraced(function*(
  { history }: WhatsAppGateway,
  target: SessionTarget,
  copies: Array<EventDraft>
) {
  if (history === undefined) return
  let page: string | null = null
  do {
    const read: { readonly drafts: ReadonlyArray<EventDraft>; readonly next: string | null } = yield* Effect.orDie(
      history.read(target, window, page)
    )
    copies.push(...read.drafts)
    page = read.next
  } while (page !== null)
})

/** The same delivery as from a gateway that addresses people by their hidden ids and adds the phone number. */
const respell = (copy: EventDraft): ReadonlyArray<EventDraft> => {
  if (copy.aliases.length === 0 || copy.identity === null) return []
  const lids = new Map(copy.aliases.map(({ jid, lid }) => [jid, lid]))
  const spell = <Value>(value: Value): Value => typeof value === "string" ? (lids.get(value) ?? value) as Value : value
  const identity = { ...copy.identity, chat: spell(copy.identity.chat), sender: spell(copy.identity.sender) }
  const data = Object.fromEntries(Object.entries(copy.data).map(([key, value]) => [key, spell(value)]))
  if (copy.kind === "message.received" || copy.kind === "message.sent") {
    Object.assign(data, { messageId: deriveMessageId(copy.deviceId, identity) })
  }
  return [{ ...copy, identity, data } as EventDraft]
}

const gather = (dialect: SimulatedDialect, delivered: ReadonlyArray<EventDraft>): Conversation => {
  const copies = delivered.flatMap((copy) => [copy, ...respell(copy)])
  const phones = new Map(
    copies.flatMap(({ aliases }) => aliases.map(({ jid, lid }) => [canonical(lid), canonical(jid)]))
  )
  const facts = new Map<string, Array<EventDraft>>()
  copies.forEach((copy, index) => {
    const key = keyOf(copy, phones) ?? `only ${index}`
    facts.set(key, [...facts.get(key) ?? [], copy])
  })
  return { dialect, phones, facts: [...facts].map(([key, copies]) => ({ key, copies })) }
}

/** The identity of a fact, whichever spelling a copy has. */
const keyOf = (draft: EventDraft, phones: ReadonlyMap<string, string>): string | null => {
  const parts = deriveKeyParts(draft)
  if (parts === null) return null
  const spell = (address: string) => phones.get(address) ?? address
  return [parts.base, spell(parts.chat), spell(parts.sender)].join(" ")
}

/** One message as it is in the tables, by its fact. */
export interface Row {
  readonly direction: string
  readonly waId: string
  readonly chat: string
  readonly sender: string
  readonly status: string
}

export interface Tables {
  /** The fact of each event, in order. */
  readonly events: ReadonlyArray<string>
  readonly rejected: ReadonlyArray<string>
  readonly rows: ReadonlyMap<string, Row>
}

/** Appends these batches of copies to a new log, and reads the tables. */
export const append = Effect.fnUntraced(function*(
  { phones }: Conversation,
  batches: ReadonlyArray<ReadonlyArray<readonly [Fact, EventDraft]>>
) {
  const log = yield* EventLog
  const messages = yield* MessageRepository
  const factOf = new Map<string, Fact>()
  for (const batch of batches) {
    const drafts = batch.map(([fact, copy]) => {
      // Every delivery is drafted anew.
      const draft = { ...copy, id: makeEventId(Date.now()) }
      factOf.set(draft.id, fact)
      return draft
    })
    yield* Effect.orDie(log.append(drafts))
  }
  const { events } = yield* Effect.orDie(log.read({ after: 0, limit: 10_000 }))
  const spell = (address: string) => phones.get(address) ?? address
  const rows = new Map<string, Row>()
  const byMessage = new Map<string, string>()
  for (const { data, id, kind } of events) {
    const fact = factOf.get(id)
    if (fact === undefined || !(kind === "message.received" || kind === "message.sent")) continue
    byMessage.set((JSON.parse(data) as { readonly messageId: string }).messageId, fact.key)
  }
  let cursor: string | undefined
  do {
    const page: Page<Message> = yield* Effect.orDie(messages.list({ limit: 1000, cursor }))
    for (const { chat, direction, id, sender, status, waId } of page.items) {
      const key = byMessage.get(id) ?? `unknown message ${id}`
      assert.isFalse(rows.has(key), key)
      rows.set(key, { direction, waId: waId ?? "", chat: spell(chat), sender: spell(sender), status })
    }
    cursor = page.next ?? undefined
  } while (cursor !== undefined)
  return {
    // A conflict is written under another id.
    events: events.map(({ id, kind }) => factOf.get(id)?.key ?? `unknown ${kind}`),
    rejected: events.flatMap(({ data, kind }) => kind === "frame.rejected" ? [data.slice(0, 300)] : []),
    rows
  } satisfies Tables
})

/** The cases that make a conversation worth mixing: texts on which its copies differ, and accounts with two addresses. */
export const summarise = ({ facts }: Conversation) => {
  const differ = (field: (draft: EventDraft) => unknown) =>
    facts.filter(({ copies }) => new Set(copies.map((copy) => JSON.stringify(field(copy)))).size > 1).length
  return {
    ways: [...new Set(facts.flatMap(({ copies }) => copies.map(({ via }) => via)))].sort(),
    kinds: new Set(facts.map(({ copies }) => copies[0]!.kind)),
    texts: differ(({ data }) => (data as { readonly body?: unknown }).body),
    files: differ(({ data }) => (data as { readonly media?: unknown }).media),
    addresses: differ(({ identity }) => identity?.sender)
  }
}

/** The tables hold every fact once, and each message with its furthest status. */
export const check = (conversation: Conversation, { events, rejected, rows }: Tables, reference: Tables): void => {
  assert.deepStrictEqual(rejected, [])
  assert.deepStrictEqual([...events].sort(), conversation.facts.map(({ key }) => key).sort())
  assert.deepStrictEqual(
    [...rows].sort(([one], [other]) => one < other ? -1 : 1),
    [...reference.rows].sort(([one], [other]) => one < other ? -1 : 1)
  )
}

/** The first copy of every fact, in batches one after the other. */
export const inOrder = ({ facts }: Conversation): ReadonlyArray<ReadonlyArray<readonly [Fact, EventDraft]>> =>
  facts.map((fact) => [[fact, fact.copies[0]!] as const])
