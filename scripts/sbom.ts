/**
 * The bill of materials of the program: the packages whose code is in `dist/main.js` and `dist/web/`, as the bundlers report it,
 * as CycloneDX 1.6. Every package is a development dependency here, because it is bundled, so npm's own list would include
 * compilers and test tools, and not show what ships. The image's additions, Node and Alpine's packages, are in neither list.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { dist, root } from "./stamp.ts"

export const sbomFile = path.join(dist, "sbom.cdx.json")

export interface LockEntry {
  readonly version?: string
  readonly resolved?: string
  readonly integrity?: string
  readonly license?: string
  readonly link?: boolean
  readonly optional?: boolean
  readonly os?: ReadonlyArray<string>
  readonly hasInstallScript?: boolean
}

export const readLock = (file: string): Readonly<Record<string, LockEntry>> =>
  (JSON.parse(fs.readFileSync(path.join(root, file), "utf8")) as { packages: Record<string, LockEntry> }).packages

/** The folder of the package that a file belongs to, as the lockfile names it; null for our own files. */
const packageOf = (file: string): string | null =>
  /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path.relative(root, path.resolve(root, file)))?.[0] ?? null

/** `node_modules/a/node_modules/@b/c` is the package `@b/c`. */
export const nameOf = (folder: string): string =>
  folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length)

/** Folders in the lockfile of the packages that these files belong to. */
export const shippedFolders = (files: Iterable<string>): ReadonlyArray<string> =>
  [...new Set(Array.from(files, packageOf).filter((folder) => folder !== null))].toSorted()

const component = (folder: string, { integrity, license, version }: LockEntry) => {
  const name = nameOf(folder)
  const [algorithm, digest] = integrity?.split("-", 2) ?? []
  return {
    type: "library",
    "bom-ref": `pkg:npm/${name.replace("@", "%40")}@${version}`,
    name,
    version,
    purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
    ...(digest === undefined || algorithm !== "sha512"
      ? {}
      : { hashes: [{ alg: "SHA-512", content: Buffer.from(digest, "base64").toString("hex") }] }),
    ...(license === undefined ? {} : { licenses: [{ expression: license }] })
  }
}

/** Writes it for a program that was made of these files. */
export const writeSbom = (files: Iterable<string>, version: string): void => {
  const lock = readLock("package-lock.json")
  const components = shippedFolders(files).map((folder) => {
    const entry = lock[folder]
    if (entry === undefined) throw new Error(`${folder} is in the program and not in package-lock.json`)
    return component(folder, entry)
  })
  const bom = {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: { component: { type: "application", "bom-ref": `columba@${version}`, name: "columba", version } },
    components
  }
  fs.writeFileSync(sbomFile, `${JSON.stringify(bom, null, 1)}\n`)
}
