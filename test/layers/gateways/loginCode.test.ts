/** The values that gateways return as the picture of a login code. */
import { assert, describe, it } from "@effect/vitest"
import { decodePicture } from "../../../src/layers/gateways/loginCode.ts"

describe("the picture of a login code", () => {
  it("is base64, with or without the prefix of a data URL, in lines or not", () => {
    for (const text of ["aGVsbG8=", "data:image/png;base64,aGVsbG8=", "aGVs\nbG8=\r\n", "aGVsbG8= \n"]) {
      assert.strictEqual(Buffer.from(decodePicture(text) ?? []).toString(), "hello", JSON.stringify(text))
    }
    for (const text of ["", "a=b", "<svg>", "data:image/svg+xml,<svg>", "  \n"]) {
      assert.isNull(decodePicture(text), text)
    }
  })

  it("is refused without delay, whatever it contains", () => {
    const began = performance.now()
    for (const part of [" ", "\n", "a", "a ", "=", "= "]) assert.isNull(decodePicture(`${part.repeat(100_000)}!`), part)
    // Far more than it takes, and far less than a search that restarts at every character.
    assert.isBelow(performance.now() - began, 2_000)
  })
})
