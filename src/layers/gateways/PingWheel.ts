/**
 * One wheel pings every socket of the process. A socket is in one slot of the wheel and is checked once per turn:
 * ten thousand sockets cost one timer and no closures, and their pings are spread over the turn.
 *
 * A socket without a sign of life for `missesMax` turns is dead, even if TCP still reports it as open: a half-open
 * connection looks healthy for hours. Both pongs and frames are signs of life: a silent gateway still answers pings,
 * and a pong may be queued behind megabytes of frames. A paused socket is neither pinged nor counted, since its answers
 * are not read; after `resume` its count starts again.
 */

/**
 * The state of a socket that the wheel uses. The wheel writes its own fields on the member: there are no entry objects.
 */
export interface WheelMember {
  /** The member's slot; -1 outside the wheel. Written by the wheel only. */
  wheelSlot: number
  /** The member's index within the slot. Written by the wheel only. */
  wheelIndex: number
  /** Number of pings since the last sign of life. The member sets it to 0 on a pong or a frame. */
  misses: number
  readonly paused: boolean
  readonly sendPing: () => void
  /** Called once, after the wheel has removed the member. */
  readonly onDead: () => void
}

export interface PingWheelOptions {
  /** The duration of one turn: each socket is pinged once per turn. */
  readonly turn: number
  readonly slots: number
  readonly missesMax: number
}

/**
 * A half-open socket is found after 20 to 30 s: two pings that nothing answered, and the turn in which it is checked.
 * 10,000 sockets cost 1,000 pings per second; 100 slots make a tick of 100 ms.
 */
const pingWheelDefaults: PingWheelOptions = { turn: 10_000, slots: 100, missesMax: 2 }

export class PingWheel {
  readonly options: PingWheelOptions
  readonly #slots: Array<Array<WheelMember>>
  #timer: NodeJS.Timeout | undefined
  #position = 0
  #next = 0
  #size = 0

  constructor(options: PingWheelOptions = pingWheelDefaults) {
    this.options = options
    this.#slots = Array.from({ length: options.slots }, () => [])
  }

  get size(): number {
    return this.#size
  }

  add(member: WheelMember): void {
    const slot = this.#slots[this.#next]!
    member.wheelSlot = this.#next
    member.wheelIndex = slot.push(member) - 1
    member.misses = 0
    this.#next = (this.#next + 1) % this.#slots.length
    this.#size++
    this.#timer ??= setInterval(() => this.#tick(), this.options.turn / this.#slots.length)
  }

  remove(member: WheelMember): void {
    if (member.wheelSlot === -1) return
    const slot = this.#slots[member.wheelSlot]!
    const last = slot.pop()!
    if (last !== member) {
      slot[member.wheelIndex] = last
      last.wheelIndex = member.wheelIndex
    }
    member.wheelSlot = -1
    this.#size--
    if (this.#size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #tick(): void {
    const slot = this.#slots[this.#position]!
    this.#position = (this.#position + 1) % this.#slots.length
    // Backwards, because a removed member is replaced by the last one, which was visited already.
    for (let index = slot.length - 1; index >= 0; index--) {
      const member = slot[index]
      if (member === undefined || member.paused) continue
      if (member.misses >= this.options.missesMax) {
        this.remove(member)
        member.onDead()
      } else {
        member.misses++
        member.sendPing()
      }
    }
  }
}

/** The wheel of this process. */
export const pingWheel = new PingWheel()
