/**
 * Each claim of a device has an id of its own, since an older database gives the same epochs out again. By it a hand-over is
 * confirmed. Older programs claim with the same function and confirm with the one of before.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { claimFunction } from "./claimFunction.ts"

const statements = [
  `alter table devices add column claim uuid not null default gen_random_uuid()`,
  claimFunction,
  // Under the lock of appends and claims: in whichever order, none waits for the other in a circle.
  `create function columba_confirm_hand_overs_v2(p_devices text[], p_claims uuid[])
  returns void language plpgsql volatile as $$
  begin
    perform pg_advisory_xact_lock(4341001, 1);
    update devices d set handed_over_to = d.epoch
    from unnest(p_devices, p_claims) h(id, claim) where d.id = h.id and d.claim = h.claim;
  end
  $$`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
