/** The newest events as request bodies: serialised once for all subscriptions that get them at about the same time. */
import { toWire } from "../../../domain/Event.ts"
import type { LoggedEvent } from "../../../domain/Event.ts"

/** 4 MiB plus one body: the distance between subscriptions that keep up. One that lags serialises its own. */
const bytesMax = 4 * 1024 * 1024

export class WebhookBodies {
  readonly #bodies = new Map<string, Uint8Array>()
  #bytes = 0

  of(event: LoggedEvent): Uint8Array {
    const known = this.#bodies.get(event.id)
    if (known !== undefined) return known
    const body = Buffer.from(toWire(event))
    this.#bodies.set(event.id, body)
    this.#bytes += body.byteLength
    for (const [id, old] of this.#bodies) {
      if (this.#bytes <= bytesMax || this.#bodies.size === 1) break
      this.#bodies.delete(id)
      this.#bytes -= old.byteLength
    }
    return body
  }

  /** Events have been changed in the log. */
  forget(): void {
    this.#bodies.clear()
    this.#bytes = 0
  }
}
