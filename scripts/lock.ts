/**
 * Completes package-lock.json after `npm install`. A registry mirror that holds only one platform's binaries makes npm
 * leave the other platforms' optional packages out of the lockfile, and `npm ci` then refuses it everywhere. This
 * writes the missing entries from what their parents declare: exact version, platform by name, optional. They carry
 * no integrity, as nobody here has seen them; a platform that needs one gets it from the registry.
 */
import * as fs from "node:fs"

interface LockEntry {
  version?: string
  os?: Array<string>
  cpu?: Array<string>
  libc?: Array<string>
  optional?: boolean
  dev?: boolean
  optionalDependencies?: Record<string, string>
}

const path = new URL("../package-lock.json", import.meta.url)
const lock = JSON.parse(fs.readFileSync(path, "utf8")) as { packages: Record<string, LockEntry> }

const systems = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"]
const processors = ["arm64", "arm", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"]

/** `@scope/name-linux-arm64-musl` and its like say in their names where they run. */
const readPlatform = (name: string): Pick<LockEntry, "os" | "cpu" | "libc"> => {
  const words = name.replace(/^@/, "").split(/[-/]/)
  const system = systems.find((known) => words.includes(known))
  const processor = processors.find((known) => words.includes(known))
  const libc = words.includes("musl") || words.includes("musleabihf")
    ? "musl"
    : words.some((word) => word === "gnu" || word === "glibc" || word === "gnueabihf")
    ? "glibc"
    : undefined
  return {
    ...(processor === undefined ? {} : { cpu: [processor] }),
    ...(libc === undefined || system !== "linux" ? {} : { libc: [libc] }),
    ...(system === undefined ? {} : { os: [system] })
  }
}

let added = 0
for (const entry of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    if (lock.packages[key] !== undefined || !/^\d+\.\d+\.\d+/.test(version)) continue
    const platform = readPlatform(name)
    if (platform.os === undefined) {
      console.error(`${name} is missing from the lockfile and its name does not say where it runs; left out`)
      continue
    }
    lock.packages[key] = { version, ...platform, dev: true, optional: true }
    added += 1
  }
}
const sorted = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
fs.writeFileSync(path, `${JSON.stringify({ ...lock, packages: sorted }, null, 2)}\n`)
console.log(added === 0 ? "package-lock.json is complete" : `package-lock.json: ${added} platform packages added`)
