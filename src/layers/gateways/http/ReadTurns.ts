/**
 * Shares the event loop between reading sockets and everything else. In a burst hundreds of sockets are readable at once,
 * and one turn of the loop would read and decode all their data, for most of a second: no timer, request or answer of the
 * database would run meanwhile. So reading has a slice of each turn. A socket that comes later keeps its
 * data, is paused, and continues in a later turn, in the order of arrival.
 *
 * Below that, a turn costs two clock readings: nothing is scheduled before reading has taken part of a slice without a break.
 */

/** A socket with data that was read but not decoded. */
export interface TurnReader {
  /** Decodes one chunk. If there is more, the socket waits again. */
  readonly onTurn: () => void
}

interface Surroundings {
  readonly now: () => number
  /** Calls back in the next turn of the loop, after other due work. */
  readonly later: (turn: () => void) => void
}

/** Maximum delay that decoding causes: one slice of waiting sockets and one of newly readable sockets. */
const sliceMillis = 10

/** After this time of reading without a break, the end of the turn is observed. */
const noticeMillis = 2

/** A pause between two chunks that proves that other work has run: consecutive reads take far less. */
const pauseMillis = 0.5

export class ReadTurns {
  readonly #now: () => number
  readonly #later: (turn: () => void) => void
  #waiting: Array<TurnReader> = []
  #first = 0
  #since = 0
  #endedAt = 0
  #scheduled = false

  constructor({ later, now }: Surroundings = { now: () => performance.now(), later: setImmediate }) {
    this.#now = now
    this.#later = later
  }

  /** Whether a chunk may be decoded now, which is then to be followed by `done`; otherwise its socket has to wait. */
  begin(): boolean {
    if (this.#first < this.#waiting.length) return false
    const now = this.#now()
    if (!this.#scheduled) {
      if (now - this.#endedAt > pauseMillis) this.#since = now
      else if (now - this.#since > noticeMillis) this.#schedule()
    }
    return now - this.#since < sliceMillis
  }

  done(): void {
    this.#endedAt = this.#now()
  }

  wait(reader: TurnReader): void {
    this.#waiting.push(reader)
    if (!this.#scheduled) this.#schedule()
  }

  #schedule(): void {
    this.#scheduled = true
    this.#later(this.#turn)
  }

  readonly #turn = (): void => {
    this.#scheduled = false
    const from = this.#now()
    let now = from
    while (this.#first < this.#waiting.length && now - from < sliceMillis) {
      this.#waiting[this.#first++]!.onTurn()
      now = this.#now()
    }
    if (this.#first * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first)
      this.#first = 0
    }
    this.#since = this.#endedAt = now
    if (this.#waiting.length > 0) this.#schedule()
  }
}

/** Shared by all sockets of this process. */
export const readTurns = new ReadTurns()
