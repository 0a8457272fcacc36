/**
 * Completes the lockfiles, of the project and of `tools/`, after `npm install`. A registry mirror that holds only one platform's binaries makes npm
 * omit the other platforms' optional packages from the lockfile, and `npm ci` then refuses it everywhere. This
 * writes the missing entries from their parents' declarations: exact version, platform by name, optional. They have
 * no integrity, since they were never downloaded here; a platform that needs one gets it from the registry.
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

const systems = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"]
const processors = ["arm64", "arm", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"]

/** `@scope/name-linux-arm64-musl` and the like contain their platform. */
const readPlatform = (name: string): Pick<LockEntry, "os" | "cpu" | "libc"> => {
  const parts = name.replace(/^@/, "").split(/[-/]/)
  const system = systems.find((known) => parts.includes(known))
  const processor = processors.find((known) => parts.includes(known))
  const libc = parts.includes("musl") || parts.includes("musleabihf")
    ? "musl"
    : parts.some((part) => part === "gnu" || part === "glibc" || part === "gnueabihf")
    ? "glibc"
    : undefined
  return {
    ...(processor === undefined ? {} : { cpu: [processor] }),
    ...(libc === undefined || system !== "linux" ? {} : { libc: [libc] }),
    ...(system === undefined ? {} : { os: [system] })
  }
}

const complete = (name: string): void => {
  const path = new URL(`../${name}`, import.meta.url)
  const lock = JSON.parse(fs.readFileSync(path, "utf8")) as { packages: Record<string, LockEntry> }
  let added = 0
  for (const entry of Object.values(lock.packages)) {
    for (const [dependency, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const key = `node_modules/${dependency}`
      if (lock.packages[key] !== undefined || !/^\d+\.\d+\.\d+/.test(version)) continue
      const platform = readPlatform(dependency)
      if (platform.os === undefined) {
        console.error(`${dependency} is missing from ${name} and its name does not contain its platform; left out`)
        continue
      }
      lock.packages[key] = { version, ...platform, dev: true, optional: true }
      added += 1
    }
  }
  const sorted = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
  fs.writeFileSync(path, `${JSON.stringify({ ...lock, packages: sorted }, null, 2)}\n`)
  console.log(added === 0 ? `${name} is complete` : `${name}: ${added} platform packages added`)
}

for (const name of ["package-lock.json", "tools/package-lock.json"]) complete(name)
