import { assert, describe, it } from "@effect/vitest"
import { toPrintable, toPrintableJson } from "../../src/services/printableText.ts"

/** What each of these would do to a terminal is in its name. */
const hostile: Readonly<Record<string, string>> = {
  "clears the screen": "\u001b[2J",
  "sets the title": "\u001b]0;owned\u0007",
  "writes to the clipboard": "\u001b]52;c;cm0gLXJmIC8=\u0007",
  "begins a sequence with one C1 character": "\u009b31m",
  "begins an operating system command with one C1 character": "\u009d0;owned\u009c",
  "returns to the start of the line": "fine\rowned",
  "begins a line of its own": "fine\ncolumba: all devices are online",
  "moves back": "\u0008\u0008\u0008",
  "deletes": "\u007f",
  "shows words in another order": "\u202egnp.exe\u202c",
  "isolates": "\u2066\u2069",
  "marks a direction": "\u200f\u200e\u061c",
  "begins a line in some editors": "\u2028\u2029",
  "hides text": "\u{e0041}\u{e007f}",
  "is half a character": "\ud83d"
}

// oxlint-disable-next-line no-control-regex -- these are what must not be left
const raw = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\u{e0000}-\u{e007f}\p{Surrogate}]/u

describe("text from others", () => {
  it("is shown with a visible escape for everything that a terminal would execute", () => {
    for (const [what, text] of Object.entries(hostile)) assert.notMatch(toPrintable(`a${text}b`), raw, what)
    assert.strictEqual(toPrintable("a\u001b[2J\u009b\u202e\nb"), "a\\x1b[2J\\x9b\\u{202e}\\nb")
  })

  it("stays unchanged if it is only foreign: scripts, accents, emoji and their joiners", () => {
    for (const text of ["Toko Jakarta 🇮🇩", "متجر", "नमस्ते\u200d", "👩‍👩‍👧", "Ünïcode — “quoted”", "\\x1b"]) {
      assert.strictEqual(toPrintable(text), text)
    }
  })

  it("is escaped in JSON so that it reads back as the same value", () => {
    for (const [what, text] of Object.entries(hostile)) {
      const json = toPrintableJson({ [text]: text })
      assert.notMatch(json, raw, what)
      assert.deepStrictEqual(JSON.parse(json), { [text]: text }, what)
    }
  })
})
