/**
 * The rate of an account, kept together with installations that have another database and are linked to the same WhatsApp
 * account. It comes on top of what each of them keeps for itself.
 */
import { Context } from "effect"
import type { Effect } from "effect"
import { canonical } from "../domain/Jid.ts"
import type { DeviceId } from "../domain/Ids.ts"
import type { Pacing } from "../domain/Pacing.ts"

export class SharedPacing extends Context.Service<SharedPacing, {
  /**
   * 0: the account may send now, and its turn is taken. Else after how many milliseconds to ask again. 0 as well where the
   * others cannot be asked: then this installation keeps to its own pacing alone.
   */
  readonly take: (account: string, pacing: Pacing) => Effect.Effect<number>
  /** What `take` would answer, without taking the turn. */
  readonly wait: (account: string, pacing: Pacing) => Effect.Effect<number>
  /** A turn that was taken was not used. */
  readonly giveBack: (account: string, pacing: Pacing) => Effect.Effect<void>
}>()("columba/services/SharedPacing") {}

/** What the installations that are linked to one WhatsApp account have in common. */
export const accountOf = ({ id, jid }: { readonly id: DeviceId; readonly jid: string | null }): string =>
  jid === null ? id : canonical(jid)
