/** The lines that the commands print about devices and events. */
import { assert, describe, it } from "@effect/vitest"
import { deviceSummary, deviceTable, explanation } from "../../src/bin/deviceLines.ts"
import { eventLine, eventLines } from "../../src/bin/events.ts"
import { gapTable } from "../../src/bin/gaps.ts"
import { nodeTable } from "../../src/bin/nodes.ts"
import type { Device } from "../../src/domain/Device.ts"
import type { Event } from "../../src/domain/Event.ts"
import type { MessageData } from "../../src/domain/EventData.ts"
import type { Gap } from "../../src/domain/Gap.ts"
import type { Explanation } from "../../src/domain/Explanation.ts"

const id = "dev_01ARZ3NDEKTSV4RRFFQ69G5FAV" as Device["id"]

const message = (data: Partial<MessageData>): Event => ({
  seq: 7,
  id: "0199a1c2-0000-7000-8000-000000000000" as Event["id"],
  kind: "message.received",
  deviceId: id,
  occurredAt: "2026-01-01T00:00:00.000Z",
  recordedAt: "2026-01-01T00:00:00.000Z",
  via: "live",
  data: {
    messageId: "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV" as MessageData["messageId"],
    waId: "WA",
    chat: "6281@s.whatsapp.net",
    sender: "6281@s.whatsapp.net",
    fromMe: false,
    type: "text",
    body: "secret words",
    ...data
  }
})

describe("an event's line", () => {
  it("names who wrote, and in which group", () => {
    assert.match(String(eventLine(message({}))), / text from 6281@s\.whatsapp\.net$/)
    assert.match(
      String(eventLine(message({ chat: "1203@g.us" }))),
      / text from 6281@s\.whatsapp\.net in 1203@g\.us$/
    )
    assert.match(String(eventLine(message({ fromMe: true, chat: "1203@g.us" }))), / text to 1203@g\.us$/)
  })

  it("never shows the text of a message", () => {
    assert.notInclude(String(eventLine(message({}))), "secret")
  })

  it("is wrapped in a terminal that is too narrow for it, each part within its width, and one line everywhere else", () => {
    for (const columns of [44, 80]) {
      const lines = eventLines(message({ chat: "1203@g.us" }), { isTTY: true, columns }).map(String)
      assert.strictEqual(lines[0], "01-01 00:00:00 message.received #7")
      assert.isAtMost(Math.max(...lines.map((line) => line.length)), columns)
      // Ids are never broken, so that they can be copied.
      assert.strictEqual(
        lines.slice(1).map((line) => line.trim()).join(" "),
        `${id} text from 6281@s.whatsapp.net in 1203@g.us`
      )
      assert.isTrue(lines.some((line) => line.includes(id)))
      assert.notInclude(lines.join(""), "secret")
    }
    for (const stream of [{ isTTY: true, columns: 200 }, { isTTY: false, columns: 44 }, {}]) {
      assert.deepStrictEqual(eventLines(message({}), stream).map(String), [String(eventLine(message({})))])
    }
  })
})

const now = Date.parse("2026-01-01T00:03:30.000Z")

describe("a device's line", () => {
  const device: Device = {
    id,
    name: "Shop",
    gateway: "default" as Device["gateway"],
    upstreamId: "shop" as Device["upstreamId"],
    phone: null,
    jid: null,
    state: { _tag: "Connecting", attempt: 2, sessionOpen: false },
    active: true,
    pacing: null,
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T00:00:00.000Z"
  }

  it("has columns as wide as the widest cell, escapes of a hostile name included", () => {
    const lines = deviceTable([device, { ...device, name: "\u001b[2J\u202e", state: { _tag: "Inactive" } }], now).map(
      String
    )
    assert.deepStrictEqual(lines, [
      `${"id".padEnd(30)}  name             account  state`,
      `${id}  Shop             -        Connecting     attempt 2`,
      `${id}  \\x1b[2J\\u{202e}  -        Inactive`
    ])
  })

  it("is cut if a name is long", () => {
    assert.include(String(deviceTable([{ ...device, name: "x".repeat(120) }], now)[1]), `${"x".repeat(31)}…  `)
  })

  it("shows since when in words, and the list shows the number of each state", () => {
    const since = "2026-01-01T00:00:00.000Z"
    const online: Device = { ...device, state: { _tag: "Online", jid: null, since } }
    assert.match(String(deviceTable([online], now)[1]), /Online {9}since 3 min ago$/)
    assert.strictEqual(String(deviceSummary([online, device, online])), "3 devices: 1 Connecting, 2 Online")
    assert.strictEqual(String(deviceSummary([device])), "1 device: 1 Connecting")
  })

  it("shows a fix only if something can be fixed", () => {
    const found: Explanation = {
      deviceId: id,
      state: "LoggedOut",
      why: "logged out",
      rule: "told",
      evidence: ["first", "second"],
      next: "nothing",
      nextAt: null,
      howToFix: "log in",
      gaps: { open: 0, closed: 0, unprovable: 0, messagesUnproven: 0, openSince: null },
      sending: null,
      seq: null
    }
    assert.deepStrictEqual(explanation(found, now).map(String), [
      `${id} is LoggedOut`,
      "why    logged out (rule 'told')",
      "next   nothing",
      "fix    log in",
      "seen   first",
      "       second"
    ])
    assert.notInclude(explanation({ ...found, howToFix: null }, now).map(String).join("\n"), "fix")
  })
})

