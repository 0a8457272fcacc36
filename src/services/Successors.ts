/** Whether another process takes over the devices that this one releases. Read when the process stops. */
import { Context, Effect } from "effect"

export const Successors = Context.Reference<Effect.Effect<boolean>>("columba/services/Successors", {
  defaultValue: () => Effect.succeed(false)
})
