/**
 * Readers that wait for commits. Most want one device, and most commits concern only one of a thousand of them, so these are found
 * by the devices of a commit. All others look at each commit.
 */
import type { DeviceId } from "../domain/Ids.ts"

export interface TailWaiter {
  /** The only device it wants; undefined for any. */
  readonly device: DeviceId | undefined
  /**
   * No event up to `passed` matches it, apart from those that it has looked at. `inTime`: only commits have changed, no deadline
   * may have passed. Returns whether it has ended its wait.
   */
  readonly look: (passed: number, inTime: boolean) => boolean
}

export class TailWaiters {
  readonly #ofAny = new Set<TailWaiter>()
  readonly #ofDevice = new Map<DeviceId, Set<TailWaiter>>()
  #count = 0

  get count(): number {
    return this.#count
  }

  add(waiter: TailWaiter): void {
    const { device } = waiter
    const set = this.#find(device) ?? new Set()
    if (device !== undefined) this.#ofDevice.set(device, set)
    set.add(waiter)
    this.#count++
  }

  /** Does nothing for one that does not wait. */
  remove(waiter: TailWaiter): void {
    const { device } = waiter
    const set = this.#find(device)
    if (set === undefined || !set.delete(waiter)) return
    this.#count--
    if (device !== undefined && set.size === 0) this.#ofDevice.delete(device)
  }

  #find(device: DeviceId | undefined): Set<TailWaiter> | undefined {
    return device === undefined ? this.#ofAny : this.#ofDevice.get(device)
  }

  /** Commits after `passed` concern these devices. Returns the number of waits that ended. */
  commit(passed: number, devices: ReadonlySet<DeviceId>): number {
    let ended = lookAll(this.#ofAny, passed, true)
    for (const device of devices) {
      const set = this.#ofDevice.get(device)
      if (set !== undefined) ended += lookAll(set, passed, true)
    }
    return ended
  }

  /** Anything may have changed. */
  all(passed: number): number {
    let ended = lookAll(this.#ofAny, passed, false)
    for (const set of this.#ofDevice.values()) ended += lookAll(set, passed, false)
    return ended
  }
}

const lookAll = (waiters: ReadonlySet<TailWaiter>, passed: number, inTime: boolean): number => {
  let ended = 0
  for (const waiter of waiters) if (waiter.look(passed, inTime)) ended++
  return ended
}
