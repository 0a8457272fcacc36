/**
 * Runs before anything else of the bundle, on any Node. A Node too old for Columba starts the runtime that the project
 * includes, with the same arguments, streams, signals and exit code; if none is installed, one line reports what is
 * needed. The two processes share a channel, so that the child also notices a launcher that was killed without a
 * chance to pass a signal on. Everything here must work on old Nodes: plain syntax, no static imports (they would run
 * before the check).
 */

/** The version that Effect and the bundle need. Kept equal to `engines.node` by a test. */
const needed: readonly [major: number, minor: number] = [22, 19]

const isOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major < needed[0] || (major === needed[0] && minor < needed[1])
}

/** `node_modules/node/bin/node` beside or above the bundle (a checkout, or an installed package), or above the cwd. */
const ownRuntime = async (): Promise<string | null> => {
  const fs = await import("node:fs")
  const path = await import("node:path")
  const url = await import("node:url")
  for (const start of [path.dirname(url.fileURLToPath(import.meta.url)), process.cwd()]) {
    let directory = start
    for (;;) {
      for (const place of ["node/bin/node", "node/bin/node.exe"]) {
        const candidate = path.join(directory, "node_modules", place)
        if (fs.existsSync(candidate)) return candidate
      }
      const parent = path.dirname(directory)
      if (parent === directory) break
      directory = parent
    }
  }
  return null
}

const handOver = async (runtime: string): Promise<never> => {
  const { spawn } = await import("node:child_process")
  const child = spawn(runtime, process.execArgv.concat(process.argv.slice(1)), {
    // The channel carries no data. It closes with the launcher, however that ends.
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, COLUMBA_HANDED_OVER: "1" }
  })
  const forwarded: ReadonlyArray<NodeJS.Signals> = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2"]
  for (const signal of forwarded) {
    process.on(signal, () => {
      // A terminal's Ctrl-C reaches the child by itself; forwarding it would count as the second, forcing signal.
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal)
    })
  }
  return new Promise<never>(() => {
    child.on("error", (error) => {
      console.error(`columba: could not start ${runtime}: ${error.message}`)
      process.exit(1)
    })
    child.on("exit", (code, signal) => {
      if (signal === null) process.exit(code ?? 1)
      for (const forwardedSignal of forwarded) process.removeAllListeners(forwardedSignal)
      process.kill(process.pid, signal)
    })
  })
}

/** In the child: a launcher that is gone counts as SIGTERM, so that no server stays behind without its parent. */
const endWithLauncher = (): void => {
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"))
  // The channel must not keep a finished command alive.
  process.channel?.unref()
}

if (isOld(process.versions.node)) {
  const runtime = process.env["COLUMBA_HANDED_OVER"] === "1" ? null : await ownRuntime()
  if (runtime === null) {
    console.error(
      `columba needs Node ${needed.join(".")} or newer and this is ${process.versions.node}: ` +
        "install a newer Node, or run 'npm ci' in the project, which brings one along"
    )
    process.exit(1)
  }
  await handOver(runtime)
} else if (process.env["COLUMBA_HANDED_OVER"] === "1" && process.connected) {
  endWithLauncher()
}

export {}
