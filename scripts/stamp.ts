/**
 * Whether `dist/main.js` was built from the current sources. By their contents, not their times: a checkout or a
 * copied folder must not look changed.
 */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"

export const root = path.resolve(import.meta.dirname, "..")
export const dist = path.join(root, "dist")

const stampFile = path.join(dist, ".stamp")

const sourceFiles = (): ReadonlyArray<string> => [
  ...fs.readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
    .map((file) => path.join("src", file))
    .filter((file) => fs.statSync(path.join(root, file)).isFile()),
  "scripts/build.ts",
  "scripts/buildWeb.ts",
  "scripts/sbom.ts",
  "package.json",
  "package-lock.json"
]

const sourceHash = (): string => {
  const hash = createHash("sha256")
  for (const file of sourceFiles().toSorted()) hash.update(file).update(fs.readFileSync(path.join(root, file)))
  return hash.digest("hex")
}

export const writeStamp = (): void => fs.writeFileSync(stampFile, sourceHash())

export const isProgramCurrent = (): boolean =>
  ["main.js", "web/manifest.json"].every((file) => fs.existsSync(path.join(dist, file))) && fs.existsSync(stampFile) &&
  fs.readFileSync(stampFile, "utf8") === sourceHash()
