import { assert, it } from "@effect/vitest"
import { Duration } from "effect"
import { readFileSync } from "node:fs"
import { nodeStopMax } from "../../src/layers/app/stages.ts"
import { shutdownBudget, shutdownMax } from "../../src/services/shutdownBudget.ts"

it("the parts of a stop fit into the documented time", () => {
  const sum = Object.values(shutdownBudget).reduce(Duration.sum)
  assert.isBelow(Duration.toSeconds(sum), Duration.toSeconds(shutdownMax))
  const page = readFileSync(new URL("../../docs/operating.md", import.meta.url), "utf8")
  assert.include(page, `${Duration.toSeconds(shutdownMax)} s`)
})

it("the parts of a stop of a cluster's node fit into it too", () => {
  const { broker, flush, foundation, http } = shutdownBudget
  const sum = [nodeStopMax, flush, http, broker, foundation].reduce(Duration.sum)
  assert.isBelow(Duration.toSeconds(sum), Duration.toSeconds(shutdownMax))
})
