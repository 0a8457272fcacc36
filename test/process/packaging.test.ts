/** The program as another machine gets it: packed and installed there. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { npm } from "./support/clientPackage.ts"
import { runProgram } from "./support/runProgram.ts"

const root = resolve(import.meta.dirname, "../..")

let cwd = ""

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), "columba-package-"))
  const packed = npm(["pack", "--ignore-scripts", "--pack-destination", cwd], root).trim().split("\n").pop() ?? ""
  writeFileSync(join(cwd, "package.json"), JSON.stringify({ name: "machine", private: true }))
  npm(["install", "--prefer-offline", "--no-audit", "--no-fund", `./${packed}`], cwd)
})

afterAll(() => rmSync(cwd, { recursive: true, force: true }))

describe("the package", () => {
  it.live("installs nothing but itself, and contains the program and its pages", () =>
    Effect.gen(function*() {
      const lock = JSON.parse(readFileSync(join(cwd, "package-lock.json"), "utf8")) as { packages: object }
      assert.deepStrictEqual(Object.keys(lock.packages), ["", "node_modules/columba"])
      assert.notInclude(readdirSync(join(cwd, "node_modules/columba/dist")), "client")
      assert.include(readdirSync(join(cwd, "node_modules/columba/dist/web")), "manifest.json")
      const ran = yield* runProgram(["--version"], { cwd, command: [process.execPath, "node_modules/.bin/columba"] })
      assert.strictEqual(ran.code, 0, ran.err)
    }))
})
