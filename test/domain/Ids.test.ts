import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { UpstreamId } from "../../src/domain/Ids.ts"

describe("a slot's id at the gateway", () => {
  const isUpstreamId = Schema.is(UpstreamId)

  it("never leads to another path than its own segment", () => {
    for (const id of [".", "..", "", "a/b", "a%2fb", "a?b", "a#b", "a b", "ä", "x".repeat(129)]) {
      assert.isFalse(isUpstreamId(id), id)
    }
    for (const id of ["...", ".a", "a.", "..a", "tenant-7", "A_b~c.d", "x".repeat(128)]) {
      assert.isTrue(isUpstreamId(id), id)
      assert.strictEqual(new URL(`http://gateway/devices/${id}`).pathname, `/devices/${id}`)
    }
  })
})
