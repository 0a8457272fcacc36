/**
 * Shares the event loop between the sockets that read and everything else. In a burst hundreds of sockets are readable at once,
 * and one turn of the loop would read and decode all they have, for most of a second: no timer, request or answer of the
 * database would get its turn meanwhile. So reading has a slice of each turn. A socket that comes later keeps what it has
 * read, is paused, and goes on in a later turn, in the order of arrival.
 *
 * Below that, a turn costs two looks at the clock: nothing is scheduled before reading has taken part of a slice in one go.
 */

/** A socket with something read that is not decoded. */
export interface TurnReader {
  /** Decodes one chunk. With more it has to wait again. */
  readonly onTurn: () => void
}

interface Surroundings {
  readonly now: () => number
  /** Calls back in the next turn of the loop, after whatever else is due. */
  readonly later: (turn: () => void) => void
}

/** The longest that decoding delays anything else: one slice of waiting sockets and one of sockets that come new. */
const sliceMillis = 10

/** Reading for longer without a break makes sure that the end of the turn is noticed. */
const noticeMillis = 2

/** A pause between two chunks in which other work must have had its turn: reading one after the other takes far less. */
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

  /** Whether a chunk may be decoded now, which is then to be followed by `done`; else its socket has to wait. */
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

/** Of all sockets of this process. */
export const readTurns = new ReadTurns()
