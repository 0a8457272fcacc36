/**
 * Keys with their due times: a binary heap with the index of each key, so that a time can be changed or removed. Pure.
 * Arrays and one map of small numbers, because there is a key per device.
 */
export class DueTimes<K> {
  readonly #keys: Array<K> = []
  readonly #times: Array<number> = []
  readonly #places = new Map<K, number>()

  get size(): number {
    return this.#keys.length
  }

  /** The earliest time; infinite without any key. */
  get first(): number {
    return this.#times[0] ?? Number.POSITIVE_INFINITY
  }

  has(key: K): boolean {
    return this.#places.has(key)
  }

  /** When the key is due; infinite if it is not in the heap. */
  at(key: K): number {
    const place = this.#places.get(key)
    return place === undefined ? Number.POSITIVE_INFINITY : this.#times[place]!
  }

  /** Sets the key's due time, which replaces its previous one. An infinite time removes the key. */
  set(key: K, at: number): void {
    if (at === Number.POSITIVE_INFINITY) {
      this.delete(key)
      return
    }
    const known = this.#places.get(key)
    if (known === undefined) this.#rise(this.#keys.length, key, at)
    else this.#move(known, key, at)
  }

  delete(key: K): boolean {
    const place = this.#places.get(key)
    if (place === undefined) return false
    this.#places.delete(key)
    const last = this.#keys.pop()!
    const at = this.#times.pop()!
    if (place < this.#keys.length) this.#move(place, last, at)
    return true
  }

  /** Removes the key that is due first, if it is due by now. */
  takeDue(now: number): K | undefined {
    if (this.first > now) return undefined
    const key = this.#keys[0]!
    this.delete(key)
    return key
  }

  #move(place: number, key: K, at: number): void {
    if (place > 0 && this.#times[(place - 1) >> 1]! > at) this.#rise(place, key, at)
    else this.#sink(place, key, at)
  }

  #put(place: number, key: K, at: number): void {
    this.#keys[place] = key
    this.#times[place] = at
    this.#places.set(key, place)
  }

  #rise(from: number, key: K, at: number): void {
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      if (this.#times[above]! <= at) break
      this.#put(place, this.#keys[above]!, this.#times[above]!)
      place = above
    }
    this.#put(place, key, at)
  }

  #sink(from: number, key: K, at: number): void {
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= this.#keys.length) break
      if (below + 1 < this.#keys.length && this.#times[below + 1]! < this.#times[below]!) below++
      if (this.#times[below]! >= at) break
      this.#put(place, this.#keys[below]!, this.#times[below]!)
      place = below
    }
    this.#put(place, key, at)
  }
}
