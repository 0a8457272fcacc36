import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import fc from "fast-check"
import { Webhook } from "standardwebhooks"
import { makeSecret, readSecret, signHeaders } from "../../src/services/webhookSignature.ts"

const sign = (secret: string, id: string, seconds: number, body: string) =>
  signHeaders([readSecret(Redacted.make(secret))!], id, seconds, Buffer.from(body))["webhook-signature"]

describe("signatures of webhooks", () => {
  it("match those that Standard Webhooks publishes", () => {
    // The vector of the specification's reference libraries.
    const signature = sign(
      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
      "msg_p5jXN8AQM9LWM0D4loKWxJek",
      1614265330,
      `{"test": 2432232314}`
    )
    assert.strictEqual(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
  })

  it("match the reference library, for any id, time and body", () => {
    fc.assert(fc.property(
      fc.uint8Array({ minLength: 24, maxLength: 64 }),
      fc.uuid(),
      fc.integer({ min: 0, max: 4_000_000_000 }),
      fc.string({ unit: "binary" }).map((text) => text.toWellFormed()),
      (key, id, seconds, body) => {
        const secret = `whsec_${Buffer.from(key).toString("base64")}`
        assert.strictEqual(
          sign(secret, id, seconds, body),
          new Webhook(secret).sign(id, new Date(seconds * 1000), body)
        )
      }
    ))
  })

  it("exist once per secret while a secret is being replaced, and each verifies alone", () => {
    const [before, after] = [makeSecret(), makeSecret()]
    const now = Math.floor(Date.now() / 1000)
    const body = `{"kind":"message.received"}`
    const headers = signHeaders([after, before].map((one) => readSecret(one)!), "id", now, Buffer.from(body))
    for (const secret of [before, after]) {
      assert.deepStrictEqual(new Webhook(Redacted.value(secret)).verify(body, headers), { kind: "message.received" })
    }
    assert.throws(() => new Webhook(Redacted.value(makeSecret())).verify(body, headers))
    assert.throws(() => new Webhook(Redacted.value(after)).verify(`${body} `, headers))
  })

  it("accept only secrets of Standard Webhooks", () => {
    const secret = Redacted.value(makeSecret())
    assert.isNotNull(readSecret(Redacted.make(secret)))
    const wrong = [
      secret.slice("whsec_".length),
      "whsec_",
      "whsec_c2hvcnQ=",
      `${secret} `,
      `whsec_${"A".repeat(200)}`,
      secret.replace(/.$/, "*")
    ]
    for (const one of wrong) assert.isNull(readSecret(Redacted.make(one)), one)
  })
})
