/** The URLs that a caller may not name, spelling by spelling. */
import { assert, describe, it } from "@effect/vitest"
import fc from "fast-check"
import { isPublicAddress } from "../../../src/layers/outbound/publicAddresses.ts"
import { readOutboundUrl } from "../../../src/layers/outbound/outboundUrl.ts"
import { OutboundRefused } from "../../../src/services/OutboundHttp.ts"

/** The URL if it leads to the public internet only, or the reason. */
const read = (url: string, allowPrivate = false) => {
  const found = readOutboundUrl(url, allowPrivate)
  return found instanceof OutboundRefused ? found.reason : found.href
}

const privateAddresses = [
  "0.0.0.0",
  "0.1.2.3",
  "10.0.0.1",
  "10.255.255.255",
  "100.64.0.1",
  "100.127.255.255",
  "127.0.0.1",
  "127.255.255.254",
  "169.254.169.254",
  "172.16.0.1",
  "172.31.255.255",
  "192.0.0.8",
  "192.0.2.1",
  "192.88.99.1",
  "192.168.1.1",
  "198.18.0.1",
  "198.19.255.255",
  "198.51.100.7",
  "203.0.113.7",
  "224.0.0.1",
  "239.255.255.255",
  "240.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "::2",
  "::ffff:127.0.0.1",
  "::ffff:7f00:1",
  "::ffff:8.8.8.8",
  "::127.0.0.1",
  "::ffff:0:127.0.0.1",
  "64:ff9b::7f00:1",
  "64:ff9b::8.8.8.8",
  "64:ff9b:1::a00:1",
  "100::1",
  "2001::1",
  "2001:0:4136:e378:8000:63bf:3fff:fdd2",
  "2001:2::1",
  "2001:10::1",
  "2001:20::1",
  "2001:db8::1",
  "2002:7f00:1::1",
  "2002:a00:1::",
  "3fff::1",
  "5f00::1",
  "fc00::1",
  "fd00::1",
  "fe80::1",
  "febf::1",
  "fec0::1",
  "ff02::1",
  "ff05::2",
  "fe80::1%eth0"
]

const publicAddresses = [
  "1.1.1.1",
  "8.8.8.8",
  "9.255.255.255",
  "11.0.0.0",
  "100.63.255.255",
  "100.128.0.0",
  "126.255.255.255",
  "128.0.0.0",
  "172.15.255.255",
  "172.32.0.0",
  "192.167.255.255",
  "192.169.0.0",
  "223.255.255.255",
  "2600::1",
  "2606:4700:4700::1111",
  "2a00:1450:4001::1"
]

