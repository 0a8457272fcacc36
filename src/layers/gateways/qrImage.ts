/**
 * Decodes a gateway's picture of a QR code. The picture is untrusted: it is checked before it is inflated, and a
 * small one that claims to be huge is refused.
 *
 * PNG is parsed here by hand: the needed part of the format is a page long, and the bounds must hold before anything is
 * allocated (`docs/decisions/0023-login.md`).
 */
import decodeQR from "qr/decode.js"
import { inflateSync } from "node:zlib"
import { isQrText } from "../../services/qrCode.ts"

/** GOWA's picture has some 3 KB, and one of 24-bit colour without compression 800 KB. */
export const qrBytesMax = 1024 * 1024

/** Maximum side length. Gateways draw 300 to 512 pixels; searching a larger picture for a code takes too long. */
const sideMax = 1024

/** Maximum time of searching an unusual picture, in milliseconds: it blocks the event loop. */
const lookMillisMax = 100

const signature = "89504e470d0a1a0a"

/** Samples per pixel by colour type: grey, colour, palette, grey with alpha, colour with alpha. */
const samples: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }

interface Picture {
  readonly width: number
  readonly height: number
  readonly depth: number
  readonly colour: number
  readonly palette: Buffer | null
  readonly packed: Buffer
}

/** The parts of a PNG, or null where it is not one that a gateway draws: too large, interlaced, or broken. */
const readPicture = (bytes: Uint8Array): Picture | null => {
  const png = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (png.length > qrBytesMax || png.subarray(0, 8).toString("hex") !== signature) return null
  if (png.length < 33 || png.toString("latin1", 12, 16) !== "IHDR") return null
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)]
  const [depth, colour, , , interlace] = png.subarray(24, 29) as unknown as ReadonlyArray<number>
  if (width === 0 || height === 0 || width > sideMax || height > sideMax || interlace !== 0) return null
  if (![1, 2, 4, 8, 16].includes(depth!) || samples[colour!] === undefined) return null
  const data: Array<Buffer> = []
  let palette: Buffer | null = null
  for (let at = 8; at + 12 <= png.length;) {
    const length = png.readUInt32BE(at)
    const type = png.toString("latin1", at + 4, at + 8)
    if (length > png.length - at - 12) return null
    const content = png.subarray(at + 8, at + 8 + length)
    if (type === "IDAT") data.push(content)
    if (type === "PLTE") palette = content
    if (type === "IEND") break
    at += 12 + length
  }
  return { width, height, depth: depth!, colour: colour!, palette, packed: Buffer.concat(data) }
}

/** Bytes of one line without its filter. */
const countLineBytes = ({ colour, depth, width }: Picture): number => Math.ceil(width * samples[colour]! * depth / 8)

/** Undoes the filter of each line. Null where the number of lines differs from the picture's height. */
const readLines = (picture: Picture): Buffer | null => {
  const lineBytes = countLineBytes(picture)
  const size = (lineBytes + 1) * picture.height
  let raw: Buffer
  try {
    raw = inflateSync(picture.packed, { maxOutputLength: size })
  } catch {
    return null
  }
  if (raw.length !== size) return null
  const step = Math.max(1, samples[picture.colour]! * picture.depth / 8)
  const lines = Buffer.alloc(lineBytes * picture.height)
  for (let y = 0; y < picture.height; y++) {
    const filter = raw[y * (lineBytes + 1)]!
    if (filter > 4) return null
    const to = y * lineBytes
    for (let x = 0; x < lineBytes; x++) {
      const left = x < step ? 0 : lines[to + x - step]!
      const above = y === 0 ? 0 : lines[to + x - lineBytes]!
      const corner = x < step || y === 0 ? 0 : lines[to + x - step - lineBytes]!
      lines[to + x] = raw[y * (lineBytes + 1) + 1 + x]! + predict(filter, left, above, corner)
    }
  }
  return lines
}

const predict = (filter: number, left: number, above: number, corner: number): number => {
  switch (filter) {
    case 1:
      return left
    case 2:
      return above
    case 3:
      return (left + above) >> 1
    case 4: {
      const [toLeft, toAbove, toCorner] = [above - corner, left - corner, left + above - 2 * corner].map(Math.abs)
      return toLeft! <= toAbove! && toLeft! <= toCorner! ? left : toAbove! <= toCorner! ? above : corner
    }
    default:
      return 0
  }
}

/** Three bytes per pixel; transparent pixels become white, as on a page. */
const toRgb = (picture: Picture, lines: Buffer): Uint8Array => {
  const { colour, depth, height, palette, width } = picture
  const perPixel = samples[colour]!
  const lineBytes = countLineBytes(picture)
  const largest = 2 ** Math.min(depth, 8) - 1
  const pixels = new Uint8Array(width * height * 3)
  const sampleAt = (y: number, index: number): number => {
    if (depth === 16) return lines[y * lineBytes + index * 2]!
    const bit = index * depth
    return (lines[y * lineBytes + (bit >> 3)]! >> (8 - depth - (bit & 7))) & largest
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const first = sampleAt(y, x * perPixel)
      const alpha = colour === 4 || colour === 6 ? sampleAt(y, x * perPixel + perPixel - 1) : 255
      for (let channel = 0; channel < 3; channel++) {
        const value = colour === 3
          ? palette?.[first * 3 + channel] ?? 255
          : (colour === 2 || colour === 6 ? sampleAt(y, x * perPixel + channel) : first) * 255 / largest
        pixels[(y * width + x) * 3 + channel] = alpha < 128 ? 255 : value
      }
    }
  }
  return pixels
}

export type QrImage =
  /** A code of printable text, as WhatsApp's are. */
  | { readonly _tag: "Text"; readonly text: string }
  /** A picture without such a code. */
  | { readonly _tag: "Unread" }
  /** Not a PNG, or not one that may be decoded. */
  | { readonly _tag: "NoPicture" }

/** Total: any bytes give an answer. */
export const readQrImage = (bytes: Uint8Array): QrImage => {
  const picture = readPicture(bytes)
  const lines = picture === null ? null : readLines(picture)
  if (picture === null || lines === null) return { _tag: "NoPicture" }
  try {
    const { height, width } = picture
    const text = decodeQR({ width, height, data: toRgb(picture, lines) }, { timeLimit: lookMillisMax })
    return isQrText(text) ? { _tag: "Text", text } : { _tag: "Unread" }
  } catch {
    return { _tag: "Unread" }
  }
}
