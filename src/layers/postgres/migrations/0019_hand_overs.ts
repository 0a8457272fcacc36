/**
 * The claim that a device was handed over to: the previous node has received until the holder of that claim was online
 * (`actors/fleet/HandOvers.ts`). Older programs neither read nor write it.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `alter table devices add column handed_over_to integer`,
  // Appends change rows of devices too, under the same lock, so there is no deadlock in whichever order.
  `create function columba_confirm_hand_overs(p_devices text[], p_epochs integer[])
  returns void language plpgsql volatile as $$
  begin
    perform pg_advisory_xact_lock(4341001, 1);
    update devices d set handed_over_to = greatest(d.handed_over_to, h.epoch)
    from unnest(p_devices, p_epochs) h(id, epoch) where d.id = h.id;
  end
  $$`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