describe("a gap's line", () => {
  const gap: Gap = {
    id: "gap_01ARZ3NDEKTSV4RRFFQ69G5FAV" as Gap["id"],
    deviceId: id,
    cause: "socket-down",
    status: "unprovable",
    openedAt: "2026-01-01T00:00:00.000Z",
    endedAt: "2026-01-01T00:01:00.000Z",
    closedAt: "2026-01-01T00:02:00.000Z",
    proven: ["messages", "acks"],
    recovered: 12,
    detail: "no history"
  }

  it("shows start, end and outcome, and lets no detail leave its line", () => {
    const lasting: Gap = {
      ...gap,
      status: "open",
      endedAt: null,
      closedAt: null,
      proven: [],
      recovered: 0,
      detail: "\u001b[2J\n"
    }
    assert.deepStrictEqual(gapTable([lasting, gap]).map(String), [
      `${"device".padEnd(30)}  cause        ${"from".padEnd(24)}  ${
        "to".padEnd(24)
      }  status      proven         recovered  detail`,
      `${id}  socket-down  2026-01-01T00:00:00.000Z  ${
        "lasts".padEnd(24)
      }  open                               0  \\x1b[2J\\n`,
      `${id}  socket-down  2026-01-01T00:00:00.000Z  2026-01-01T00:01:00.000Z  unprovable  messages,acks         12  no history`
    ])
  })
})

describe("a node's line", () => {
  it("shows how many devices it has, and since when it has not been heard of", () => {
    const now = Date.parse("2026-01-01T00:10:00.000Z")
    const node = {
      name: "10.0.0.1:7800",
      startedAt: "2026-01-01T00:00:00.000Z",
      alive: true,
      devices: 12,
      cluster: null
    }
    const [, first, second] = nodeTable([
      { ...node, aliveAt: "2026-01-01T00:09:58.000Z" },
      { ...node, name: "10.0.0.12:7800", aliveAt: "2026-01-01T00:09:00.000Z", alive: false }
    ], now).map(String)
    assert.strictEqual(first, "10.0.0.1:7800   alive       12  10 min ago")
    assert.strictEqual(second, "10.0.0.12:7800  gone        12  10 min ago, last heard of 1 min ago")
  })

  it("shows of a cluster which node has which shards, the last moves and what is wrong", () => {
    const now = Date.parse("2026-01-01T00:10:00.000Z")
    const cluster = {
      version: "1.0.0",
      roles: ["api", "devices"],
      weight: 2,
      shards: 200,
      leaseSeconds: 20,
      leaseAgeSeconds: 17.6,
      taken: 300,
      given: 100,
      moves: [{ at: "2026-01-01T00:08:00.000Z", direction: "given" as const, reason: "node-joined", shards: 100 }],
      differs: ["COLUMBA_RETENTION"]
    }
    const node = {
      startedAt: "2026-01-01T00:00:00.000Z",
      aliveAt: "2026-01-01T00:09:58.000Z",
      alive: true,
      devices: 12
    }
    const lines = nodeTable([
      { ...node, name: "10.0.0.1:7800", cluster },
      {
        ...node,
        name: "web",
        devices: 0,
        cluster: { ...cluster, roles: ["api"], weight: null, shards: 0, leaseAgeSeconds: null, moves: [], differs: [] }
      }
    ], now).map(String)
    assert.deepStrictEqual(lines, [
      "node           state  devices  shards  started",
      "10.0.0.1:7800  alive       12     200  10 min ago",
      "               api, devices, weight 2; gave away 100 shards 2 min ago (node-joined)",
      "               has not renewed its leases for 18 s; they last 20 s",
      "               differs from the others in COLUMBA_RETENTION: columba doctor",
      "web            alive        0       0  10 min ago",
      "               api"
    ])
  })
})
