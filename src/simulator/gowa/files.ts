/** GOWA's public files: QR codes, which are deleted after a while, and media. They need no credentials. */
import { drawPng } from "../../services/qrCode.ts"
import type { Reply } from "../http.ts"

const mimeTypes: Readonly<Record<string, string>> = {
  jpe: "image/jpeg",
  jpg: "image/jpeg",
  png: "image/png",
  webp: "image/webp",
  mp4: "video/mp4",
  oga: "audio/ogg",
  pdf: "application/pdf"
}

/** Size of every simulated file. */
export const fileBytes = 2048

export class Files {
  readonly #now: () => number
  readonly #pictures = new Map<string, { readonly png: Uint8Array; readonly until: number }>()
  #qrCodes = 0

  constructor(now: () => number) {
    this.#now = now
  }

  /** The path of a new QR code that exists for this many milliseconds. */
  addQr(text: string, millis: number): string {
    const path = `statics/qrcode/scan-qr-${++this.#qrCodes}.png`
    this.#pictures.set(path, { png: drawPng(text), until: this.#now() + millis })
    return path
  }

  /** A path below the base, or null where there is no such file: then the request is handled like any other. */
  read(path: string): Reply | null {
    const type = mimeTypes[path.slice(path.lastIndexOf(".") + 1)] ?? "application/octet-stream"
    if (path.startsWith("statics/qrcode/")) {
      const picture = this.#pictures.get(path)
      if (picture === undefined || picture.until <= this.#now()) return null
      return { status: 200, body: Buffer.from(picture.png), headers: { "content-type": "image/png" } }
    }
    if (!path.startsWith("statics/media/") || path.includes("..")) return null
    return { status: 200, body: makeContent(path), headers: { "content-type": type } }
  }
}

/** The same path always has the same content. */
export const makeContent = (path: string): Buffer => {
  const name = Buffer.from(path.slice(path.lastIndexOf("/") + 1))
  const content = Buffer.alloc(fileBytes)
  for (let index = 0; index < fileBytes; index++) content[index] = name[index % name.length]!
  return content
}
