import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { type Breach, findBreaches } from "./support/architecture.ts"

const root = path.resolve(import.meta.dirname, "../src")

const sources = fs.readdirSync(root, { recursive: true, encoding: "utf8" })
  .map((file) => file.split(path.sep).join("/"))
  .filter((file) => /\.tsx?$/.test(file))
  .sort()

const shown = (breaches: ReadonlyArray<Breach>): string =>
  breaches.map(({ file, line, problem }) => `src/${file}:${line} ${problem}`).join("\n")

describe("architecture", () => {
  it("keeps every module of src on its rung, to its own technology, and off the real clock", () => {
    assert.isAbove(sources.length, 0)
    const breaches = sources.flatMap((file) => findBreaches(file, fs.readFileSync(path.join(root, file), "utf8")))
    assert.strictEqual(shown(breaches), "")
  })

  it("requires every module of src to start with a paragraph on its purpose", () => {
    const bare = sources.filter((file) => !fs.readFileSync(path.join(root, file), "utf8").startsWith("/**"))
    assert.deepStrictEqual(bare.map((file) => `src/${file}`), [])
  })
})

describe("the architecture rules themselves", () => {
  const problems = (file: string, text: string) => shown(findBreaches(file, text))

  it("report an import that goes upward, with its line", () => {
    const text = `import { Effect } from "effect"\n\nimport type {\n  Fleet\n} from "../actors/LocalFleet.ts"\n`
    assert.strictEqual(
      problems("services/Reader.ts", text),
      "src/services/Reader.ts:5 imports actors/LocalFleet.ts: rung 2 may not import rung 4"
    )
  })

  it("report an adapter that uses another technology", () => {
    assert.include(
      problems("layers/rabbitmq/RabbitSink.ts", `import { sql } from "../postgres/Postgres.ts"`),
      "an adapter names no other technology"
    )
    assert.include(
      problems("layers/rabbitmq/RabbitSink.ts", `import ws from "ws"`),
      "imports ws, which layers/rabbitmq may not name"
    )
  })

  it("report a business module that imports an end of the graph, also lazily", () => {
    assert.include(
      problems("http/Routes.ts", `const load = () => import("../layers/postgres/Postgres.ts")`),
      "only layers/App.ts and bin import layers"
    )
  })

  it("report Node in code that must run in a browser", () => {
    assert.include(problems("contracts/Api.ts", `import * as fs from "node:fs"`), "contracts may not name")
  })

  it("report the real clock, and not words in comments", () => {
    assert.strictEqual(
      problems("actors/Actor.ts", "// never Date.now() here\nconst now = Date.now()\n"),
      "src/actors/Actor.ts:2 uses Date.now(); use Clock.currentTimeMillis"
    )
  })

  it("allow the composition root and the entry points to name adapters", () => {
    assert.strictEqual(problems("layers/App.ts", `import { layer } from "./postgres/Postgres.ts"`), "")
    assert.strictEqual(problems("bin/main.ts", `import { app } from "../layers/App.ts"`), "")
  })
})
