/**
 * The program is killed without warning while it answers messages by a language model, over a real server of the model's
 * protocol that is slow, limits its rate and fails now and then. The gateway's ledger is the witness that no message was
 * answered twice; keys, prompts and texts are in no log line.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { replyKeyPrefix } from "../../src/services/AutoReplyRepository.ts"
import { seeded } from "../../src/simulator/Seeded.ts"
import { freshVhost } from "../support/broker.ts"
import { freshDatabase } from "../support/database.ts"
import { query, readLog } from "../support/Ledger.ts"
import * as OpenAiServer from "../support/openAiServer.ts"
import { until } from "../support/until.ts"
import * as Rig from "./support/Rig.ts"

const seed = "auto-reply"
const devices = 5
/** Events emitted between two kills. */
const each = 150
const rate = 60
const kills = 3
const key = "sk-canary-9f8e7d"
const prompt = "canary-prompt-51c2"
const answer = "canary-answer-77ab"

describe("killed three times while messages are answered", () => {
  it.live("answers no message twice, and logs none of the texts", () =>
    Effect.gen(function*() {
      const random = seeded(seed)
      let given = 0
      const model = yield* OpenAiServer.start((response, asked) => {
        const chance = random.next()
        if (chance < 0.1) return OpenAiServer.refusesWith(429, { "retry-after": "1" })(response, asked)
        if (chance < 0.15) return OpenAiServer.breaksOff(response, asked)
        // Another text each time, as a model finds other words.
        const text = `${answer} ${++given}`
        setTimeout(() => OpenAiServer.says(text)(response, asked), 20 + chance * 400)
      })
      const databaseUrl = yield* freshDatabase
      const rig = yield* Rig.make({
        databaseUrl,
        rabbitUrl: yield* freshVhost,
        devices,
        seed,
        env: { OPENAI_API_KEY: key, OPENAI_BASE_URL: model.url, OPENAI_MODEL: "small", DEBUG: "true" }
      })
      const { columba, simulator } = rig
      const { items } = yield* columba.get<{ readonly items: ReadonlyArray<{ readonly id: string }> }>(
        "/api/v1/devices"
      )
      yield* Effect.promise(() =>
        Promise.all(items.map(({ id }) =>
          fetch(`${columba.url}/api/v1/devices/${id}/auto-reply`, {
            method: "PATCH",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ enabled: true, prompt })
          })
        ))
      )
      yield* rig.killedUnderLoad({ kills, each, rate })
      yield* rig.settled
      const counts = query<{ readonly received: string; readonly done: string; readonly open: string }>(
        databaseUrl,
        `select (select count(*) from events where kind = 'message.received') as received,
          (select count(*) from message_inbox where handler = 'auto-reply' and state = 'done') as done,
          (select count(*) from sends where state in ('pending', 'sending', 'unknown')) as open`
      )
      yield* until(
        "every message was looked at and every answer is sent",
        Effect.map(counts, ([row]) => Number(row?.done) === Number(row?.received) && Number(row?.open) === 0)
      )
      const sends = yield* query<{ readonly key: string; readonly state: string; readonly text: string }>(
        databaseUrl,
        `select idempotency_key as key, state, content->'content'->>'text' as text from sends`
      )
      assert.isAbove(sends.length, 10)
      // One answer per message: each has the key of another one that came in.
      const keys = sends.map((send) => send.key)
      const wanted = new Set(
        (yield* readLog(databaseUrl)).flatMap(({ id, kind }) =>
          kind === "message.received" ? [replyKeyPrefix + id] : []
        )
      )
      assert.deepStrictEqual(keys.filter((key) => !wanted.has(key)), [])
      assert.strictEqual(new Set(keys).size, keys.length)
      const sent = simulator.ledger.entries().flatMap((entry) => entry.sent === undefined ? [] : [entry.sent.text])
      // Each answer has another text: one that was sent twice would be there twice.
      assert.strictEqual(new Set(sent).size, sent.length)
      const known = new Set(sends.map(({ text }) => text))
      assert.deepStrictEqual(sent.filter((text) => !known.has(text)), [])
      assert.isAtMost(sent.length, sends.length)
      const log = readFileSync(columba.logFile, "utf8")
      for (const canary of [key, prompt, answer]) assert.notInclude(log, canary)
      assert.isTrue(model.asked.every(({ messages }) => messages[0]?.content === prompt))
      yield* columba.terminate
    }))
})
