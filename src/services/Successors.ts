/** Whether another process is there that takes over the devices which this one lets go. Asked when it stops. */
import { Context, Effect } from "effect"

export const Successors = Context.Reference<Effect.Effect<boolean>>("columba/services/Successors", {
  defaultValue: () => Effect.succeed(false)
})
