/**
 * Checks every regular expression of the program with `recheck`: the time of each is linear in the length of its text, except
 * for those listed here with their bound. The tool is heavy and not a dependency: it is installed, at a fixed
 * version, in a folder that is removed afterwards.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseAst } from "vite"
import { root } from "./stamp.ts"

const tool = "recheck@4.5.0"

/** Time limit for one expression, in milliseconds. Undecided ones must be listed as well. */
const timeout = 5_000

/** Keyed by the text of the expression: why it may be slow, or why it is not although the tool cannot decide. */
const accepted: Readonly<Record<string, string>> = {
  "/\\/+$/": "of addresses that the operator or the program itself sets",
  "/[?#].*$/": "of a gateway's address, which has no line breaks: parsed as a URL before",
  "/\\s*\\n\\s*/g": "of the help texts of this program",
  "/[^\\s'\"<>()[\\]{},;]*@[^\\s'\"<>()[\\]{},;]+|\\+?\\d{9,}/g": "its text is cut to a few hundred characters first",
  "/\\(server timestamp: (\\d{4}-\\d\\d-\\d\\d) (\\d\\d:\\d\\d:\\d\\d)(?:\\.\\d+)? ([+-]\\d\\d)(\\d\\d) [^)]*\\)$/":
    "begins at a text of 50 characters each time, in an answer of a bounded length",
  "/^(webhook-.*|content-(length|type|encoding)|user-agent|host|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|proxy-.*)$/":
    "begins at one place alone, and its parts begin with different words",
  "/^(?:image\\/(?:jpeg|png|webp|gif|heic|heif|bmp|tiff)|audio\\/[\\w.+-]+|video\\/[\\w.+-]+|application\\/(?:pdf|zip|msword|vnd\\.[\\w.+-]+)|text\\/(?:plain|csv|vcard|x-vcard|calendar))$/":
    "begins at one place alone, and its parts begin with different words",
  "/[:[,]\\s*-?(?:\\d{16}|\\d[\\d.]*[eE][+-]?\\d{3})/":
    "each part ends at the first character of another kind, and begins at : [ or ,"
}

interface Found {
  readonly pattern: string
  readonly flags: string
  readonly files: Set<string>
}

interface Diagnostics {
  readonly status: "safe" | "vulnerable" | "unknown"
  readonly complexity?: { readonly summary: string }
  readonly error?: { readonly kind: string }
}

type Check = (pattern: string, flags: string, options: { readonly timeout: number }) => Promise<Diagnostics>

const find = (): ReadonlyMap<string, Found> => {
  const found = new Map<string, Found>()
  const look = (node: unknown, file: string): void => {
    if (typeof node !== "object" || node === null) return
    const { regex } = node as { readonly regex?: { readonly pattern: string; readonly flags: string } }
    if (regex !== undefined) {
      const text = `/${regex.pattern}/${regex.flags}`
      const one = found.get(text) ?? { ...regex, files: new Set() }
      one.files.add(file)
      found.set(text, one)
    }
    for (const child of Object.values(node)) look(child, file)
  }
  const folder = join(root, "src")
  for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!/\.tsx?$/.test(file)) continue
    look(parseAst(readFileSync(join(folder, file), "utf8"), { lang: file.endsWith("x") ? "tsx" : "ts" }), file)
  }
  return found
}

const folder = mkdtempSync(join(tmpdir(), "columba-regex-"))
try {
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "check", private: true }))
  execFileSync("npm", ["install", tool, "--prefer-offline", "--no-audit", "--no-fund"], {
    cwd: folder,
    stdio: "ignore"
  })
  const { check } = createRequire(join(folder, "package.json"))("recheck") as { readonly check: Check }
  const found = find()
  const problems: Array<string> = []
  for (const [text, { files, flags, pattern }] of found) {
    const { complexity, error, status } = await check(pattern, flags, { timeout })
    if (status === "safe" || accepted[text] !== undefined) continue
    problems.push(`${[...files].join(", ")}: ${text} ${status}: ${complexity?.summary ?? error?.kind ?? ""}`)
  }
  for (const text of Object.keys(accepted)) {
    if (!found.has(text)) problems.push(`${text} is accepted here and not used any more`)
  }
  for (const problem of problems) console.error(problem)
  console.log(`${found.size} regular expressions, ${problems.length} with a problem`)
  process.exitCode = problems.length === 0 ? 0 : 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
