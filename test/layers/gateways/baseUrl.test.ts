/** The address of a gateway's socket, and the credentials that are sent to it. */
import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import { makeBasic, parseBase, socketUrl } from "../../../src/layers/gateways/baseUrl.ts"

describe("a gateway's socket", () => {
  it("is at /ws of its URL: ws for http, wss for https, on the same port", () => {
    const cases: ReadonlyArray<readonly [given: string, socket: string]> = [
      ["http://gateway", "ws://gateway/ws"],
      ["https://gateway.example", "wss://gateway.example/ws"],
      ["http://gateway:3000", "ws://gateway:3000/ws"],
      ["https://gateway.example:8443/base/", "wss://gateway.example:8443/base/ws"],
      ["ws://gateway:3000/ws", "ws://gateway:3000/ws"],
      ["http://user:secret@gateway:3000/", "ws://gateway:3000/ws"]
    ]
    for (const [given, socket] of cases) assert.strictEqual(socketUrl(parseBase(given)), socket, given)
  })

  it("is opened with Basic credentials if there are any, and without the header otherwise", () => {
    const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`
    assert.strictEqual(
      makeBasic({ url: "http://gateway", user: "columba", password: Redacted.make("päss:word") }),
      basic("columba:päss:word")
    )
    assert.strictEqual(makeBasic({ url: "http://user:secret@gateway" }), basic("user:secret"))
    assert.strictEqual(makeBasic({ url: "http://user:secret@gateway", user: "other" }), basic("other:secret"))
    assert.isNull(makeBasic({ url: "http://gateway" }))
    assert.isNull(makeBasic({ url: "http://gateway", user: null }))
  })
})
