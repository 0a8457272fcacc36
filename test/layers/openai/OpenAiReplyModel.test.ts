/** Answers of a server with OpenAI's protocol: which are accepted, what each failure means, and what never leaks. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { layer } from "../../../src/layers/openai/OpenAiReplyModel.ts"
import { replyLengthMax, ReplyModel } from "../../../src/services/ReplyModel.ts"
import type { ReplyFailed } from "../../../src/services/ReplyModel.ts"
import * as OpenAiServer from "../../support/openAiServer.ts"
import { until } from "../../support/until.ts"

const key = "sk-secret-0123456789"
const secret = "the customer's secret"

const ask = (server: OpenAiServer.OpenAiServer) =>
  Effect.flatMap(
    ReplyModel,
    (model) =>
      model.reply({ prompt: "Be brief.", turns: [{ role: "assistant", text: "Hi" }, { role: "user", text: secret }] })
  ).pipe(
    Effect.provide(layer({ apiKey: Redacted.make(key), baseUrl: server.url, model: "small" }))
  )

const failure = (behaviour: OpenAiServer.Behaviour): Effect.Effect<ReplyFailed> =>
  Effect.scoped(Effect.flatMap(OpenAiServer.start(behaviour), (server) => Effect.flip(ask(server)))).pipe(
    Effect.catch((answer) => Effect.die(new Error(`it answered '${answer}'`)))
  )

describe("the model's answer", () => {
  it.live("is requested with key, model, prompt and turns, and is read as it is written", () =>
    Effect.gen(function*() {
      const server = yield* OpenAiServer.start(OpenAiServer.says("  We are open until six. "))
      assert.strictEqual(yield* ask(server), "We are open until six.")
      assert.deepStrictEqual(server.asked, [{
        path: "/v1/chat/completions",
        authorization: `Bearer ${key}`,
        model: "small",
        stream: true,
        messages: [
          { role: "system", content: "Be brief." },
          { role: "assistant", content: "Hi" },
          { role: "user", content: secret }
        ]
      }])
    }))

  it.live("that is too long is cut at the bound, and its request is aborted", () =>
    Effect.gen(function*() {
      const server = yield* OpenAiServer.start((response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        const piece = `data: ${
          JSON.stringify({ choices: [{ index: 0, delta: { content: "word ".repeat(500) } }] })
        }\n\n`
        for (let written = 0; written < 10; written++) response.write(piece)
      })
      assert.isAtMost((yield* ask(server)).length, replyLengthMax)
      yield* until("the request was ended", Effect.sync(() => server.abandoned() === 1))
    }))

  it.live("that is cut ends with a whole character", () =>
    Effect.gen(function*() {
      const server = yield* OpenAiServer.start(OpenAiServer.says(`x${"😀".repeat(replyLengthMax)}`))
      const answer = yield* ask(server)
      assert.isTrue(answer.isWellFormed())
      assert.lengthOf(answer, replyLengthMax - 1)
    }))

  it.live("is requested only from the configured server: no redirect is followed", () =>
    Effect.gen(function*() {
      const other = yield* OpenAiServer.start(OpenAiServer.says("from elsewhere"))
      const location = `${other.url}/chat/completions`
      const { message, reason } = yield* failure(OpenAiServer.refusesWith(307, { location }, {}))
      assert.deepStrictEqual([reason, message], ["unavailable", "the model's server answers 307"])
      assert.lengthOf(other.asked, 0)
    }))

  it.live("that is invalid has a reason, which states whether to retry, and contains nothing of the conversation", () =>
    Effect.gen(function*() {
      const echoing = { error: { message: `${secret} ${key}`, code: `bad ${secret}` } }
      const cases: ReadonlyArray<readonly [OpenAiServer.Behaviour, ReplyFailed["reason"], number | null]> = [
        [OpenAiServer.refusesWith(429, { "retry-after": "7" }), "rate-limited", 7_000],
        [OpenAiServer.refusesWith(429, {}), "rate-limited", null],
        [OpenAiServer.refusesWith(429, { "retry-after": "soon" }), "rate-limited", null],
        [OpenAiServer.refusesWith(429, { "retry-after": "-5" }), "rate-limited", null],
        [OpenAiServer.refusesWith(401, {}, echoing), "credentials", null],
        [OpenAiServer.refusesWith(400, {}, echoing), "refused", null],
        [OpenAiServer.refusesWith(404), "unavailable", null],
        [OpenAiServer.refusesWith(500, {}, echoing), "unavailable", null],
        [OpenAiServer.refusesWith(503, { "retry-after": "99999999" }), "unavailable", 86_400_000],
        [OpenAiServer.says("I will not", "content_filter"), "refused", null],
        [OpenAiServer.says(" \0 "), "unreadable", null],
        [OpenAiServer.raw("text/html", "<html>It works!</html>"), "unreadable", null],
        [OpenAiServer.raw("application/json", "{}"), "unreadable", null],
        [OpenAiServer.raw("text/event-stream", `data: ${secret}\n\n`), "unreadable", null],
        [OpenAiServer.raw("text/event-stream", "data: {\"choices\":null}\n\ndata: [DONE]\n\n"), "unreadable", null],
        [OpenAiServer.breaksOff, "unavailable", null],
        [OpenAiServer.endsEarly, "unavailable", null],
        [(response) => void response.destroy(), "unavailable", null]
      ]
      for (const [index, [behaviour, reason, retryAfter]] of cases.entries()) {
        const { message, reason: found, retryAfter: after } = yield* failure(behaviour)
        const label = `case ${index}: ${message}`
        assert.deepStrictEqual([found, after === null ? null : Duration.toMillis(after)], [reason, retryAfter], label)
        assert.notInclude(message, secret)
        assert.notInclude(message, key)
      }
      const at = new Date(Date.now() + 60_000).toUTCString()
      const dated = yield* failure(OpenAiServer.refusesWith(429, { "retry-after": at }))
      assert.isTrue(
        dated.retryAfter !== null && Duration.between(dated.retryAfter, {
          minimum: Duration.seconds(30),
          maximum: Duration.seconds(61)
        })
      )
    }))

  it.live("that never ends is aborted at the bound of bytes", () =>
    Effect.map(failure(OpenAiServer.neverEnds), ({ reason }) => assert.strictEqual(reason, "unreadable")))

  it.effect("that does not come is awaited for a minute, and the request is aborted", () =>
    Effect.gen(function*() {
      const server = yield* OpenAiServer.start(OpenAiServer.hangs)
      const asking = yield* Effect.forkChild(Effect.flip(ask(server)))
      yield* until("it was asked", Effect.sync(() => server.asked.length === 1)).pipe(TestClock.withLive)
      yield* TestClock.adjust("1 minute")
      const failed = yield* Fiber.join(asking)
      assert.strictEqual(typeof failed === "string" ? failed : failed.reason, "timeout")
      yield* until("the request was ended", Effect.sync(() => server.abandoned() === 1)).pipe(TestClock.withLive)
    }))
})
