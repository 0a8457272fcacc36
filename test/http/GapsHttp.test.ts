/** The ledger of gaps over the API, and the other places that show it. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { makeGapId } from "../../src/services/EventIdentity.ts"
import { gapClosed, gapEnded, gapOpened } from "../../src/services/GapDrafts.ts"
import { closed, opened } from "../conformance/gapRepository.ts"
import { messageDraft } from "../support/drafts.ts"
import { ask, startServer } from "../support/surface.ts"
import type { Json } from "../support/surface.ts"

/** A server with a device that has three gaps: a closed one, one whose history is not read, and one that lasts. */
const setUp = Effect.gen(function*() {
  const { services, url } = yield* startServer()
  const log = Context.get(services, EventLog)
  const { body: device } = yield* ask(`${url}/api/v1/devices`, { method: "POST", json: { name: "a" } })
  const id = device.id as DeviceId
  const made = [0, 1, 2].map((number) =>
    opened({
      gapId: makeGapId(Date.now() + number),
      openedAt: `2026-11-22T10:0${number}:00.000Z`,
      detail: `62811222333@s.whatsapp.net ended the call number ${number}`
    })
  )
  yield* log.append(made.map((gap) => gapOpened(id, gap, Date.now())))
  yield* log.append([gapClosed(id, closed(made[0]!, { detail: "all there" }), Date.now())], {
    effects: [gapEnded(id, made[1]!, "2026-11-22T10:01:30Z")]
  })
  return { url, log, services, id, ids: made.map(({ gapId }) => gapId), one: `${url}/api/v1/devices/${id}` }
})

