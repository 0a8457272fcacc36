/**
 * Releases shards together. The sharding releases each by its own statement, one after the other on the connection that
 * also renews the leases. Where a node joined and got a hundred shards, that took longer on a busy machine than a renewal may,
 * and the node closed all its sockets. Releases within a moment are combined into one statement, on another connection.
 */
import { Duration, Effect, Request, RequestResolver } from "effect"
import type { RunnerStorage } from "effect/cluster"
import { ClusterError } from "effect/cluster"
import { SqlClient } from "effect/sql"

/** The delay of a release. The shard's devices have closed their sockets by then. */
const gatherTime = Duration.millis(20)

/** The sharding retries failed releases. */
const releaseMax = Duration.seconds(2)

class ReleaseShard extends Request.TaggedClass("ReleaseShard")<
  { readonly address: string; readonly shard: string },
  void,
  ClusterError.PersistenceError
> {}

type Release = RunnerStorage.RunnerStorage["Service"]["release"]

/** `table`: the sharding's table of locks. */
export const make = Effect.fnUntraced(function*(table: string): Effect.fn.Return<Release, never, SqlClient.SqlClient> {
  const sql = yield* SqlClient.SqlClient
  const releaseAll = (address: string, shards: ReadonlyArray<string>) =>
    // In the order in which the sharding locks them.
    sql.unsafe(
      `with locked as (
        select shard_id from ${table} where address = $1 and shard_id = any ($2::text[]) order by shard_id collate "C" for update
      )
      delete from ${table} where address = $1 and shard_id in (select shard_id from locked)`,
      [address, shards]
    ).pipe(Effect.timeout(releaseMax), ClusterError.PersistenceError.refail)
  const resolver = RequestResolver.make<ReleaseShard>((entries) =>
    Effect.gen(function*() {
      for (const [address, some] of Map.groupBy(entries, ({ request }) => request.address)) {
        const exit = yield* Effect.exit(Effect.asVoid(releaseAll(address, some.map(({ request }) => request.shard))))
        for (const entry of some) entry.completeUnsafe(exit)
      }
    })
  ).pipe(RequestResolver.setDelay(gatherTime))
  return (address, shard) =>
    Effect.request(new ReleaseShard({ address: `${address.host}:${address.port}`, shard: String(shard) }), resolver)
})
