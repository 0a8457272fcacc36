import { assert, it } from "@effect/vitest"
import fc from "fast-check"
import { hash } from "node:crypto"
import { canonical } from "../../src/domain/Jid.ts"
import { deriveKey, formatMessageId, parseMessageId, separator } from "../../src/services/EventIdentity.ts"
import { propertyLimits } from "../support/propertyLimits.ts"

const hexDigit = fc.constantFrom(..."0123456789abcdef")

it("a message's id is its key and back, in 26 characters of five bits", () => {
  assert.strictEqual(formatMessageId("0".repeat(32)), `msg_${"0".repeat(26)}`)
  assert.strictEqual(formatMessageId("f".repeat(32)), `msg_${"Z".repeat(25)}W`)
  fc.assert(
    fc.property(fc.string({ unit: hexDigit, minLength: 32, maxLength: 32 }), (key) => {
      const id = formatMessageId(key)
      assert.match(id, /^msg_[0-9A-HJKMNP-TV-Z]{26}$/)
      assert.strictEqual(parseMessageId(id), key)
    }),
    propertyLimits(500)
  )
})

it("derives a key from its own parts only, whichever key was derived before", () => {
  const parts = fc.record({
    base: fc.constantFrom("a", "b", `a${separator}b`),
    chat: fc.constantFrom("", "a", "b"),
    sender: fc.constantFrom("", "a", "b")
  })
  fc.assert(
    fc.property(fc.array(parts, { minLength: 1 }), (all) => {
      for (const { base, chat, sender } of all) {
        const whole = hash("sha256", [base, chat, sender].join(separator), "hex")
        assert.strictEqual(deriveKey({ base, chat, sender }), whole.slice(0, 32))
      }
    }),
    propertyLimits(500)
  )
})

it("spells an address the same way, however often it is normalized", () => {
  const piece = fc.constantFrom(
    "62811",
    ":12",
    ".0",
    "@",
    "@s.whatsapp.net",
    "@c.us",
    "@lid",
    "@g.us",
    "s.whatsapp.net"
  )
  const text = fc.array(piece, { maxLength: 5 }).map((pieces) => pieces.join(""))
  fc.assert(
    fc.property(text, (jid) => {
      const at = jid.lastIndexOf("@")
      const [user, server] = at === -1 ? [jid, ""] : [jid.slice(0, at), jid.slice(at + 1)]
      const bare = user.split(":")[0]!.split(".")[0]!
      const expected = server === "s.whatsapp.net" || server === "c.us"
        ? `${bare}@s.whatsapp.net`
        : server === "lid"
        ? `${bare}@lid`
        : jid
      assert.strictEqual(canonical(jid), expected)
    }),
    propertyLimits(2_000)
  )
})
