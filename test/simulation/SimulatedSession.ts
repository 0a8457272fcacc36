/** One connection of a device to a simulated gateway: frames in order, on their way for a while, until it is lost. */
import type { Failure } from "../../src/domain/DeviceState.ts"
import type { Session, SessionEvent, SessionListener } from "../../src/services/GatewayParts.ts"
import type { SimulatedPhone } from "./SimulatedPhone.ts"
import type { Machine, VirtualTime } from "./VirtualTime.ts"

/** Data in buffers of the network while nobody reads; above it the gateway ends the connection. */
const unreadMax = 200

/** From Columba's close frame to the gateway. */
const finishMillis = 5

export class SimulatedSession implements Session {
  readonly phone: SimulatedPhone
  open = true
  /** The gateway writes nothing to it, although it answers pings. */
  deaf = false
  /** The other side is gone, and nobody has noticed. */
  #frozen = false
  #paused = false
  #inbox: Array<() => void> = []
  #arrivesAt = 0
  #finishing: ((complete: boolean) => void) | null = null
  readonly machine: Machine
  readonly #time: VirtualTime
  readonly #listener: SessionListener
  readonly #onClosed: () => void

  constructor(
    phone: SimulatedPhone,
    machine: Machine,
    time: VirtualTime,
    listener: SessionListener,
    onClosed: () => void
  ) {
    this.phone = phone
    this.machine = machine
    this.#time = time
    this.#listener = listener
    this.#onClosed = onClosed
  }

  /** Whether a frame that is written now is sent. */
  get hears(): boolean {
    return this.open && !this.#frozen && this.machine.alive
  }

  /** `overtakes`: it does not wait for the frames before it. */
  carry(make: () => SessionEvent, delay: number, overtakes: boolean): void {
    const arrivesAt = overtakes ? this.#time.now + delay : Math.max(this.#arrivesAt, this.#time.now + delay)
    if (!overtakes) this.#arrivesAt = arrivesAt
    this.#time.after(arrivesAt - this.#time.now, () => {
      if (!this.hears) return
      this.#arrive(() => this.#listener.onEvent(make()))
    })
  }

  /** The connection ends, and this side is notified at once. */
  lose(failure: Failure): void {
    if (!this.open) return
    this.open = false
    this.#onClosed()
    const end = () => this.#tellEnd(failure)
    // Received frames are read before the end, and both of them once they are read, unless this side closes first.
    if (this.#paused && failure.code === "socket-closed" && this.#inbox.length < unreadMax) {
      this.#inbox.push(end)
      return
    }
    if (this.#paused) this.#inbox = []
    this.#paused = false
    this.#arrive(end)
  }

  #tellEnd(failure: Failure): void {
    if (this.#finishing === null) this.#listener.onEnd(failure)
    else this.#finished(false)
  }

  /** The other side is gone; pings find out after this time. */
  freeze(noticedAfter: number): void {
    if (this.#frozen) return
    this.#frozen = true
    this.#time.after(
      noticedAfter,
      () => this.lose({ class: "transport", code: "ping-timeout", detail: "no answer to pings" })
    )
  }

  pause(): boolean {
    this.#paused = true
    return true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    for (let waiting = this.#inbox.length; waiting > 0; waiting--) this.machine.post(() => this.#readOne())
  }

  end(failure: Failure): void {
    if (!this.open) return
    this.open = false
    this.#onClosed()
    this.#inbox = []
    this.#paused = false
    this.#arrive(() => this.#tellEnd(failure))
  }

  /** The gateway answers when it has received this side's close, and all that it has sent by then comes before its answer. */
  finish(done: (complete: boolean) => void): void {
    if (!this.open) return done(false)
    this.#finishing = done
    this.resume()
    this.#time.after(finishMillis, () => {
      if (!this.hears) return
      const arrivesAt = Math.max(this.#arrivesAt, this.#time.now)
      this.#time.after(arrivesAt - this.#time.now, () => {
        if (!this.hears) return
        this.#arrive(() => this.#finished(true))
      })
    })
  }

  #finished(complete: boolean): void {
    const done = this.#finishing
    if (done === null) return
    this.#finishing = null
    if (complete) this.close()
    done(complete)
  }

  /** This side has closed it: it reports nothing more. */
  close(): void {
    if (!this.open) return
    this.open = false
    this.#inbox = []
    this.#onClosed()
  }

  /** One step each, in order. */
  #arrive(read: () => void): void {
    if (this.#paused && this.#inbox.length >= unreadMax) {
      return this.lose({ class: "transport", code: "socket-closed", detail: "nobody reads" })
    }
    this.#inbox.push(read)
    this.machine.post(() => this.#readOne())
  }

  #readOne(): void {
    if (!this.#paused) this.#inbox.shift()?.()
  }
}
