/** The receivers of docs/webhooks.md are the programs in examples/, and they accept only genuine deliveries. */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Queue, Redacted } from "effect"
import type { Scope } from "effect"
import { makeSecret } from "../../../../src/services/webhookSignature.ts"
import { freePort } from "../../../support/servers/ServerHome.ts"
import * as Rig from "./rig.ts"

const root = join(import.meta.dirname, "../../../..")

const samples = [
  { language: "ts", file: "examples/webhookReceiver.ts", run: [process.execPath] },
  { language: "python", file: "examples/webhook_receiver.py", run: ["python3"] }
] as const

/** Runs the sample, and returns its lines. */
const start = (
  command: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>
): Effect.Effect<Queue.Dequeue<string>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const lines = yield* Queue.unbounded<string>()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(command[0]!, command.slice(1), { env: { ...process.env, ...env } })),
      (running) => Effect.sync(() => running.kill("SIGKILL"))
    )
    createInterface(child.stdout).on("line", (line) => Queue.offerUnsafe(lines, line))
    child.stderr.on("data", (chunk: Buffer) => Queue.offerUnsafe(lines, `error: ${chunk.toString()}`))
    child.on("error", (cause) => Queue.offerUnsafe(lines, `error: ${cause.message}`))
    return lines
  })

describe("the sample receivers", () => {
  for (const { file, language, run } of samples) {
    it(`${file} is identical to the code on the page`, () => {
      const page = readFileSync(join(root, "docs/webhooks.md"), "utf8")
      const shown = page.split(`\`\`\`${language}\n`)[1]!.split("```")[0]!.trim()
      assert.include(readFileSync(join(root, file), "utf8"), shown)
    })

    it.live(`${file} accepts each event once, also while the secret is replaced, and nothing forged`, () =>
      Effect.gen(function*() {
        const rig = yield* Rig.make()
        const port = yield* freePort
        const secret = makeSecret()
        const lines = yield* start([...run, join(root, file)], {
          WEBHOOK_SECRET: Redacted.value(secret),
          PORT: String(port)
        })
        assert.strictEqual(yield* Queue.take(lines), "listening")
        const { id } = yield* rig.subscribe(`http://127.0.0.1:${port}/`, { secret })
        yield* rig.dispatch
        const [first] = yield* rig.emit(1)
        assert.match(yield* Queue.take(lines), new RegExp(`^${first} message\\.received [0-9a-f-]{36}$`))
        yield* Effect.orDie(rig.manager.rotate(id, { keep: "1 hour" as never }, undefined))
        const forged = yield* Effect.promise(() =>
          fetch(`http://127.0.0.1:${port}/`, {
            method: "POST",
            body: `{"seq":"1","kind":"message.received"}`,
            headers: {
              "webhook-id": "forged",
              "webhook-timestamp": String(Math.floor(Date.now() / 1000)),
              "webhook-signature": "v1,AAAA"
            }
          })
        )
        assert.strictEqual(forged.status, 401)
        yield* Effect.orDie(rig.manager.replay(id, "0", undefined))
        const [second] = yield* rig.emit(1)
        assert.match(yield* Queue.take(lines), new RegExp(`^${second} message\\.received `))
        const result = yield* Effect.orDie(rig.manager.test(id, undefined))
        assert.deepInclude(result, { outcome: "delivered", status: 204 })
        assert.match(yield* Queue.take(lines), /^0 subscription\.test /)
      }))
  }
})
