import { assert, describe, it } from "@effect/vitest"
import {
  chooseCloseCode,
  ofClose,
  ofConnectError,
  ofStatus,
  ofViolation
} from "../../../src/layers/gateways/socketFailures.ts"

const now = Date.UTC(2026, 7, 22)
const words = ({ class: kind, code }: { readonly class: string; readonly code: string }) => `${kind} ${code}`
const error = (code: string) => Object.assign(new Error("secret detail"), { code })

describe("the cause of a failed connection", () => {
  it.each([
    [401, "auth unauthorized"],
    [403, "auth forbidden"],
    [404, "upstreamDown not-the-gateway"],
    [409, "conflict replaced"],
    [429, "transport rate-limited"],
    [500, "transport handshake-refused"],
    [502, "upstreamDown unavailable"],
    [503, "upstreamDown unavailable"],
    [504, "upstreamDown unavailable"],
    [522, "upstreamDown unavailable"],
    [301, "upstreamDown redirected"],
    [400, "transport handshake-refused"],
    [200, "transport handshake-refused"]
  ])("an upgrade answered with %i is %s", (status, expected) => {
    assert.strictEqual(words(ofStatus(status, {}, null, now).failure), expected)
  })

  it.each([
    [401, "AUTHENTICATION_ERROR", "you are not logged in", "transport session-not-ready"],
    [404, "DEVICE_NOT_FOUND", "device x not found", "transport unknown-slot"],
    [500, "INTERNAL_SERVER_ERROR", "device x not found", "transport unknown-slot"],
    [500, "INTERNAL_SERVER_ERROR", "out of memory", "transport handshake-refused"]
  ])("an upgrade answered with %i %s in the gateway's envelope (%s) is %s", (status, code, message, expected) => {
    assert.strictEqual(words(ofStatus(status, {}, { code, message }, now).failure), expected)
  })

  it.each([
    ["7", 7000],
    ["0", null],
    [new Date(now + 90_000).toUTCString(), 90_000],
    [new Date(now - 90_000).toUTCString(), null],
    ["999999", 3_600_000],
    ["soon", null],
    [undefined, null]
  ])("Retry-After %s is a wait of %s", (header, expected) => {
    assert.strictEqual(ofStatus(429, { "retry-after": header }, null, now).retryAfter, expected)
    assert.strictEqual(ofStatus(503, { "retry-after": header }, null, now).retryAfter, expected)
  })

  it.each([
    ["ECONNREFUSED", "upstreamDown unreachable"],
    ["ENOTFOUND", "upstreamDown unreachable"],
    ["EAI_AGAIN", "upstreamDown unreachable"],
    ["ECONNRESET", "upstreamDown unreachable"],
    ["ETIMEDOUT", "upstreamDown unreachable"],
    ["CERT_HAS_EXPIRED", "upstreamDown tls"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "upstreamDown tls"],
    ["EMFILE", "transport local-limit"],
    ["HPE_INVALID_CONSTANT", "transport not-a-websocket"],
    ["", "transport not-a-websocket"]
  ])("%s while connecting is %s", (code, expected) => {
    const failure = ofConnectError(error(code))
    assert.strictEqual(words(failure), expected)
    assert.notInclude(failure.detail, "secret")
  })

  it.each(
    [
      ["too-large", "transport frame-too-large"],
      ["not-utf-8", "transport protocol-error"],
      ["masked-frame", "transport protocol-error"]
    ] as const
  )("%s on an open socket is %s", (violation, expected) => {
    assert.strictEqual(words(ofViolation(violation)), expected)
  })

  it.each([
    [1000, "transport socket-closed"],
    [1001, "transport socket-closed"],
    [1005, "transport socket-closed"],
    [1006, "transport socket-lost"],
    [1008, "auth policy"],
    [1009, "transport frame-too-large"],
    [1011, "transport gateway-error"],
    [1012, "upstreamDown restarting"],
    [1013, "upstreamDown overloaded"],
    [4401, "auth unauthorized"],
    [4404, "transport unknown-slot"],
    [4409, "conflict replaced"],
    [4999, "transport socket-closed"]
  ])("close code %i is %s", (code, expected) => {
    assert.strictEqual(words(ofClose(code)), expected)
  })

  it("distinguishes closing because of Columba's own defect from any other closing", () => {
    assert.strictEqual(chooseCloseCode({ class: "ours", code: "x", detail: "" }), 1011)
    assert.strictEqual(chooseCloseCode({ class: "transport", code: "x", detail: "" }), 1001)
  })
})
