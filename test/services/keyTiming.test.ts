/**
 * The time of a refusal reveals nothing measurable about a key. Texts of the same form are looked up in turns, so that other
 * load on the machine affects all of them alike, and compared turn by turn.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import type { ApiKeyId } from "../../src/domain/ApiKey.ts"
import { layerMemory } from "../../src/layers/memory/MemoryStorage.ts"
import { ApiKeyRepository } from "../../src/services/ApiKeyRepository.ts"
import { digestKey, makeKeyText } from "../../src/services/apiKeyText.ts"
import { ApiKeys } from "../../src/services/ApiKeys.ts"
import { KeyDirectory } from "../../src/services/KeyDirectory.ts"

const id = `key_${"0".repeat(26)}` as ApiKeyId

/** 100,000 of each form. */
const turns = 1000
const inTurn = 100

/** Another digit at this place. */
const changeAt = (text: string, place: number): string => {
  const at = place < 0 ? text.length + place : place
  return text.slice(0, at) + (text[at] === "0" ? "1" : "0") + text.slice(at + 1)
}

const own = `root-${"a".repeat(40)}`

const setUp = Effect.gen(function*() {
  const table = Context.get(yield* Layer.build(layerMemory), ApiKeyRepository)
  const key = Redacted.value(makeKeyText(id))
  yield* table.insert({
    id,
    name: "shop",
    digest: digestKey(key),
    scopes: ["read"],
    devices: null,
    requestsPerSecond: null,
    createdBy: "root",
    expiresAt: null
  })
  const layer = KeyDirectory.layer.pipe(
    Layer.provide(Layer.succeed(ApiKeyRepository, table)),
    Layer.provide(Layer.succeed(
      ApiKeys,
      ApiKeys.of({ keys: [{ name: "root", scopes: ["admin"], devices: undefined, key: Redacted.make(own) }] })
    ))
  )
  return { key, find: Context.get(yield* Layer.build(layer), KeyDirectory).find }
})

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((one, other) => one - other)[values.length >> 1]!

/** For each form the nanoseconds of a look-up, turn by turn. */
const measure = (find: (text: string) => unknown, forms: Readonly<Record<string, string>>) => {
  const names = Object.keys(forms)
  const times = new Map<string, Array<number>>(names.map((name) => [name, []]))
  for (let turn = -turns / 10; turn < turns; turn++) {
    // Each form is as often the first as the last.
    for (let index = 0; index < names.length; index++) {
      const name = names[(index + Math.abs(turn)) % names.length]!
      const text = forms[name]!
      const begin = process.hrtime.bigint()
      for (let count = 0; count < inTurn; count++) find(text)
      const took = Number(process.hrtime.bigint() - begin) / inTurn
      // The first turns run code that is not compiled yet.
      if (turn >= 0) times.get(name)!.push(took)
    }
  }
  return times
}

describe("an invalid key", () => {
  it.effect("is refused in the same time, whatever it has in common with a valid one", () =>
    Effect.gen(function*() {
      const { find, key } = yield* setUp
      const other = Redacted.value(makeKeyText(`key_${"9".repeat(26)}` as ApiKeyId))
      const forms = {
        "another id, another secret": other,
        "a known id, another secret": key.slice(0, 35) + other.slice(35),
        "all but the last digit": changeAt(key, -1),
        "all but the first digit of the secret": changeAt(key, 35)
      }
      const ownForms = { "all but its end": changeAt(own, -1), "all but its beginning": changeAt(own, 0) }
      for (const text of [...Object.values(forms), ...Object.values(ownForms)]) assert.isNull(find(text), text)
      for (const group of [forms, ownForms]) {
        const [[, base], ...rest] = [...measure(find, group)] as [
          [string, Array<number>],
          ...Array<[string, Array<number>]>
        ]
        for (const [name, times] of rest) {
          const ratio = median(times.map((time, turn) => time / base[turn]!))
          console.log(`${name}: ${median(times).toFixed(0)} ns, ${ratio.toFixed(3)} of ${median(base).toFixed(0)} ns`)
          assert.approximately(ratio, 1, 0.05, name)
        }
      }
    }))
})
