/**
 * Each claim of a device has its own id, since an older database assigns the same epochs again. A hand-over is confirmed for
 * this id. Older programs claim with the same function and confirm with the previous one.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { claimFunction } from "./claimFunction.ts"

const statements = [
  `alter table devices add column claim uuid not null default gen_random_uuid()`,
  // Its result may have other columns than that of an older one.
  `drop function if exists columba_claim(text, text[])`,
  claimFunction,
  // Takes the lock of appends and claims first, so that these cannot deadlock with it.
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
