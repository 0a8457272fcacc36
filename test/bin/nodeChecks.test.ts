import { assert, describe, it } from "@effect/vitest"
import { judgeNodes } from "../../src/bin/nodeChecks.ts"
import type { RegisteredNode } from "../../src/services/NodeRegistry.ts"

const settings = { COLUMBA_RETENTION: "90d", COLUMBA_SECRET_KEY: "0123abcd" }
const node = (name: string, over: Partial<RegisteredNode> = {}): RegisteredNode => ({
  owner: `${name} 2026-01-01T00:00:00.000Z`,
  name,
  startedAt: "2026-01-01T00:00:00.000Z",
  version: "1.0.0",
  roles: ["devices"],
  weight: 1,
  leaseMillis: 20_000,
  settings,
  moves: { taken: 150, given: 0, recent: [] },
  seenAt: "2026-01-01T00:10:00.000Z",
  alive: true,
  shards: 150,
  leaseAgeMillis: 4000,
  ...over
})

describe("the doctor's check of the nodes of a cluster", () => {
  it("lists healthy nodes", () => {
    const web = node("web", { weight: null, roles: ["api"], shards: 0, leaseAgeMillis: null })
    const found = judgeNodes([node("a:1"), node("b:1"), web], [], settings)
    assert.deepStrictEqual([found.state, found.detail], [
      "ok",
      "3 processes: a:1 with 150 shards, b:1 with 150 shards, web (api)"
    ])
  })

  it("fails if one cannot be reached, or does not renew its leases", () => {
    const silent = node("b:1")
    assert.deepInclude(judgeNodes([node("a:1"), silent], [silent], settings), {
      state: "failed",
      detail: "b:1 cannot be reached from here, though alive"
    })
    assert.deepInclude(judgeNodes([node("a:1"), node("b:1", { leaseAgeMillis: 20_001 })], [], settings), {
      state: "failed",
      detail: "b:1 has not renewed its leases in time"
    })
  })

  it("names the settings that differ, those of this machine included, and which node has which", () => {
    const other = node("b:1", { settings: { ...settings, COLUMBA_RETENTION: "30d" } })
    assert.deepInclude(judgeNodes([node("a:1"), other], [], settings), {
      state: "warning",
      detail: "not the same everywhere: COLUMBA_RETENTION is 90d (a:1, these settings), 30d (b:1)"
    })
    const ours = { ...settings, COLUMBA_SECRET_KEY: "none" }
    assert.deepInclude(judgeNodes([node("a:1"), node("b:1")], [], ours), {
      state: "warning",
      detail: "not the same everywhere: COLUMBA_SECRET_KEY is 0123abcd (a:1, b:1), none (these settings)"
    })
  })

  it("reports two versions, and nodes that ended without leaving", () => {
    assert.deepInclude(judgeNodes([node("a:1"), node("b:1", { version: "1.1.0" })], [], settings), {
      state: "warning",
      detail: "versions 1.0.0 and 1.1.0 run side by side"
    })
    assert.deepInclude(judgeNodes([node("a:1"), node("b:1", { alive: false })], [], settings), {
      state: "warning",
      detail: "1 process: a:1 with 150 shards; b:1 ended without leaving"
    })
  })
})
