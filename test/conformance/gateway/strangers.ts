/** Answers of something else in the gateway's place: none of them is evidence about a slot. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as AnsweringServer from "../../support/answeringServer.ts"
import { makeTarget, record } from "../../support/gateway.ts"
import { type Adapter, html, json, type SessionAdapter, target } from "./harness.ts"

const known = makeTarget("sim-1", "6281234567890@s.whatsapp.net")

/** Answers of proxies and other servers: none of them is the gateway's statement about its slot. */
const strangers = [
  ["a page for 404", html(404)],
  ["an empty 404", { status: 404 }],
  ["a proxy's own JSON for 404", json(404, { message: "no Route matched with those values" })],
  ["a numbered JSON for 404", json(404, { code: 404, message: "device not found" })],
  ["another service's 404", json(404, { code: "NoSuchBucket", message: "not found" })],
  ["a page for 500", { ...html(500), body: "backend not found" }],
  ["a proxy's own JSON for 500", json(500, { message: "upstream not found" })],
  ["a proxy's own JSON for 401", json(401, { message: "No API key found in request" })],
  ["a redirect", { status: 301, headers: { location: "https://wa.example/devices" } }],
  ["an answer beyond every bound", { ...html(404), body: "x".repeat(300_000) }]
] as const

/** For every adapter. */
export const strangerConformance = ({ make, name, signsOfLife }: Adapter): void => {
  describe(`${name}: answers that are not the gateway's`, () => {
    it.live.each(strangers)("%s is no evidence about a slot", ([, answer]) =>
      Effect.gen(function*() {
        const proxy = yield* AnsweringServer.start(answer)
        const gateway = yield* make({ url: proxy.url })
        assert.strictEqual((yield* Effect.flip(gateway.status(known)))._tag, "GatewayUnavailable")
        assert.strictEqual((yield* Effect.flip(gateway.ensureSlot(known.upstreamId)))._tag, "GatewayUnavailable")
      }))

    it.live("accepts as a probe's answer only the gateway's own", () =>
      Effect.gen(function*() {
        const proxy = yield* AnsweringServer.start(html(404))
        const gateway = yield* make({ url: proxy.url })
        assert.strictEqual((yield* Effect.flip(gateway.probe))._tag, "GatewayUnavailable")
        proxy.answer = { status: 302, headers: { location: "https://wa.example/" } }
        assert.strictEqual((yield* Effect.flip(gateway.probe))._tag, "GatewayUnavailable")
        for (const answer of signsOfLife) {
          proxy.answer = answer
          yield* gateway.probe
        }
      }))
  })
}

/** For adapters with a connection per device. */
export const strangerHandshakeConformance = ({ handshakes, make, name }: SessionAdapter): void => {
  describe(`${name}: handshakes that something else answers`, () => {
    it.live.each(
      [
        ["a page for 404", html(404), "upstreamDown not-the-gateway"],
        ["a proxy's own JSON for 404", json(404, { message: "no Route matched" }), "upstreamDown not-the-gateway"],
        ["a proxy's own JSON for 401", json(401, { message: "No API key found" }), "auth unauthorized"],
        ["a redirect", { status: 302, headers: { location: "https://wa.example/" } }, "upstreamDown redirected"],
        ...handshakes
      ] as const
    )("reports a handshake answered by %s", ([, answer, expected]) =>
      Effect.gen(function*() {
        const proxy = yield* AnsweringServer.start(answer)
        const gateway = yield* make({ url: proxy.url })
        const refused = yield* Effect.flip(gateway.open(target, record()))
        assert.strictEqual(`${refused.class} ${refused.code}`, expected)
      }))

    it.live("aborts a handshake whose refusal never ends at its deadline", () =>
      Effect.gen(function*() {
        const proxy = yield* AnsweringServer.start({ status: 404, unfinished: true })
        const gateway = yield* make({ url: proxy.url, handshakeMillis: 100 })
        const refused = yield* Effect.flip(gateway.open(target, record()))
        assert.strictEqual(`${refused.class} ${refused.code}`, "upstreamDown handshake-timeout")
      }))
  })
}
