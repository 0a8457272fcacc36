/** The devices whose rows have changed since the fleet's last round: collected while the fleet is busy, taken all at once. */
import { Effect, Latch } from "effect"
import type { DeviceId } from "../../domain/Ids.ts"

/** More changed devices than this cost as much as comparing the whole table. */
const changedMax = 1000

export class ChangedDevices {
  /** Undefined: any device may have changed. */
  #ids: Set<DeviceId> | undefined = new Set()
  readonly #some = Latch.makeUnsafe()

  add(id: DeviceId | null): void {
    if (id === null || (this.#ids?.size ?? 0) >= changedMax) this.#ids = undefined
    else this.#ids?.add(id)
    this.#some.openUnsafe()
  }

  /** Waits for a change, and takes all changes. */
  readonly take: Effect.Effect<ReadonlyArray<DeviceId> | undefined> = Effect.suspend(() =>
    Effect.map(this.#some.await, () => {
      const ids = this.#ids
      this.#ids = new Set()
      this.#some.closeUnsafe()
      return ids === undefined ? undefined : [...ids]
    })
  )
}
