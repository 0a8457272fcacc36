/**
 * The rate of an account, kept together with processes that do not share a database, such as two installations that are
 * linked to the same WhatsApp account. It comes on top of what each of them keeps for itself.
 */
import { Context } from "effect"
import type { Effect } from "effect"
import type { Pacing } from "../domain/Pacing.ts"

export class SharedPacing extends Context.Service<SharedPacing, {
  /**
   * 0: the account may send now, and its turn is taken. Else after how many milliseconds to ask again. 0 as well where the
   * others cannot be asked: then this process keeps to its own pacing alone.
   */
  readonly take: (account: string, pacing: Pacing) => Effect.Effect<number>
}>()("columba/services/SharedPacing") {}
