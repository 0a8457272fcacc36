/** The QR code in the terminal: a phone can read it, on dark and light backgrounds. */
import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import decodeQR from "qr/decode.js"
import { loginLines } from "../../src/bin/deviceLogin.ts"
import { qrLines } from "../../src/bin/qrLines.ts"
import { render } from "../../src/bin/styledText.ts"
import { describeTime } from "../../src/bin/times.ts"
import type { LoginStep } from "../../src/domain/Login.ts"

const text = `https://wa.me/settings/linked_devices#2@${"Ab3+/".repeat(40)},xyz=,${"q".repeat(44)}`

/** The picture that a terminal makes of these lines: a cell is two halves, filled with the colour of the text or not. */
const look = (lines: ReadonlyArray<string>, filledIsDark: boolean) => {
  const scale = 4
  // The background around it: paper on paper, or the terminal's own.
  const margin = 4
  const rows = lines.flatMap((line) => [
    [...line].map((cell) => cell === "▀" || cell === "█"),
    [...line].map((cell) => cell === "▄" || cell === "█")
  ])
  const [width, height] = [(rows[0]!.length + 2 * margin) * scale, (rows.length + 2 * margin) * scale]
  const data = new Uint8Array(width * height * 3)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const filled = rows[Math.floor(y / scale) - margin]?.[Math.floor(x / scale) - margin]
      const dark = filled === undefined ? false : filled === filledIsDark
      data.fill(dark ? 0 : 255, (y * width + x) * 3, (y * width + x) * 3 + 3)
    }
  }
  return { width, height, data }
}

const now = Date.parse("2026-01-01T00:00:00.000Z")
const qr: LoginStep = {
  _tag: "Qr",
  image: Redacted.make("data:"),
  text: Redacted.make(text),
  expiresAt: "2026-01-01T00:00:50.000Z",
  attempt: 2
}
const options = { colours: true, qrUrl: "http://localhost/qr.png", size: { columns: 100, rows: 50 } }

describe("a QR code in the terminal", () => {
  it("is read as its text, with colours and without", () => {
    assert.strictEqual(decodeQR(look(qrLines(text, true).map(String), true)), text)
    assert.strictEqual(decodeQR(look(qrLines(text, false).map(String), false)), text)
  })

  it("has its own black and white, so that no theme inverts it", () => {
    for (const line of qrLines(text, true)) {
      const shown = render(line, true)
      assert.isTrue(shown.startsWith("\u001b[38;5;16;48;5;231m") && shown.endsWith("\u001b[39;49m"))
    }
  })

  it("counts down, and shows the number of the code", () => {
    const lines = loginLines(qr, now, options).map(String)
    assert.match(lines.at(-1)!, /^code 2, replaced within 50 s/)
    assert.match(loginLines(qr, now + 60_000, options).map(String).at(-1)!, /within 0 s/)
  })

  it("is not drawn if it would not fit, and names an alternative", () => {
    for (const size of [{ columns: 100, rows: 24 }, { columns: 40, rows: 50 }]) {
      const lines = loginLines(qr, now, { ...options, size }).map(String)
      assert.match(lines[0]!, /make the window larger/)
      assert.include(lines[1]!, options.qrUrl)
      assert.isFalse(lines.some((line) => line.includes("▀")))
    }
  })

  it("never shows its text, and names the file if it is only a picture", () => {
    assert.notInclude(loginLines(qr, now, options).map(String).join("\n"), "wa.me")
    const { text: _, ...picture } = qr
    assert.include(loginLines(picture, now, options).map(String)[0]!, options.qrUrl)
  })

  it("passes nothing of a hostile gateway to the terminal", () => {
    const hostile = "\u001b]0;title\u0007"
    const steps: ReadonlyArray<LoginStep> = [
      { _tag: "Code", code: Redacted.make(hostile), expiresAt: hostile, attempt: 1 },
      { _tag: "Passkey", challenge: null, code: Redacted.make(hostile) },
      { _tag: "LoggedIn", jid: hostile, phone: hostile }
    ]
    for (const step of steps) {
      const shown = loginLines(step, now, options).map((line) => render(line, false)).join("\n")
      assert.notInclude(shown, "\u001b")
      assert.notInclude(shown, "\u0007")
    }
  })
})

describe("times", () => {
  it.each([
    ["2026-01-01T00:00:00.000Z", "just now"],
    ["2025-12-31T23:59:48.000Z", "12 s ago"],
    ["2025-12-31T23:56:30.000Z", "3 min ago"],
    ["2025-12-31T21:59:00.000Z", "2 h ago"],
    ["2025-12-20T00:00:00.000Z", "12 d ago"],
    ["2026-01-01T00:00:20.000Z", "in 20 s"],
    ["not a time", "not a time"]
  ])("%s is %s", (time, expected) => {
    assert.strictEqual(describeTime(time, now), expected)
  })
})