describe("the ledger of gaps over HTTP", () => {
  it.live("is listed per device and over all, page by page and by status", () =>
    Effect.gen(function*() {
      const { id, ids, one, url } = yield* setUp
      const listed = (path: string) => Effect.map(ask(path), ({ body }) => body.items.map((gap: Json) => gap.id))
      assert.deepStrictEqual(yield* listed(`${one}/gaps`), ids.toReversed())
      assert.deepStrictEqual(yield* listed(`${one}/gaps?status=closed`), [ids[0]])
      assert.deepStrictEqual(yield* listed(`${url}/api/v1/gaps?device=${id}&status=open`), [ids[2], ids[1]])
      assert.deepStrictEqual(yield* listed(`${url}/api/v1/gaps?status=unprovable`), [])
      assert.deepStrictEqual(yield* listed(`${url}/api/v1/gaps?unproven=reactions`), [ids[0]])
      assert.deepStrictEqual(yield* listed(`${one}/gaps?unproven=messages`), [])
      const { body: page } = yield* ask(`${url}/api/v1/gaps?limit=2`)
      assert.deepStrictEqual(yield* listed(`${url}/api/v1/gaps?cursor=${page.next}`), [ids[0]])
      const [gap] = (yield* ask(`${one}/gaps?status=closed`)).body.items
      assert.deepStrictEqual({ ...gap, closedAt: null }, {
        id: ids[0],
        deviceId: id,
        cause: "socket-down",
        status: "closed",
        openedAt: "2026-11-22T10:00:00.000Z",
        endedAt: "2026-11-22T10:00:05.000Z",
        closedAt: null,
        proven: ["messages", "other-messages", "acks"],
        recovered: 3,
        detail: "all there"
      })
      const unknown = yield* ask(`${url}/api/v1/devices/dev_${"0".repeat(26)}/gaps`)
      assert.deepStrictEqual([unknown.status, unknown.body._tag], [404, "DeviceNotFound"])
      for (const query of ["status=lost", "cursor=nonsense", "limit=0", "state=open", "unproven=all"]) {
        assert.strictEqual((yield* ask(`${one}/gaps?${query}`)).status, 400, query)
      }
    }))

  it.live("is counted in the connection and shown in the explanation, and the client lists it", () =>
    Effect.gen(function*() {
      const { id, ids, one, url } = yield* setUp
      const counts = {
        open: 2,
        closed: 1,
        unprovable: 0,
        messagesUnproven: 0,
        openSince: "2026-11-22T10:01:00.000Z"
      }
      for (const what of ["connection", "explain"]) {
        const { body } = yield* ask(`${one}/${what}`)
        assert.deepStrictEqual(body.gaps, counts, what)
        const told = body.evidence.filter((line: string) => line.includes("socket-down"))
        assert.lengthOf(told, 2, what)
        assert.include(told[0], "from 2026-11-22T10:01:00.000Z to 2026-11-22T10:01:30.000Z")
        assert.include(told[1], "since 2026-11-22T10:02:00.000Z")
      }
      const client = Context.get(yield* Layer.build(ColumbaClient.layer({ url })), ColumbaClient)
      assert.deepStrictEqual((yield* client.gaps.list({ status: "closed" })).items.map((gap) => gap.id), [ids[0]])
      assert.deepStrictEqual((yield* client.devices.gaps({ id, limit: 1 })).items.map((gap) => gap.id), [ids[2]])
    }))

  it.live("is kept after the erasure of a chat and of all chats, and contains no address", () =>
    Effect.gen(function*() {
      const { one } = yield* setUp
      const before = (yield* ask(`${one}/gaps`)).body
      assert.notInclude(JSON.stringify(before), "62811222333")
      assert.include(JSON.stringify(before), "… ended the call number 2")
      assert.strictEqual((yield* ask(`${one}/chats/62811222333@s.whatsapp.net`, { method: "DELETE" })).body.erased, 0)
      assert.strictEqual((yield* ask(`${one}/history`, { method: "DELETE" })).body.erased, 0)
      assert.deepStrictEqual((yield* ask(`${one}/gaps`)).body, before)
    }))

  it.live("is counted in the metrics", () =>
    Effect.gen(function*() {
      const metric = (text: string, line: string) =>
        Number(text.split("\n").find((each) => each.startsWith(`${line} `))?.slice(line.length + 1) ?? 0)
      const lines = [
        `columba_gaps_opened_total{cause="quarantine"}`,
        `columba_gaps_closed_total{cause="quarantine",status="unprovable",messages="proven"}`,
        `columba_gap_events_recovered_total{cause="quarantine"}`
      ]
      const { id, log, url } = yield* setUp
      const read = Effect.map(ask(`${url}/metrics`), ({ body }) => lines.map((line) => metric(body, line)))
      const before = yield* read
      const gap = opened({ cause: "quarantine" })
      yield* log.append([gapOpened(id, gap, Date.now())])
      yield* log.append([gapClosed(id, closed(gap, { proven: ["messages"], recovered: 5 }), Date.now())])
      const [openedCount, closedCount, recovered] = (yield* read).map((count, index) => count - before[index]!)
      assert.deepStrictEqual([openedCount, closedCount, recovered], [1, 1, 5])
    }))
})

describe("a message", () => {
  it.live("shows by which way it came first, and how late", () =>
    Effect.gen(function*() {
      const { id, log, url } = yield* setUp
      const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString()
      const late = { ...messageDraft({ device: id, occurredAt: minutesAgo(10) }), via: "backfill" as const }
      yield* log.append([
        late,
        { ...late, via: "live" as const },
        { ...messageDraft({ device: id, occurredAt: minutesAgo(0) }), via: "webhook" as const },
        messageDraft({ device: id, occurredAt: minutesAgo(-60) })
      ])
      const { body } = yield* ask(`${url}/api/v1/messages`)
      const [ahead, now, backfilled, ...more] = body.items
      assert.deepStrictEqual(more, [])
      assert.deepStrictEqual([ahead.via, now.via, backfilled.via], ["live", "webhook", "backfill"])
      assert.isAtMost(Math.abs(backfilled.delaySeconds - 600), 5)
      assert.isAtMost(Math.abs(now.delaySeconds), 5)
      assert.isAtMost(Math.abs(ahead.delaySeconds + 3600), 5)
    }))
})
