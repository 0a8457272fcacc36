/**
 * The rate of an account, shared with installations that have another database and are linked to the same WhatsApp
 * account. It applies in addition to the pacing of each installation.
 */
import { Context } from "effect"
import type { Effect } from "effect"
import { canonical } from "../domain/Jid.ts"
import type { DeviceId } from "../domain/Ids.ts"
import type { Pacing } from "../domain/Pacing.ts"

export class SharedPacing extends Context.Service<SharedPacing, {
  /**
   * 0: the account may send now, and its turn is taken. Otherwise the milliseconds after which to ask again. 0 as well
   * if the shared state cannot be reached: then this installation uses its own pacing alone.
   */
  readonly take: (account: string, pacing: Pacing) => Effect.Effect<number>
  /** The answer of `take`, without taking the turn. */
  readonly wait: (account: string, pacing: Pacing) => Effect.Effect<number>
  /** Returns a turn that was taken and not used. */
  readonly giveBack: (account: string, pacing: Pacing) => Effect.Effect<void>
}>()("columba/services/SharedPacing") {}

/** Identifies the account that several installations are linked to. */
export const accountOf = ({ id, jid }: { readonly id: DeviceId; readonly jid: string | null }): string =>
  jid === null ? id : canonical(jid)
