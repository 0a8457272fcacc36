/**
 * A temporary directory for one server of the tests, and the guarantee that nothing of the server outlives the run.
 *
 * A watchdog guarantees it: a detached shell that only reads a pipe from the test process. However that process ends,
 * SIGKILL included, the pipe closes. The watchdog then kills the listed processes and removes the directory.
 */
import { spawn } from "node:child_process"
import { chownSync, mkdtempSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"

export interface ServerHome {
  readonly directory: string
  /** Sets the processes of this server that must not survive the run. */
  readonly remember: (pids: ReadonlyArray<number>) => Effect.Effect<void>
  /** Adds a container that must not survive the run. */
  readonly rememberContainer: (name: string) => Effect.Effect<void>
}

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** The server may still be writing when it is killed, so the removal is tried again. */
const watchdog = `
cat > /dev/null
for pid in $(cat "$1/pids"); do kill -9 "-$pid"; kill -9 "$pid"; done 2> /dev/null
for name in $(cat "$1/containers"); do docker rm --force --volumes "$name" > /dev/null 2>&1; done
for attempt in 1 2 3 4 5; do rm -rf "$1" 2> /dev/null && exit 0; sleep 0.2; done`

export const serverHome = (name: string, owner: Owner | undefined): Effect.Effect<ServerHome, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const directory = mkdtempSync(join(tmpdir(), `columba-test-${name}-`))
        writeFileSync(join(directory, "pids"), "")
        writeFileSync(join(directory, "containers"), "")
        if (owner !== undefined) chownSync(directory, owner.uid, owner.gid)
        const guard = spawn("/bin/sh", ["-c", watchdog, "watchdog", directory], {
          detached: true,
          stdio: ["pipe", "ignore", "ignore"]
        })
        guard.unref()
        return { directory, guard }
      }),
      ({ guard }) =>
        Effect.callback<void>((resume) => {
          // The watchdog alone does not keep the test process running, but waiting for it must.
          guard.ref()
          guard.once("exit", () => resume(Effect.void))
          guard.stdin?.end()
        })
    ),
    ({ directory }) => ({
      directory,
      remember: (pids) => Effect.sync(() => writeFileSync(join(directory, "pids"), pids.join("\n"))),
      rememberContainer: (container) => Effect.sync(() => writeFileSync(join(directory, "containers"), container))
    })
  )

/**
 * A port that is free now and stays free while its server restarts. It is below the range of ephemeral ports: otherwise
 * a client that tries to reconnect could get this port as its own and connect to itself.
 */
export const freePort: Effect.Effect<number> = Effect.suspend(() => {
  const port = 12_000 + Math.floor(Math.random() * 20_000)
  return Effect.callback<boolean>((resume) => {
    const server = createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(true))))
  }).pipe(Effect.flatMap((free) => free ? Effect.succeed(port) : freePort))
})
