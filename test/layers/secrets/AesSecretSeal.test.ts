import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { statSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as AesSecretSeal from "../../../src/layers/secrets/AesSecretSeal.ts"
import { readOrMakeKeys } from "../../../src/layers/secrets/keyFile.ts"
import { parseSecretKeys, SecretSeal } from "../../../src/services/SecretSeal.ts"
import type { SecretKey } from "../../../src/services/SecretSeal.ts"
import { freshDirectory } from "../../support/directory.ts"

const makeKey = (fill: number): SecretKey => Redacted.make<Uint8Array>(new Uint8Array(32).fill(fill))
const place = { owner: "east", field: "password" }

const withKeys = <A, E>(
  keys: ReadonlyArray<SecretKey>,
  use: (seal: SecretSeal["Service"]) => Effect.Effect<A, E>
) => Effect.provide(Effect.flatMap(SecretSeal, use), AesSecretSeal.layer(keys))

const seal = (keys: ReadonlyArray<SecretKey>, text = "päss") =>
  withKeys(keys, (one) => one.seal(Redacted.make(text), place))

const open = (keys: ReadonlyArray<SecretKey>, sealed: string, at = place) =>
  withKeys(keys, (one) => Effect.map(one.open(sealed, at), Redacted.value))

const refuses = (keys: ReadonlyArray<SecretKey>, sealed: string, at = place) =>
  Effect.map(Effect.flip(open(keys, sealed, at)), ({ _tag }) => assert.strictEqual(_tag, "SecretUnreadable"))

describe("sealed secrets", () => {
  it.effect("open again, and two seals of one secret differ", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* seal([makeKey(1)]), yield* seal([makeKey(1)])]
      assert.notStrictEqual(one, two)
      assert.notInclude(one, "päss")
      assert.strictEqual(yield* open([makeKey(1)], one), "päss")
      assert.strictEqual(yield* open([makeKey(1)], yield* seal([makeKey(1)], "")), "")
    }))

  it.effect("open with every available key, and are sealed with the first", () =>
    Effect.gen(function*() {
      const old = yield* seal([makeKey(1)])
      assert.strictEqual(yield* open([makeKey(2), makeKey(1)], old), "päss")
      const rotated = yield* seal([makeKey(2), makeKey(1)])
      assert.strictEqual(yield* open([makeKey(2)], rotated), "päss")
      yield* refuses([makeKey(1)], rotated)
      yield* refuses([], rotated)
    }))

  it.effect("do not open if changed, or in another row or field", () =>
    Effect.gen(function*() {
      const keys = [makeKey(1)]
      const sealed = yield* seal(keys)
      yield* refuses(keys, sealed, { owner: "west", field: "password" })
      yield* refuses(keys, sealed, { owner: "east", field: "apiKey" })
      const body = sealed.lastIndexOf(".") + 1
      for (let at = body; at < sealed.length - 1; at++) {
        const other = sealed[at] === "A" ? "B" : "A"
        yield* refuses(keys, sealed.slice(0, at) + other + sealed.slice(at + 1))
      }
      for (const junk of ["", ".", "v1", "v1..", sealed.slice(0, -8), sealed.replace("v1.", "v2.")]) {
        yield* refuses(keys, junk)
      }
    }))

  it.effect("need a key", () =>
    Effect.map(Effect.flip(seal([])), ({ _tag, message }) => {
      assert.strictEqual(_tag, "SecretKeyMissing")
      assert.include(message, "COLUMBA_SECRET_KEY")
    }))
})

describe("keys", () => {
  it("are base64 texts of 32 bytes in a comma list", () => {
    const text = Buffer.alloc(32, 7).toString("base64")
    assert.lengthOf(parseSecretKeys(` ${text} , ${Buffer.alloc(32, 8).toString("base64url")},`)!, 2)
    for (const bad of ["", ",", "secret", Buffer.alloc(31).toString("base64"), `${text},short`]) {
      assert.isNull(parseSecretKeys(bad), bad)
    }
  })

  it.effect("of a data directory are created once, readable only by the owner", () =>
    Effect.gen(function*() {
      const directory = yield* freshDirectory
      const dataDir = join(directory, "data")
      const made = yield* readOrMakeKeys(dataDir)
      assert.deepStrictEqual((yield* readOrMakeKeys(dataDir)).map(Redacted.value), made.map(Redacted.value))
      assert.strictEqual(statSync(join(dataDir, "secret.key")).mode & 0o777, 0o600)
      assert.deepStrictEqual(readdirSync(dataDir), ["secret.key"])
      const sealed = yield* seal(made)
      assert.strictEqual(yield* open(yield* readOrMakeKeys(dataDir), sealed), "päss")
    }))

  it.effect("stop the start if their file has none, with an error that does not show its content", () =>
    Effect.gen(function*() {
      const directory = yield* freshDirectory
      writeFileSync(join(directory, "secret.key"), "not-a-key")
      const { message } = yield* Effect.flip(readOrMakeKeys(directory))
      assert.include(message, "secret.key")
      assert.notInclude(message, "not-a-key")
    }))
})
