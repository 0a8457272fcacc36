/** The one connection of a simulated gateway for all slots. It carries no events: only its loss matters. */
import type { DeviceId } from "../../src/domain/Ids.ts"
import type { LinkListener, SessionEvent } from "../../src/services/GatewayParts.ts"
import type { Machine } from "./VirtualTime.ts"

export class SimulatedLink {
  #open = true
  readonly machine: Machine
  readonly #listener: LinkListener
  readonly #onClosed: () => void

  constructor(machine: Machine, listener: LinkListener, onClosed: () => void) {
    this.machine = machine
    this.#listener = listener
    this.#onClosed = onClosed
  }

  lose(detail: string): void {
    if (!this.#open) return
    this.close()
    this.machine.post(() => this.#listener.onEnd({ class: "transport", code: "socket-closed", detail }))
  }

  tell(deviceId: DeviceId, event: SessionEvent): void {
    this.machine.post(() => {
      if (this.#open) this.#listener.onEvent(deviceId, event)
    })
  }

  freeze(noticedAfter: number): void {
    this.machine.time.after(noticedAfter, () => this.lose("ping timeout"))
  }

  close(): void {
    this.#open = false
    this.#onClosed()
  }
}
