/** The walk through a history, without a gateway: no row that moves while it is read is missed. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { afterChats, afterMessages, pageMax, settle, start } from "../../../src/layers/gateways/historyPages.ts"
import type { Bounds, Chat, Cursor } from "../../../src/layers/gateways/historyPages.ts"
import { propertyLimits } from "../../support/propertyLimits.ts"

const now = 1_000_000
/** A window that ends after now, as it does to allow for a gateway's clock that is ahead. */
const bounds: Bounds = { from: now - 3600, to: now + 600 }

const chat = (jid: string, lastMessageAt: number, updatedAt = lastMessageAt): Chat => ({
  jid,
  lastMessageAt,
  updatedAt
})

/** Reads all chats of a list that is changed between its pages, and returns those that were read. */
const readChats = (list: Array<Chat>, change: (page: number) => void): ReadonlySet<string> => {
  const read = new Set<string>()
  let cursor: Cursor | null = start(bounds, now)
  for (let page = 0; cursor !== null; page++) {
    assert.isBelow(page, 1000, "the walk does not end")
    const [first] = cursor.chats
    if (first === undefined) {
      const sorted = list.toSorted((one, other) => other.lastMessageAt - one.lastMessageAt)
      cursor = settle(afterChats(cursor, sorted.slice(cursor.listed, cursor.listed + pageMax), bounds))
    } else {
      read.add(first)
      cursor = settle(afterMessages(cursor, 0, null, bounds))
    }
    change(page)
  }
  return read
}

describe("chats", () => {
  it("that move to the top of the list while it is read are read all the same", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(249), { maxLength: 60 }), (moves) => {
        const list = Array.from({ length: 250 }, (_, index) => chat(`chat-${index}`, now - 10 - index))
        const read = readChats(list, (page) => {
          const moved = moves[page]
          if (moved !== undefined) list[moved] = chat(`chat-${moved}`, now + 1 + page)
        })
        for (const { jid } of list) assert.isTrue(read.has(jid), jid)
      }),
      propertyLimits(200)
    )
  })

  it("that a late message has moved down are read if they are of this day, or marked as changed", () => {
    const list = [
      chat("new", now - 10),
      chat("late", now - 3600 * 20, now - 5),
      chat("old", now - 3600 * 20, now - 3600 * 20)
    ]
    assert.deepStrictEqual([...readChats(list, () => {})], ["new", "late"])
  })

  it("whose messages never come live are not read", () => {
    const list = ["status@broadcast", "1@newsletter", "1@g.us"].map((jid) => chat(jid, now))
    assert.deepStrictEqual([...readChats(list, () => {})], ["1@g.us"])
  })
})

describe("messages of a chat", () => {
  it("are all read, however many share a second, and however many are deleted meanwhile", () => {
    const seconds = fc.array(fc.integer({ min: bounds.from, max: bounds.from + 40 }), { minLength: 1, maxLength: 600 })
    fc.assert(
      fc.property(seconds, fc.array(fc.nat(20), { maxLength: 30 }), (times, deletions) => {
        let rows = times.map((at, id) => ({ id, at })).toSorted((one, other) => other.at - one.at)
        const read = new Set<number>()
        const gone = new Set<number>()
        let cursor: Cursor | null = { ...start(bounds, now), more: false, chats: ["chat"] }
        for (let page = 0; cursor !== null; page++) {
          assert.isBelow(page, 1000, "the walk does not end")
          const { skip, until } = cursor
          const found = rows.filter(({ at }) => at <= (until ?? bounds.to)).slice(skip, skip + pageMax)
          for (const { id } of found) read.add(id)
          const oldest = found.length === 0 ? null : Math.min(...found.map(({ at }) => at))
          cursor = settle(afterMessages(cursor, found.length, oldest, bounds))
          // The newest rows are revoked: they were read, and everything below them moves up.
          const deleted = cursor?.skip === 0 ? rows.slice(0, deletions[page] ?? 0) : []
          for (const { id } of deleted) gone.add(id)
          rows = rows.filter(({ id }) => !gone.has(id))
        }
        for (const { id } of rows) assert.isTrue(read.has(id), `row ${id}`)
      }),
      propertyLimits(300)
    )
  })
})
