/**
 * A full disk for the newest part of the log: its table moves to a small separate file system, which is then filled. Needs
 * root and a Postgres of this machine.
 */
import { execFileSync } from "node:child_process"
import { chownSync, mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { query } from "../../test/support/Ledger.ts"
import { unprivilegedOwner } from "../../test/support/servers/ServerSource.ts"

/** Large enough for the writes of a row, so that only the filling fills it. */
const sizeMegabytes = 128

export const withFullDisk = Effect.fnUntraced(function*(databaseUrl: string, during: Effect.Effect<void>) {
  const owner = yield* unprivilegedOwner(["postgres"])
  const administer = (text: string) => Effect.asVoid(query(databaseUrl, text))
  const move = (tablespace: string) => administer(`alter table events_1 set tablespace ${tablespace}`)
  yield* Effect.acquireUseRelease(
    Effect.sync(() => {
      const directory = mkdtempSync("/var/tmp/columba-faults-disk-")
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeMegabytes}m`, "tmpfs", directory])
      if (owner !== undefined) chownSync(directory, owner.uid, owner.gid)
      return directory
    }),
    (directory) =>
      Effect.gen(function*() {
        const rest = join(directory, "rest")
        yield* administer(`create tablespace columba_faults location '${directory}'`)
        yield* move("columba_faults")
        yield* Effect.sync(() => {
          try {
            execFileSync("dd", ["if=/dev/zero", `of=${rest}`, "bs=64k"], { stdio: "ignore" })
          } catch {
            // It ends when the disk is full.
          }
        })
        yield* during
        yield* Effect.sync(() => rmSync(rest))
        yield* move("pg_default")
        yield* administer("drop tablespace columba_faults")
      }),
    (directory) =>
      Effect.sync(() => {
        execFileSync("umount", ["-l", directory])
        rmSync(directory, { recursive: true, force: true })
      })
  )
})
