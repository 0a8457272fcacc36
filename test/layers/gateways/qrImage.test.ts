/** Pictures of QR codes as gateways draw them, read and drawn by an independent implementation of PNG as well. */
import { assert, describe, it } from "@effect/vitest"
import { crc32, deflateSync } from "node:zlib"
import { PNG } from "pngjs"
import decodeQR from "qr/decode.js"
import { qrBytesMax, readQrImage } from "../../../src/layers/gateways/qrImage.ts"
import { drawPng, drawSvg, isQrText, makeModules, qrTextMax } from "../../../src/services/qrCode.ts"

const text = `https://wa.me/settings/linked_devices#2@${"Ab3+/".repeat(40)},xyz=,${"q".repeat(44)}`

/** As gateways draw it: some pixels per module, anywhere in the picture. */
const draw = (said: string, scale: number, margin: number): PNG => {
  const modules = makeModules(said)
  const size = modules.length * scale + 2 * margin
  const png = new PNG({ width: size, height: size })
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const dark = modules[Math.floor((y - margin) / scale)]?.[Math.floor((x - margin) / scale)] === true
      png.data.set(dark ? [0, 0, 0, 255] : [255, 255, 255, 255], (y * size + x) * 4)
    }
  }
  return png
}

const chunk = (type: string, data: Uint8Array): Buffer => {
  const bytes = Buffer.concat([Buffer.alloc(4), Buffer.from(type, "latin1"), data, Buffer.alloc(4)])
  bytes.writeUInt32BE(data.length, 0)
  bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4)
  return bytes
}

const assemble = (header: ReadonlyArray<number>, ...chunks: ReadonlyArray<Buffer>): Buffer => {
  const head = Buffer.alloc(13)
  head.writeUInt32BE(header[0]!, 0)
  head.writeUInt32BE(header[1]!, 4)
  head.set(header.slice(2), 8)
  return Buffer.concat([
    Buffer.from("89504e470d0a1a0a", "hex"),
    chunk("IHDR", head),
    ...chunks,
    chunk("IEND", Buffer.alloc(0))
  ])
}

/** As Go draws a picture of two colours: a palette and one bit per pixel. */
const drawWithPalette = (said: string, scale: number): Buffer => {
  const modules = makeModules(said)
  const size = modules.length * scale
  const line = 1 + Math.ceil(size / 8)
  const raw = Buffer.alloc(line * size)
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (modules[Math.floor(y / scale)]![Math.floor(x / scale)]) raw[y * line + 1 + (x >> 3)]! |= 0x80 >> (x & 7)
    }
  }
  const palette = chunk("PLTE", Buffer.from([255, 255, 255, 0, 0, 0]))
  return assemble([size, size, 1, 3, 0, 0, 0], palette, chunk("IDAT", deflateSync(raw)))
}

describe("a picture of a QR code", () => {
  it.each([[4, 0], [5, 17], [3, 100]] as const)(
    "of %i pixels per module with a margin of %i is read",
    (scale, margin) => {
      const png = draw(text, scale, margin)
      for (const [colorType, filterType] of [[0, 0], [2, 1], [4, 2], [6, 3], [2, 4], [0, -1]] as const) {
        const bytes = PNG.sync.write(png, { colorType, filterType, inputHasAlpha: true })
        assert.deepStrictEqual(readQrImage(bytes), { _tag: "Text", text }, `colours ${colorType} filter ${filterType}`)
      }
      assert.deepStrictEqual(readQrImage(PNG.sync.write(png, { bitDepth: 16 })), { _tag: "Text", text })
    }
  )

  it("with a palette and one bit per pixel is read", () => {
    assert.deepStrictEqual(readQrImage(drawWithPalette(text, 8)), { _tag: "Text", text })
  })

  it("that Columba draws is read by others, and by Columba", () => {
    const bytes = drawPng(text)
    const { data, height, width } = PNG.sync.read(Buffer.from(bytes))
    assert.strictEqual(decodeQR({ width, height, data }), text)
    assert.deepStrictEqual(readQrImage(bytes), { _tag: "Text", text })
    assert.match(drawSvg(text), /^<svg [^<>]*><path [^<>]*\/><path d="(M\d+ \d+h1v1h-1z)+"\/><\/svg>\n$/)
  })

  it("with a text that WhatsApp never uses is only a picture", () => {
    for (const said of ["\u001b]0;title\u0007", "two words", "naïve", "x".repeat(qrTextMax + 1)]) {
      assert.isFalse(isQrText(said))
      assert.deepStrictEqual(readQrImage(PNG.sync.write(draw(said, 4, 0))), { _tag: "Unread" })
    }
  })

  it("without a code is only a picture", () => {
    const noise = new PNG({ width: 200, height: 200 })
    for (let at = 0; at < noise.data.length; at++) noise.data[at] = (at * 7919) % 251
    assert.deepStrictEqual(readQrImage(PNG.sync.write(noise)), { _tag: "Unread" })
  })
})

describe("an invalid picture", () => {
  const bomb = chunk("IDAT", deflateSync(Buffer.alloc(50 * 1024 * 1024)))
  it.each<readonly [string, Uint8Array]>([
    ["nothing", new Uint8Array(0)],
    ["a page", Buffer.from("<html><body>not found</body></html>")],
    ["a signature alone", Buffer.from("89504e470d0a1a0a", "hex")],
    ["a picture that was cut off", drawPng(text).subarray(0, 200)],
    ["too many bytes", Buffer.concat([drawPng(text), Buffer.alloc(qrBytesMax)])],
    ["a huge one", assemble([100_000, 100_000, 8, 6, 0, 0, 0], bomb)],
    ["one without size", assemble([0, 512, 1, 0, 0, 0, 0], bomb)],
    ["one that inflates to more than it says", assemble([512, 512, 1, 0, 0, 0, 0], bomb)],
    ["one that inflates to less", assemble([512, 512, 1, 0, 0, 0, 0], chunk("IDAT", deflateSync(Buffer.alloc(10))))],
    ["an interlaced one", assemble([512, 512, 1, 0, 0, 0, 1], bomb)],
    ["one of colours that do not exist", assemble([512, 512, 3, 7, 0, 0, 0], bomb)],
    ["a chunk that is longer than the file", assemble([8, 8, 1, 0, 0, 0, 0], Buffer.from("7fffffff49444154", "hex"))]
  ])("%s", (_, bytes) => {
    const before = process.memoryUsage().arrayBuffers
    assert.deepStrictEqual(readQrImage(bytes), { _tag: "NoPicture" })
    assert.isBelow(process.memoryUsage().arrayBuffers - before, 16 * 1024 * 1024)
  })
})