describe("the targets of requests on behalf of callers", () => {
  it("are machines of the public internet, and no special address in any spelling", () => {
    for (const address of privateAddresses) assert.isFalse(isPublicAddress(address), address)
    for (const address of publicAddresses) assert.isTrue(isPublicAddress(address), address)
  })

  it("are never in a private network, wherever in it the address is", () => {
    const octet = fc.integer({ min: 0, max: 255 })
    const inside = [
      fc.tuple(fc.constant("10"), octet, octet, octet),
      fc.tuple(fc.constant("127"), octet, octet, octet),
      fc.tuple(fc.constant("192.168"), octet, octet),
      fc.tuple(fc.constant("169.254"), octet, octet),
      fc.tuple(fc.integer({ min: 16, max: 31 }).map((part) => `172.${part}`), octet, octet),
      fc.tuple(fc.integer({ min: 64, max: 127 }).map((part) => `100.${part}`), octet, octet),
      fc.tuple(fc.integer({ min: 224, max: 255 }), octet, octet, octet)
    ]
    fc.assert(fc.property(fc.oneof(...inside), (parts) => {
      const address = parts.join(".")
      const hex = address.split(".").map((part) => Number(part).toString(16).padStart(2, "0"))
      const last = `${hex[0]}${hex[1]}:${hex[2]}${hex[3]}`
      assert.isFalse(isPublicAddress(address), address)
      for (const prefix of ["::ffff:", "::", "64:ff9b::", "::ffff:0:"]) {
        assert.isFalse(isPublicAddress(`${prefix}${last}`), `${prefix}${last}`)
      }
      assert.isFalse(isPublicAddress(`2002:${last}::1`), last)
    }))
  })

  const refused: ReadonlyArray<readonly [url: string, reason: OutboundRefused["reason"]]> = [
    ["https://127.0.0.1/", "address"],
    ["https://[::1]/", "address"],
    ["https://[::ffff:127.0.0.1]/", "invalid"],
    ["https://[::ffff:7f00:1]/", "address"],
    ["https://169.254.169.254/latest/meta-data", "address"],
    ["https://[64:ff9b::7f00:1]/", "address"],
    ["https://[2002:7f00:1::]/", "address"],
    // Addresses in other bases and with fewer parts.
    ["https://2130706433/", "invalid"],
    ["https://0x7f000001/", "invalid"],
    ["https://0x7f.0.0.1/", "invalid"],
    ["https://0177.0.0.1/", "invalid"],
    ["https://127.1/", "invalid"],
    ["https://127.0.1/", "invalid"],
    ["https://0/", "invalid"],
    ["https://00000177.0.0.1/", "invalid"],
    ["https://127.0.0.1./", "invalid"],
    ["https://127.0.0.01/", "invalid"],
    ["https://[0:0:0:0:0:0:0:1]/", "invalid"],
    // Letters that are normalized to others.
    ["https://１２７.0.0.1/", "invalid"],
    ["https://①②⑦.⓪.⓪.①/", "invalid"],
    ["https://ⓛocalhost/", "invalid"],
    ["https://bücher.example/", "invalid"],
    ["https://exam%70le.com/", "invalid"],
    ["https://127。0。0。1/", "invalid"],
    // Dots, credentials, separators.
    ["https://example.com./", "invalid"],
    ["https://localhost./", "invalid"],
    ["https://user@example.com/", "invalid"],
    ["https://user:password@example.com/", "invalid"],
    ["https://example.com@127.0.0.1/", "invalid"],
    ["https://127.0.0.1@example.com/", "invalid"],
    ["https://example.com\\@127.0.0.1/", "invalid"],
    ["https://example.com\\.evil.com/", "invalid"],
    ["https:\\\\example.com/", "invalid"],
    ["https://exa\tmple.com/", "invalid"],
    ["https://example.com/\nHost: 127.0.0.1", "invalid"],
    [" https://example.com/", "invalid"],
    ["https://example.com/#fragment", "invalid"],
    ["https://example.com:0443/", "invalid"],
    ["https:///example.com", "invalid"],
    ["https://", "invalid"],
    [`https://example.com/${"a".repeat(3000)}`, "invalid"],
    // Schemes.
    ["http://example.com/", "scheme"],
    ["ftp://example.com/", "scheme"],
    ["file:///etc/passwd", "scheme"],
    ["gopher://example.com:70/_", "scheme"],
    ["javascript:alert(1)", "scheme"],
    ["data:text/plain,hello", "scheme"],
    ["//example.com/", "scheme"],
    ["example.com", "scheme"],
    ["", "scheme"],
    // Ports of other protocols.
    ["https://example.com:22/", "port"],
    ["https://example.com:25/", "port"],
    ["https://example.com:0/", "port"],
    ["https://example.com:6667/", "port"],
    ["https://example.com:65536/", "invalid"]
  ]
  for (const [url, reason] of refused) {
    it(`exclude ${JSON.stringify(url.slice(0, 60))}`, () => {
      assert.strictEqual(read(url), reason)
    })
  }

  for (
    const url of [
      "https://example.com/",
      "https://hooks.example.com/columba?token=1",
      "https://example.com:8443/",
      "https://example.com:80/",
      "https://xn--bcher-kva.example/",
      "https://1.1.1.1/",
      "https://[2606:4700:4700::1111]/"
    ]
  ) {
    it(`include ${url}`, () => {
      assert.strictEqual(read(url), url)
    })
  }

  it("may be private if that is allowed, and only in the same spellings", () => {
    for (const url of ["http://127.0.0.1:3000/", "http://localhost/", "https://[::1]:22/", "http://columba:8080/"]) {
      assert.strictEqual(read(url, true), url)
    }
    for (const url of ["http://2130706433/", "http://user@localhost/", "http://localhost./", "file:///etc/passwd"]) {
      assert.include(["invalid", "scheme"], read(url, true), url)
    }
  })
})
