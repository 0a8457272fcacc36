/**
 * The rules of the source tree, as one function from a file's path and text to its violations. Rungs and allowed imports
 * are defined only here; `test/architecture.test.ts` applies them to the whole of `src/`.
 */
import * as path from "node:path"

export interface Breach {
  readonly file: string
  readonly line: number
  readonly problem: string
}

/** The folders of `src/` and their rungs. A module imports lower rungs and its own folder. */
const rungs: Readonly<Record<string, number>> = {
  domain: 0,
  contracts: 1,
  client: 2,
  dashboard: 3,
  services: 2,
  log: 3,
  actors: 4,
  simulator: 4,
  layers: 4,
  http: 5,
  "layers/App.ts": 6,
  bin: 7
}

/** Ends of the graph: only the composition root and the entry points import them. */
const ends: ReadonlySet<string> = new Set(["layers", "simulator", "client", "dashboard"])

/** Packages and built-ins, other than `effect`, that a folder may import; a trailing `*` matches any ending. */
const packages: ReadonlyArray<readonly [folder: string, allowed: ReadonlyArray<string>]> = [
  ["domain", ["effect"]],
  ["contracts", ["effect", "effect/rpc", "effect/http-api", "effect/http"]],
  ["client", ["effect", "effect/rpc", "effect/http-api", "effect/http", "effect/socket"]],
  ["dashboard", ["effect", "effect/reactivity", "react", "react-dom/client", "@tanstack/react-virtual"]],
  ["services", ["effect", "effect/*", "node:*", "qr"]],
  ["log", ["effect", "effect/*", "node:*"]],
  ["actors", ["effect", "effect/*", "node:*"]],
  ["http", ["effect", "effect/*", "node:*", "@effect/platform-node*"]],
  ["simulator", ["effect", "effect/*", "node:*", "@effect/platform-node*", "ws"]],
  ["layers/postgres", [
    "effect",
    "effect/*",
    "node:*",
    "@effect/platform-node*",
    "@effect/sql-pg*",
    "@electric-sql/pglite*"
  ]],
  ["layers/rabbitmq", ["effect", "effect/*", "node:*", "amqplib*"]],
  ["layers/redis", ["effect", "effect/*", "node:*", "@redis/client"]],
  ["layers/openai", ["effect", "effect/*", "node:*", "openai"]],
  ["layers/telemetry", ["effect", "effect/*", "node:*", "@effect/opentelemetry*", "@opentelemetry/*"]],
  ["layers/gateways", ["effect", "effect/*", "node:*", "@effect/platform-node*", "qr/decode.js"]],
  ["layers", ["effect", "effect/*", "node:*", "@effect/platform-node*"]],
  ["bin", ["effect", "effect/*", "node:*", "@effect/platform-node*"]]
]

/** Calls of the wall clock, of real randomness and of real timers, which a test cannot control. */
const impure: ReadonlyArray<readonly [pattern: RegExp, instead: string]> = [
  [/\bDate\.now\s*\(/, "Clock.currentTimeMillis"],
  [/\bnew Date\(\s*\)/, "DateTime.now or Clock"],
  [/\bperformance\.now\s*\(/, "Clock.currentTimeNanos"],
  [/\bMath\.random\s*\(/, "Random"],
  [/\bset(?:Timeout|Interval)\s*\(/, "Effect.sleep or a Schedule"]
]
const impureAllowed: ReadonlySet<string> = new Set(["layers", "simulator", "bin", "client", "dashboard"])

/** `domain`, `layers`, `layers/App.ts` (with its parts in `layers/app/`) …: the part of the tree that has a rung. */
const findFolder = (file: string): string =>
  file === "layers/App.ts" || file.startsWith("layers/app/") ? "layers/App.ts" : file.split("/")[0] ?? ""

/** The technology of an adapter: its folder under `layers/`. Files directly in `layers/` have none. */
const findTechnology = (file: string): string => file.split("/").slice(1, -1)[0] ?? "none"

const matches = (name: string, pattern: string): boolean =>
  pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern

/** Blanks comments and keeps the line breaks, so that line numbers stay right. */
const withoutComments = (text: string): string =>
  text.replace(
    /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (found: string, literal: string | undefined) => literal ?? found.replace(/[^\n]/g, " ")
  )

interface Import {
  readonly specifier: string
  readonly line: number
}

const lineAt = (text: string, index: number): number => text.slice(0, index).split("\n").length

const listImports = (code: string): ReadonlyArray<Import> =>
  Array.from(
    code.matchAll(/(?:^(?:import|export)\b[^"';]*?\bfrom\s*|\bimport\s*\(\s*|^import\s+)["']([\w@./:#-]+)["']/gm),
    (found) => ({ specifier: found[1] ?? "", line: lineAt(code, found.index + found[0].length) })
  )

const ownImport = (file: string, target: string): string | null => {
  if (target.startsWith("..")) return `imports ${target}, which is outside of src`
  const from = findFolder(file)
  const to = findFolder(target)
  const [fromRung, toRung] = [rungs[from], rungs[to]]
  if (fromRung === undefined) return `lies in '${from}', a folder without a rung`
  if (toRung === undefined) return `imports ${target}, which lies in a folder without a rung`
  if (from === "layers" && to === "layers" && findTechnology(file) !== findTechnology(target)) {
    return `imports ${target}: an adapter names no other technology`
  }
  if (from === to) return null
  if (to === "log" && from !== "layers" && from !== "layers/App.ts") {
    return `imports ${target}: outside of log/ only adapters see more of the log than services/EventLog.ts`
  }
  if (from === "dashboard") {
    // The dashboard runs in a browser, and knows only those types of the server that cross a wire.
    return ["client", "contracts", "domain"].includes(to)
      ? null
      : `imports ${target}: the dashboard knows the client alone`
  }
  if (ends.has(to) && fromRung < (rungs["layers/App.ts"] ?? 0)) {
    return `imports ${target}: only layers/App.ts and bin import ${to}`
  }
  if (toRung >= fromRung) return `imports ${target}: rung ${fromRung} may not import rung ${toRung}`
  return null
}

const packageImport = (file: string, specifier: string): string | null => {
  if (file === "layers/App.ts") return null
  const row = packages.find(([folder]) => file.startsWith(`${folder}/`))
  if (row === undefined || row[1].some((pattern) => matches(specifier, pattern))) return null
  return `imports ${specifier}, which ${row[0]} may not name`
}

/** All violations of one file. `file` is its path below `src/`. */
export const findBreaches = (file: string, text: string): ReadonlyArray<Breach> => {
  const code = withoutComments(text)
  const imports = listImports(code).flatMap(({ specifier, line }) => {
    const problem = specifier.startsWith(".")
      ? ownImport(file, path.posix.join(path.posix.dirname(file), specifier))
      : packageImport(file, specifier)
    return problem === null ? [] : [{ file, line, problem }]
  })
  if (impureAllowed.has(findFolder(file).split("/")[0] ?? "")) return imports
  const words = code.split("\n").flatMap((content, index) =>
    impure.flatMap(([pattern, instead]) =>
      pattern.test(content)
        ? [{ file, line: index + 1, problem: `uses ${pattern.exec(content)?.[0]}); use ${instead}` }]
        : []
    )
  )
  return [...imports, ...words]
}
