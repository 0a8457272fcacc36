import { assert, it } from "@effect/vitest"
import { Duration } from "effect"
import { readFileSync } from "node:fs"
import { nodeStopMax } from "../../src/layers/app/stages.ts"
import { shutdownBudget, shutdownMax } from "../../src/services/shutdownBudget.ts"

it("allots to the parts of a stop no more than the documented time", () => {
  const sum = Object.values(shutdownBudget).reduce(Duration.sum)
  assert.isBelow(Duration.toSeconds(sum), Duration.toSeconds(shutdownMax))
  const page = readFileSync(new URL("../../docs/operating.md", import.meta.url), "utf8")
  assert.include(page, `${Duration.toSeconds(shutdownMax)} s`)
})

it("allots to the parts of a cluster node's stop no more than that time", () => {
  const { broker, flush, foundation, http } = shutdownBudget
  const sum = [nodeStopMax, flush, http, broker, foundation].reduce(Duration.sum)
  assert.isBelow(Duration.toSeconds(sum), Duration.toSeconds(shutdownMax))
})
