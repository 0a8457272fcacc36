/** The contract of the device and message repositories, for every storage. */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Queue, Stream } from "effect"
import type { Layer } from "effect"
import type { Device } from "../../src/domain/Device.ts"
import type { DeviceId, MessageId } from "../../src/domain/Ids.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import type { Page } from "../../src/services/DeviceRepository.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { nextEpoch } from "../../src/services/epochs.ts"
import { MessageRepository } from "../../src/services/MessageRepository.ts"
import { freshDevice, messageDraft, stateDraft } from "../support/drafts.ts"
import type { Storage } from "./eventLog.ts"

const makeFields = (id: ReturnType<typeof freshDevice>) => ({
  id,
  name: "kasir",
  gateway: "default" as never,
  upstreamId: id as never
})

export const repositoriesConformance = (name: string, storage: Layer.Layer<Storage>): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`repositories ${name}`, (it) => {
    it.effect("lists devices in order of creation, also those of one millisecond, each exactly once", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const ids = Array.from({ length: 50 }, freshDevice)
        for (const id of ids) yield* devices.insert(makeFields(id))
        const seen: Array<DeviceId> = []
        let cursor: string | undefined = undefined
        do {
          const page: Page<Device> = yield* devices.list({ limit: 7, cursor })
          seen.push(...page.items.map((device) => device.id))
          cursor = page.next ?? undefined
        } while (cursor !== undefined)
        assert.deepStrictEqual(seen.filter((id) => ids.includes(id)), ids)
        assert.strictEqual(new Set(seen).size, seen.length)
        const desired = (yield* devices.desired()).map((device) => device.id)
        assert.deepStrictEqual(desired.filter((id) => ids.includes(id)), ids)
      }))

    it.effect("assigns epochs that follow the time, so that another copy of the database does not assign them again", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const log = yield* EventLog
        const id = freshDevice()
        yield* devices.insert(makeFields(id))
        const claim = Effect.map(devices.claim("one", [id]), (claims) => claims.get(id)!)
        const first = yield* claim
        const second = yield* claim
        const least = nextEpoch(0, Date.parse(first.claimedAt))
        assert.isAtLeast(first.epoch, least)
        assert.isAbove(second.epoch, first.epoch)
        const cursors = [yield* log.claimCursor(id, "now"), (yield* log.resumeCursor(id))!]
        assert.isAtLeast(cursors[0]!.epoch, least)
        assert.isAbove(cursors[1]!.epoch, cursors[0]!.epoch)
      }))

    it.effect("returns the process that has claimed a device", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const id = freshDevice()
        assert.strictEqual((yield* Effect.flip(devices.owner(id)))._tag, "DeviceNotFound")
        yield* devices.insert(makeFields(id))
        assert.isNull(yield* devices.owner(id))
        yield* devices.claim("node-1 2026-01-01", [id])
        assert.strictEqual(yield* devices.owner(id), "node-1 2026-01-01")
      }))

    it.effect("counts the consecutive processes that ended while they ran a device, and returns which devices were on trial", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const log = yield* EventLog
        const ids = Array.from({ length: 3 }, freshDevice) as [DeviceId, DeviceId, DeviceId]
        for (const id of ids) yield* devices.insert(makeFields(id))
        const claim = (n: number) =>
          Effect.map(
            devices.claim(`${ids[0]} process ${n}`, ids),
            (claims) =>
              ids.map((id) => {
                const { deaths, trials, triedWith } = claims.get(id)!
                return [deaths, trials, triedWith]
              })
          )
        const records = (tag: "LoggedOut" | "Inactive") => log.append(ids.map((id) => stateDraft(id, tag)))
        const all = (...counts: [number, number, number | null]) => ids.map(() => counts)
        const none = all(0, 0, null)
        assert.deepStrictEqual(yield* claim(1), none)
        yield* records("LoggedOut")
        assert.deepStrictEqual(yield* claim(1), none, "the same process")
        yield* records("LoggedOut")
        assert.deepStrictEqual(yield* claim(2), all(1, 0, null))
        // It ends before it has recorded anything.
        assert.deepStrictEqual(yield* claim(3), all(2, 0, null))
        yield* devices.forgetDeaths(`${ids[0]} process 2`, [ids[2]])
        yield* devices.forgetDeaths(`${ids[0]} process 3`, [ids[0]])
        yield* devices.beginTrial(`${ids[0]} process 3`, [ids[0], ids[1]])
        yield* devices.beginTrial(`${ids[0]} process 3`, [ids[1]])
        yield* devices.endTrial(`${ids[0]} process 3`, [ids[0]])
        // The others are not the cause.
        assert.deepStrictEqual(yield* claim(4), [[0, 0, null], [3, 1, 1], [0, 0, null]])
        yield* records("Inactive")
        assert.deepStrictEqual(yield* claim(5), none, "it stopped them in order")
        yield* records("LoggedOut")
        yield* devices.beginTrial(`${ids[0]} process 5`, ids.slice(0, 2))
        assert.deepStrictEqual(yield* claim(6), [[1, 1, 2], [1, 1, 2], [0, 0, null]])
        yield* devices.beginTrial(`${ids[0]} process 6`, [ids[0]])
        assert.deepStrictEqual(yield* claim(7), [[2, 2, 1], [0, 0, null], [0, 0, null]])
        assert.deepStrictEqual(yield* claim(7), [[2, 2, null], [0, 0, null], [0, 0, null]], "the same process")
        for (let n = 8; n < 32; n++) yield* claim(n)
        assert.deepStrictEqual(yield* claim(32), all(16, 0, null), "at most")
      }))

    it.effect("knows no later life of devices that their owner disclaims, because an older database has forgotten others", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const log = yield* EventLog
        const ids = [freshDevice(), freshDevice(), freshDevice(), freshDevice()] as const
        for (const id of ids) yield* devices.insert(makeFields(id))
        const [running, , unknown, inactive] = ids
        yield* devices.claim("restored", ids)
        yield* log.append(ids.map((id) => stateDraft(id, id === inactive ? "Inactive" : "LoggedOut")))
        const before = "2026-01-01T00:00:00.000Z"
        yield* devices.disclaim("another", ids, before)
        yield* devices.disclaim("restored", [running, unknown], before)
        yield* devices.disclaim("restored", [running], null)
        const claims = yield* devices.claim("next", ids)
        const alive = ids.map((id) => claims.get(id)!.aliveUntil!)
        assert.deepStrictEqual(alive.slice(1, 3), [before, new Date(0).toISOString()])
        assert.isAbove(Date.parse(alive[0]!), Date.parse(before))
        assert.strictEqual(alive[3], alive[0])
      }))

    it.effect("returns for a moving device the claim under which it is online, and the claim to which it was handed over", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const log = yield* EventLog
        const ids = [freshDevice(), freshDevice()] as const
        for (const id of ids) yield* devices.insert(makeFields(id))
        const read = devices.handOvers([...ids, freshDevice()])
        yield* devices.claim("one", ids)
        const online = { _tag: "Online", jid: null, since: "2026-11-22T10:00:00Z" } as const
        const draft = stateDraft(ids[0], "Inactive")
        yield* log.append([{ ...draft, data: { ...draft.data, state: online } }])
        const first = yield* read
        const claimOf = (id: DeviceId, of: typeof first) => of.get(id)!.claim
        const before = { epoch: first.get(ids[0])!.epoch, confirmed: null }
        assert.deepStrictEqual(
          first,
          new Map([
            [ids[0], { ...before, claim: claimOf(ids[0], first), online: true }],
            [ids[1], { ...before, claim: claimOf(ids[1], first), online: false }]
          ])
        )
        yield* devices.claim("two", [ids[0]])
        const second = yield* read
        const claims = [claimOf(ids[0], first), claimOf(ids[1], first), claimOf(ids[0], second)]
        assert.strictEqual(new Set(claims).size, 3)
        const { epoch } = second.get(ids[0])!
        assert.isAbove(epoch, before.epoch)
        yield* devices.confirmHandOvers(new Map([[ids[0], claims[0]!], [ids[1], claims[0]!]]))
        assert.deepStrictEqual(yield* read, second, "not the last claim, or that of another device")
        yield* devices.confirmHandOvers(new Map([[ids[0], claims[2]!], [ids[1], claims[1]!]]))
        yield* devices.confirmHandOvers(new Map([[ids[0], claims[0]!], [freshDevice(), claims[1]!]]))
        assert.deepStrictEqual(
          yield* read,
          new Map([
            [ids[0], { epoch, claim: claims[2]!, online: true, confirmed: epoch }],
            [ids[1], { ...before, claim: claims[1]!, online: false, confirmed: before.epoch }]
          ])
        )
      }))

    it.effect("lists the processes that are alive or own devices, with the number of active devices of each", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const ids = Array.from({ length: 3 }, freshDevice)
        for (const id of ids) yield* devices.insert(makeFields(id))
        yield* devices.setActive(ids[2]!, false)
        const [first, second] = [`${ids[0]} 2026-01-01`, `${ids[1]} 2026-01-01`]
        yield* devices.claim(first, ids)
        yield* devices.claim(second, [ids[1]!])
        const found = (yield* devices.owners).filter(({ owner }) => owner === first || owner === second)
        assert.sameDeepMembers(found.map(({ alive, devices, owner }) => [owner, alive, devices]), [
          [first, true, 1],
          [second, true, 1]
        ])
      }))

    it.effect("keeps the order when devices are changed between two pages", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const ids = Array.from({ length: 3 }, freshDevice)
        for (const id of ids) yield* devices.insert(makeFields(id))
        yield* devices.edit(ids[0]!, { name: "renamed" })
        yield* devices.requestReconnect(ids[1]!)
        const { items } = yield* devices.list({ limit: 1000 })
        assert.deepStrictEqual(items.map((device) => device.id).filter((id) => ids.includes(id)), ids)
      }))

    it.effect("refuses a slot that another device holds, unknown devices and foreign cursors", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const messages = yield* MessageRepository
        const id = freshDevice()
        yield* devices.insert(makeFields(id))
        const taken = yield* Effect.flip(devices.insert({ ...makeFields(freshDevice()), upstreamId: id as never }))
        assert.deepStrictEqual([taken._tag, taken._tag === "UpstreamIdTaken" && taken.deviceId], [
          "UpstreamIdTaken",
          id
        ])
        assert.strictEqual((yield* Effect.flip(devices.get(freshDevice())))._tag, "DeviceNotFound")
        assert.strictEqual((yield* Effect.flip(devices.edit(freshDevice(), { name: "x" })))._tag, "DeviceNotFound")
        assert.strictEqual((yield* Effect.flip(messages.get("msg_x" as never)))._tag, "MessageNotFound")
        assert.strictEqual((yield* Effect.flip(devices.list({ limit: 1, cursor: "nonsense" })))._tag, "CursorInvalid")
        assert.strictEqual((yield* Effect.flip(messages.list({ limit: 1, cursor: "nonsense" })))._tag, "CursorInvalid")
      }))

    it.effect("omits devices and messages that the reader may not see", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const messages = yield* MessageRepository
        const log = yield* EventLog
        const [mine, other] = [freshDevice(), freshDevice()]
        for (const id of [other, mine]) yield* devices.insert(makeFields(id))
        const { head: after } = yield* log.bounds
        yield* log.append([mine, other, other, mine].map((device) => messageDraft({ device })))
        const visible = [mine]
        assert.deepStrictEqual((yield* devices.list({ limit: 1, visible })).items.map(({ id }) => id), [mine])
        assert.isNull((yield* devices.list({ limit: 1, visible })).next)
        assert.deepStrictEqual((yield* devices.list({ limit: 5, visible: [] })).items, [])
        const listed = yield* messages.list({ limit: 1000, visible })
        assert.deepStrictEqual(listed.items.map(({ deviceId }) => deviceId), [mine, mine])
        assert.deepStrictEqual((yield* messages.list({ limit: 10, device: other, visible })).items, [])
        for (const { id } of (yield* messages.list({ limit: 10, device: other })).items) {
          assert.strictEqual((yield* Effect.flip(messages.get(id, visible)))._tag, "MessageNotFound")
          assert.strictEqual((yield* Effect.flip(messages.content(id, visible)))._tag, "MessageNotFound")
        }
        const ids = listed.items.map(({ id }) => id)
        assert.deepStrictEqual(
          [...(yield* messages.known([...ids, "msg_00000000000000000000000000" as MessageId]))].toSorted(),
          ids.toSorted()
        )
        for (const { id, waId } of listed.items) {
          assert.strictEqual((yield* messages.get(id, visible)).deviceId, mine)
          const content = yield* messages.content(id, visible)
          assert.deepStrictEqual([content.deviceId, content.data.waId], [mine, waId])
        }
        const read = yield* log.read({ after, limit: 1000, visible })
        assert.deepStrictEqual(read.events.map(({ deviceId }) => deviceId), [mine, mine])
        assert.deepStrictEqual((yield* log.read({ after, limit: 1000, device: other, visible })).events, [])
        assert.strictEqual(read.through, (yield* log.bounds).head)
      }))

    it.effect("turns commands into desired state that every reader sees", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const id = freshDevice()
        yield* devices.insert(makeFields(id))
        yield* devices.requestReconnect(id)
        yield* devices.requestReconnect(id)
        yield* devices.requestRelease(id)
        const wanted = (yield* devices.desired()).find((device) => device.id === id)
        assert.deepStrictEqual(wanted, {
          id,
          gateway: "default" as never,
          upstreamId: id as never,
          jid: null,
          active: true,
          pacing: null,
          reconnectRequests: 2,
          releaseRequests: 1
        })
        yield* devices.insert(makeFields(freshDevice()))
        assert.deepStrictEqual(yield* devices.desired([id, freshDevice()]), [wanted!])
        assert.strictEqual((yield* devices.edit(id, { name: "baru" })).name, "baru")
        assert.strictEqual((yield* devices.setActive(id, false)).active, false)
        assert.isUndefined((yield* devices.desired()).find((device) => device.id === id))
      }))

    it.effect("pulses at once, and again when desired state has changed", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const id = freshDevice()
        yield* devices.insert(makeFields(id))
        const named = devices.changes.pipe(Stream.filter((changed) => changed === null || changed === id))
        const pulses = yield* Queue.unbounded<void>()
        const listener = yield* Effect.forkChild(
          Stream.runForEach(named, () => Queue.offer(pulses, undefined))
        )
        yield* Queue.take(pulses)
        yield* devices.requestReconnect(id)
        yield* Queue.take(pulses)
        yield* Fiber.interrupt(listener)
      }))

    it.effect("reads devices and their newest transitions from one snapshot, newest first", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const log = yield* EventLog
        const [quiet, busy, other] = [freshDevice(), freshDevice(), freshDevice()] as const
        for (const id of [quiet, busy, other]) yield* devices.insert(makeFields(id))
        yield* log.append([stateDraft(busy, "Inactive"), messageDraft({ device: busy }), stateDraft(other, "Inactive")])
        yield* log.append([stateDraft(busy, "Inactive"), stateDraft(busy, "LoggedOut")])
        const recorded = yield* devices.recorded([quiet, busy, freshDevice()], 2)
        assert.deepStrictEqual([...recorded.keys()].sort(), [quiet, busy].sort())
        assert.deepStrictEqual(recorded.get(quiet), { device: yield* devices.get(quiet), transitions: [] })
        const { device, transitions } = recorded.get(busy)!
        assert.strictEqual(device.state._tag, "LoggedOut")
        assert.deepStrictEqual(transitions.map(({ data }) => data.state._tag), ["LoggedOut", "Inactive"])
        assert.isAbove(transitions[0]!.seq, transitions[1]!.seq)
        assert.deepStrictEqual(transitions[0]!.data.memory, { failures: [], releaseRequests: 0 })
      }))

    it.effect("lists and counts devices by recorded state", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const log = yield* EventLog
        const id = freshDevice()
        yield* devices.insert(makeFields(id))
        const before = yield* devices.countByState
        yield* log.append([stateDraft(id, "LoggedOut")])
        const page = yield* devices.list({ state: "LoggedOut", limit: 1000 })
        assert.include(page.items.map((device) => device.id), id)
        const { Inactive = 0, LoggedOut = 0, ...others } = before
        assert.deepStrictEqual(
          yield* devices.countByState,
          Inactive === 1
            ? { ...others, LoggedOut: LoggedOut + 1 }
            : { ...others, Inactive: Inactive - 1, LoggedOut: LoggedOut + 1 }
        )
      }))

    it.effect("finds messages by their WhatsApp id, which is not unique and may contain any characters", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const messages = yield* MessageRepository
        const [device, other] = [freshDevice(), freshDevice()]
        const waId = `3EB0 "quoted" \u0000 \\ \ud800 ${device}`
        const drafts = [
          messageDraft({ device, waId, body: "from one" }),
          messageDraft({ device, waId, chat: "1@g.us", body: "\u0000 from a group" }),
          messageDraft({ device, waId, fromMe: true, body: "of ours" }),
          messageDraft({ device: other, waId, body: "of another device" }),
          messageDraft({ device, body: `has not ${waId}` }),
          ...Array.from({ length: 3 }, () => {
            const draft = messageDraft({ device, body: "has another" })
            return { ...draft, data: { ...draft.data, extra: { quoted: { waId } } } }
          })
        ]
        yield* log.append(drafts)
        const find = (options: Partial<Parameters<typeof messages.list>[0]>) =>
          Effect.map(
            messages.list({ waId, limit: 10, visible: [device, other], ...options }),
            ({ items }) => items.map(({ body }) => body)
          )
        assert.deepStrictEqual(yield* find({}), [
          "of another device",
          "of ours",
          "\u0000 from a group",
          "from one"
        ])
        assert.deepStrictEqual(yield* find({ device }), ["of ours", "\u0000 from a group", "from one"])
        assert.deepStrictEqual(yield* find({ device, chat: "1@g.us" }), ["\u0000 from a group"])
        const page = yield* messages.list({ waId, device, limit: 1 })
        const rest = yield* messages.list({ waId, device, limit: 10, cursor: page.next ?? "" })
        assert.deepStrictEqual([...page.items, ...rest.items].map(({ body }) => body), yield* find({ device }))
        assert.deepStrictEqual(yield* find({ waId: waId.toLowerCase() }), [])
      }))

    it.effect("lists messages newest first, by device, chat and status, page by page", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const messages = yield* MessageRepository
        const device = freshDevice()
        yield* log.append([
          ...Array.from({ length: 5 }, (_, index) => messageDraft({ device, body: `in ${index}` })),
          messageDraft({ device, fromMe: true, chat: "1@g.us", body: "out" })
        ])
        const first = yield* messages.list({ device, limit: 4 })
        assert.deepStrictEqual(first.items.map((message) => message.body), ["out", "in 4", "in 3", "in 2"])
        const rest = yield* messages.list({ device, limit: 4, cursor: first.next ?? "" })
        assert.deepStrictEqual(rest.items.map((message) => message.body), ["in 1", "in 0"])
        assert.isNull(rest.next)
        const sent = yield* messages.list({ device, chat: "1@g.us", status: "sent", limit: 4 })
        assert.deepStrictEqual(sent.items.map((message) => [message.body, message.direction]), [["out", "out"]])
        assert.deepStrictEqual(yield* messages.get(sent.items[0]!.id), sent.items[0])
      }))
  })
}
