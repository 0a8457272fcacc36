/**
 * The phone's side of a login: the codes that slots show, and a phone that scans one, types one in, or wants a passkey. The
 * same for all dialects; each dialect has its own way to request, show and announce a code.
 */
import type { SimulatedDevice } from "./SimulatedDevice.ts"
import type { SimulatorCore } from "./SimulatorCore.ts"

/** A code that a slot shows. It has one of each method at a time: a new one replaces the one before. */
export interface Shown {
  readonly method: "qr" | "code"
  /** The content of the picture, or the text to type in. */
  readonly text: string
  readonly until: number
}

/** WhatsApp's demands on a phone that has accepted: the answer to a challenge, then a comparison of codes. */
export interface Passkey {
  readonly stage: "challenge" | "confirmation"
  readonly challenge: unknown
  readonly code: string
}

/** The result of a scan. */
export type Scanned = "paired" | "passkey" | "no code" | "another code"

const letters = "ABCDEFGHJKLMNPQRSTUVWXYZ123456789"

export class Pairings {
  readonly #core: SimulatorCore
  readonly #shown: Readonly<Record<Shown["method"], Map<SimulatedDevice, Shown>>> = { qr: new Map(), code: new Map() }
  readonly #passkeys = new Map<SimulatedDevice, Passkey>()
  #codes = 0

  constructor(core: SimulatorCore) {
    this.#core = core
  }

  /** Shows a new QR code for this time, and returns its text, which is as long as WhatsApp's. */
  showQr(device: SimulatedDevice, millis: number): string {
    const number = ++this.#codes
    const key = (part: number) =>
      Buffer.from(`${device.id}/${number}/${part}`.padEnd(32, "x").slice(0, 32)).toString("base64")
    const text = `https://wa.me/settings/linked_devices#2@${key(1)},${key(2)},${key(3)},${key(4)}`
    this.#passkeys.delete(device)
    this.#shown.qr.set(device, { method: "qr", text, until: this.#core.now() + millis })
    return text
  }

  /** Shows a new pairing code for this time. */
  showCode(device: SimulatedDevice, millis: number): string {
    let rest = ++this.#codes
    const code = Array.from({ length: 8 }, (_, index) => {
      const letter = letters[(rest + index * 7) % letters.length]!
      rest = Math.floor(rest / 2) + index
      return letter
    }).join("")
    const text = `${code.slice(0, 4)}-${code.slice(4)}`
    this.#passkeys.delete(device)
    this.#shown.code.set(device, { method: "code", text, until: this.#core.now() + millis })
    return text
  }

  /** The code that can be used now, or null. */
  current(device: SimulatedDevice, method: Shown["method"]): Shown | null {
    const shown = this.#shown[method].get(device)
    return shown === undefined || shown.until <= this.#core.now() ? null : shown
  }

  passkey(device: SimulatedDevice): Passkey | null {
    return this.#passkeys.get(device) ?? null
  }

  hide(device: SimulatedDevice): void {
    this.#shown.qr.delete(device)
    this.#shown.code.delete(device)
    this.#passkeys.delete(device)
  }

  /** A phone scans or types this text, or the code that is shown. With `passkey`, WhatsApp wants one before it accepts. */
  scan(device: SimulatedDevice, text: string | undefined, passkey: boolean): Scanned {
    const shown = [this.current(device, "code"), this.current(device, "qr")].flatMap((one) => one ?? [])
    if (shown.length === 0) return "no code"
    if (text !== undefined && !shown.some((one) => one.text === text)) return "another code"
    this.hide(device)
    if (!passkey) {
      this.#core.pair(device)
      return "paired"
    }
    const challenge = {
      challenge: Buffer.from(`challenge of ${device.id}`).toString("base64url"),
      timeout: 60_000,
      rpId: "whatsapp.com",
      allowCredentials: [],
      userVerification: "required"
    }
    this.#passkeys.set(device, { stage: "challenge", challenge, code: "" })
    this.#core.dialect.passkey?.(device)
    return "passkey"
  }

  /** The challenge has been answered: now the phone shows a code to compare. False: there is no challenge. */
  answerPasskey(device: SimulatedDevice): boolean {
    const pending = this.#passkeys.get(device)
    if (pending?.stage !== "challenge") return false
    this.#passkeys.set(device, { stage: "confirmation", challenge: null, code: "4711" })
    this.#core.dialect.passkey?.(device)
    return true
  }

  /** The codes are the same: the phone accepts. False: there are no codes to compare. */
  confirmPasskey(device: SimulatedDevice): boolean {
    if (this.#passkeys.get(device)?.stage !== "confirmation") return false
    this.#passkeys.delete(device)
    this.#core.pair(device)
    return true
  }
}
