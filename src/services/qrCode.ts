/**
 * QR codes as pictures: modules, PNG and SVG. The pictures are made here from the text alone, so that, if the text is
 * known, no picture of a gateway reaches a browser.
 */
import encodeQR from "qr"
import { crc32, deflateSync } from "node:zlib"

/** The longest text that fits a QR code with the least correction is 2,953 bytes; codes of WhatsApp have some 250. */
export const qrTextMax = 1024

/** Printable ASCII, as WhatsApp's codes are. Any other text was not made by WhatsApp. */
export const isQrText = (text: string): boolean => text.length <= qrTextMax && /^[\x21-\x7e]+$/.test(text)

/** The quiet zone that readers need, in modules. */
const border = 4

/** Rows of modules with the quiet zone around them; true is dark. */
export type Modules = ReadonlyArray<ReadonlyArray<boolean>>

/** With the least correction: a screen is not dirty, and fewer modules are larger ones. */
export const makeModules = (text: string): Modules => encodeQR(text, "raw", { ecc: "low", border })

/** Pixels per module: 61 modules, as WhatsApp's codes have, are 488 pixels wide. */
const scale = 8

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)

const chunk = (type: string, data: Uint8Array): Buffer => {
  const bytes = Buffer.alloc(12 + data.length)
  bytes.writeUInt32BE(data.length, 0)
  bytes.write(type, 4, "latin1")
  bytes.set(data, 8)
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length)
  return bytes
}

/** A PNG of one bit per pixel. */
export const drawPng = (text: string): Uint8Array => {
  const modules = makeModules(text)
  const size = modules.length * scale
  // Each line begins with a byte for its filter: none.
  const lineBytes = 1 + Math.ceil(size / 8)
  const lines = Buffer.alloc(lineBytes * size)
  for (let y = 0; y < size; y++) {
    const row = modules[Math.floor(y / scale)]!
    for (let x = 0; x < size; x++) {
      if (!row[Math.floor(x / scale)]) lines[y * lineBytes + 1 + (x >> 3)]! |= 0x80 >> (x & 7)
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(size, 0)
  header.writeUInt32BE(size, 4)
  // One bit, grey, and the only defined methods; not interlaced.
  header.set([1, 0, 0, 0, 0], 8)
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(lines)),
    chunk("IEND", new Uint8Array(0))
  ])
}

/** An SVG: dark modules on a white ground, as one path. */
export const drawSvg = (text: string): string => {
  const modules = makeModules(text)
  const path = modules.flatMap((row, y) => row.flatMap((dark, x) => dark ? [`M${x} ${y}h1v1h-1z`] : [])).join("")
  const { length } = modules
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${length} ${length}" shape-rendering="crispEdges">` +
    `<path fill="#fff" d="M0 0h${length}v${length}H0z"/><path d="${path}"/></svg>\n`
}
