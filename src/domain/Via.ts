/** How an event arrived. */
import { Schema } from "effect"

export const Via = Schema.Literals(["live", "webhook", "backfill", "columba"])
export type Via = typeof Via.Type
