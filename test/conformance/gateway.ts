/**
 * What every gateway adapter keeps, whatever its dialect: run on each of them against the simulator or a server that
 * answers as a proxy would, over real sockets.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import type { PingWheel } from "../../src/layers/gateways/PingWheel.ts"
import type { GatewayParts, WhatsAppGateway } from "../../src/services/WhatsAppGateway.ts"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import * as AnsweringServer from "../support/answeringServer.ts"
import { makeTarget, record } from "../support/gateway.ts"

/** What the suite sets on an adapter. */
export interface AdapterOptions {
  readonly url: string
  readonly user?: string
  readonly password?: string
  readonly frameBytesMax?: number
  readonly frameBytesHardMax?: number
  readonly handshakeMillis?: number
  readonly wheel?: PingWheel
}

export type MakeAdapter = (options: AdapterOptions) => Effect.Effect<
  WhatsAppGateway & Required<Pick<GatewayParts, "open">>,
  never,
  Scope.Scope
>

const target = makeTarget("sim-1")
const known = makeTarget("sim-1", "6281234567890@s.whatsapp.net")

const html = (status: number) => ({
  status,
  body: "<html><body>not found</body></html>",
  headers: { "content-type": "text/html" }
})

const json = (status: number, body: unknown) => ({
  status,
  body: JSON.stringify(body),
  headers: { "content-type": "application/json" }
})

/** Answers of proxies and other servers: none of them is the gateway speaking of its slot. */
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

export const gatewayConformance = (name: string, make: MakeAdapter): void => {
  describe(`${name}: answers that are not the gateway's`, () => {
    it.live.each(strangers)("%s says nothing about a slot", ([, answer]) =>
      Effect.gen(function*() {
        const proxy = yield* AnsweringServer.start(answer)
        const gateway = yield* make({ url: proxy.url })
        assert.strictEqual((yield* Effect.flip(gateway.status(known)))._tag, "GatewayUnavailable")
        assert.strictEqual((yield* Effect.flip(gateway.ensureSlot(known.upstreamId)))._tag, "GatewayUnavailable")
      }))

    it.live.each(
      [
        ["a page for 404", html(404), "upstreamDown not-the-gateway"],
        ["a proxy's own JSON for 404", json(404, { message: "no Route matched" }), "upstreamDown not-the-gateway"],
        ["a proxy's own JSON for 401", json(401, { message: "No API key found" }), "auth unauthorized"],
        ["a redirect", { status: 302, headers: { location: "https://wa.example/" } }, "upstreamDown redirected"],
        [
          "the gateway's unknown slot",
          json(404, { code: "DEVICE_NOT_FOUND", message: "device sim-1 not found" }),
          "transport unknown-slot"
        ],
        [
          "the gateway's lost session",
          json(401, { code: "AUTHENTICATION_ERROR", message: "you are not logged in" }),
          "transport session-not-ready"
        ]
      ] as const
    )("a handshake answered by %s", ([, answer, expected]) =>
      Effect.gen(function*() {
        const proxy = yield* AnsweringServer.start(answer)
        const gateway = yield* make({ url: proxy.url })
        const refused = yield* Effect.flip(gateway.open(target, record()))
        assert.strictEqual(`${refused.class} ${refused.code}`, expected)
      }))

    it.live("a handshake whose refusal never ends is given up at its deadline", () =>
      Effect.gen(function*() {
        const proxy = yield* AnsweringServer.start({ status: 404, unfinished: true })
        const gateway = yield* make({ url: proxy.url, handshakeMillis: 100 })
        const refused = yield* Effect.flip(gateway.open(target, record()))
        assert.strictEqual(`${refused.class} ${refused.code}`, "upstreamDown handshake-timeout")
      }))

    it.live("a probe is answered by the gateway, not by whatever stands in its place", () =>
      Effect.gen(function*() {
        const proxy = yield* AnsweringServer.start(html(404))
        const gateway = yield* make({ url: proxy.url })
        assert.strictEqual((yield* Effect.flip(gateway.probe))._tag, "GatewayUnavailable")
        proxy.answer = { status: 302, headers: { location: "https://wa.example/" } }
        assert.strictEqual((yield* Effect.flip(gateway.probe))._tag, "GatewayUnavailable")
        // A gateway without a health page still answers for its slots; one that wants credentials is there as well.
        proxy.answer = (path) =>
          path === "/health" ? html(404) : json(200, { code: "SUCCESS", message: "List devices" })
        yield* gateway.probe
        proxy.answer = (path) => path === "/health" ? html(404) : { status: 401, body: "Unauthorized" }
        yield* gateway.probe
      }))
  })

  describe(`${name}: frames above the size limit`, () => {
    const setup = Effect.gen(function*() {
      const simulator = yield* SimulatedGateway.start({ devices: 1 })
      const gateway = yield* make({ url: simulator.url, frameBytesMax: 64 * 1024, frameBytesHardMax: 256 * 1024 })
      const listener = record()
      yield* gateway.open(target, listener)
      yield* listener.until(({ happenings }) => happenings.length > 0)
      return { core: simulator.core, listener }
    })

    it.live("a frame above the limit is kept, cut, and the session goes on", () =>
      Effect.gen(function*() {
        const { core, listener } = yield* setup
        core.applyFault({ kind: "huge", bytes: 100 * 1024, times: 1 })
        core.emit({ count: 1 })
        yield* listener.until(() => listener.drafts().length === 2)
        const [rejected, next] = listener.drafts()
        assert.strictEqual(rejected!.kind, "frame.rejected")
        const data = rejected!.data as { reason: string; raw: string; rawLength: number }
        assert.strictEqual(data.reason, "too-large")
        assert.strictEqual(Buffer.byteLength(data.raw), 64 * 1024)
        assert.isAbove(data.rawLength, 100 * 1024)
        assert.notStrictEqual(next!.kind, "frame.rejected")
        assert.strictEqual(listener.ends(), 0)
      }))

    it.live("a frame beyond the hard limit is recorded as rejected before the session ends", () =>
      Effect.gen(function*() {
        const { core, listener } = yield* setup
        core.applyFault({ kind: "huge", bytes: 1024 * 1024, times: 1 })
        core.emit({ count: 1 })
        const failure = yield* listener.ended
        assert.deepStrictEqual([failure.class, failure.code], ["transport", "frame-too-large"])
        assert.deepStrictEqual(listener.drafts().map(({ kind }) => kind), ["frame.rejected"])
        const data = listener.drafts()[0]!.data as { reason: string; raw: string; rawLength: number }
        assert.deepStrictEqual([data.reason, data.raw], ["too-large", ""])
        assert.isAbove(data.rawLength, 256 * 1024)
        assert.deepStrictEqual([listener.ends(), listener.late()], [1, 0])
      }))
  })
}
