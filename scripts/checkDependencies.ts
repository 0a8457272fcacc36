/**
 * Checks the project's dependencies: the lockfiles get packages only from the registry, with their hashes; packages run scripts at
 * installation only where package.json allows it; licences allow shipping the program; and no known vulnerability of
 * severity high or critical is in the shipped part. All but the last works offline. Without an answer of the registry the last is
 * skipped with a message, and fails nothing: with `--audit` it is a failure too.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { buildProgram } from "./build.ts"
import { nameOf, readLock, sbomFile } from "./sbom.ts"
import type { LockEntry } from "./sbom.ts"
import { isProgramCurrent, root } from "./stamp.ts"

interface Manifest {
  readonly allowScripts?: Readonly<Record<string, boolean>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

const registry = "https://registry.npmjs.org/"

/** These may be bundled, at most with a notice. */
const permissive = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BlueOak-1.0.0",
  "CC0-1.0",
  "ISC",
  "MIT",
  "Unlicense"
])

/** Also allowed for tools that are not shipped: changes of their files would have to be published. */
const forTools = new Set([...permissive, "MPL-2.0"])

/** `(MIT OR Apache-2.0)`: one of them is enough. */
const isAllowed = (license: string | undefined, allowed: ReadonlySet<string>): boolean =>
  license !== undefined && license.replace(/^\(|\)$/g, "").split(" OR ").some((one) => allowed.has(one))

/** For a platform without hashes in the lockfile (scripts/lock.ts): it was never downloaded here. */
const isForeign = ({ optional, os }: LockEntry): boolean => optional === true && os !== undefined

const problemsOf = (entry: LockEntry): ReadonlyArray<string> => {
  const { integrity, license, link, resolved } = entry
  return [
    ...(link === true ? ["is a link"] : []),
    ...(resolved !== undefined && !resolved.startsWith(registry) ? [`comes from ${resolved}`] : []),
    ...(integrity === undefined && !isForeign(entry) ? ["has no hash"] : []),
    ...(integrity !== undefined && !integrity.startsWith("sha512-") ? [`has the weak hash ${integrity}`] : []),
    ...(isAllowed(license, forTools) || (license === undefined && isForeign(entry))
      ? []
      : [`has the licence ${license ?? "unknown"}`])
  ]
}

const checkLock = (folder: string): ReadonlyArray<string> => {
  const lock = readLock(path.join(folder, "package-lock.json"))
  const manifest = JSON.parse(fs.readFileSync(path.join(root, folder, "package.json"), "utf8")) as Manifest
  const direct = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
  const installed = Object.entries(lock).filter(([key]) => key !== "")
  return [
    ...installed.flatMap(([key, entry]) => problemsOf(entry).map((problem) => `${key} ${problem}`)),
    ...direct.flatMap(([name, wanted]) =>
      /^\d+\.\d+\.\d+(-[\w.]+)?$/.test(wanted) && lock[`node_modules/${name}`]?.version === wanted
        ? []
        : [`${name} is not pinned: package.json says ${wanted}, the lockfile ${lock[`node_modules/${name}`]?.version}`]
    ),
    ...installed.flatMap(([key, { hasInstallScript }]) =>
      hasInstallScript !== true || manifest.allowScripts?.[nameOf(key)] !== undefined
        ? []
        : [`${key} runs a script at installation, and allowScripts of package.json does not speak of it`]
    )
  ].map((problem) => `${path.join(folder, "package-lock.json")}: ${problem}`)
}

interface Component {
  readonly name: string
  readonly version: string
  readonly licenses?: ReadonlyArray<{ readonly expression: string }>
}

const readShipped = async (): Promise<ReadonlyArray<Component>> => {
  if (!isProgramCurrent() || !fs.existsSync(sbomFile)) await buildProgram()
  return (JSON.parse(fs.readFileSync(sbomFile, "utf8")) as { components: ReadonlyArray<Component> }).components
}

interface Advisory {
  readonly severity: string
  readonly title: string
  readonly url: string
}

interface Audit {
  readonly vulnerabilities?: Readonly<
    Record<string, { readonly severity: string; readonly via: ReadonlyArray<string | Advisory> }>
  >
  readonly error?: { readonly summary?: string }
  readonly message?: string
}

/** Why there is no answer, or the findings that concern the program, and the number that concerns tools. */
const audit = (shipped: ReadonlyArray<Component>) => {
  const { error, stdout } = spawnSync("npm", ["audit", "--json"], { cwd: root, encoding: "utf8", timeout: 60_000 })
  if (error !== undefined) return { skipped: error.message }
  const answer = ((): Audit => {
    try {
      return JSON.parse(stdout) as Audit
    } catch {
      return { message: "npm's answer cannot be read" }
    }
  })()
  if (answer.vulnerabilities === undefined) return { skipped: answer.error?.summary || answer.message || "no answer" }
  const names = new Set(shipped.map(({ name }) => name))
  const severe = Object.entries(answer.vulnerabilities).filter(([, { severity }]) => /^(high|critical)$/.test(severity))
  const describe = ([name, { severity, via }]: (typeof severe)[number]) =>
    `${name} (${severity}): ${
      via.map((one) => typeof one === "string" ? `by ${one}` : `${one.title} ${one.url}`).join("; ")
    }`
  return {
    skipped: null,
    holes: severe.filter(([name]) => names.has(name)).map(describe),
    ofTools: severe.filter(([name]) => !names.has(name)).map(describe)
  }
}

const shipped = await readShipped()
const problems = [
  ...checkLock("."),
  ...checkLock("tools"),
  ...shipped.flatMap(({ licenses, name, version }) =>
    isAllowed(licenses?.[0]?.expression, permissive)
      ? []
      : [`${name}@${version} is shipped under ${licenses?.[0]?.expression ?? "an unknown licence"}`]
  )
]
console.log(`lockfiles and licences: ${problems.length} problems; ${shipped.length} packages are shipped`)
const audited = audit(shipped)
if (audited.skipped === null) {
  problems.push(...audited.holes)
  console.log(
    `npm audit: ${audited.holes.length} holes in what is shipped, ${audited.ofTools.length} in tools (high, critical)`
  )
  for (const one of audited.ofTools) console.log(`  tool: ${one}`)
} else {
  console.log(`npm audit: SKIPPED, the registry gave no answer (${audited.skipped})`)
  if (process.argv.includes("--audit")) problems.push("npm audit was skipped, and --audit wants it")
}
for (const problem of problems) console.error(`  ${problem}`)
process.exitCode = problems.length === 0 ? 0 : 1
