/** A batch as the parameters of the append function: one array per column, in the order that the function names them. */
import { PgTypes } from "@effect/sql-pg"
import { Result } from "effect"
import { effectColumns, effectValues, frequentTags, isRare } from "../../services/LogEffect.ts"
import type { FrequentTag, LogEffect, RareTag } from "../../services/LogEffect.ts"
import type { PreparedDraft, WriteBatch } from "../../log/LogStore.ts"
import { appendArrays } from "./migrations/appendFunction.ts"

export const appendStatement = `select log_id, oldest, head, behind, recorded_ms, outcomes, seqs, lost, refused
  from columba_append_v1($1::float8, $2::text, ${
  appendArrays.map(([, type], index) => `$${index + 3}::${type}`).join(", ")
})`

const elementOids = { "text[]": PgTypes.OID.text, "integer[]": PgTypes.OID.int4, "float8[]": PgTypes.OID.float8 }

type Value = string | number | null

/** A rare effect with its group, its draft and its place in the batch. */
interface RareRow {
  readonly g: number
  readonly i: number | null
  readonly n: number
}

/** Values that run in parallel: one array per column. */
class Columns {
  readonly arrays: ReadonlyArray<Array<Value>>

  constructor(count: number) {
    this.arrays = Array.from({ length: count }, () => [])
  }

  push(...values: ReadonlyArray<Value>): void {
    for (let index = 0; index < this.arrays.length; index++) this.arrays[index]!.push(values[index]!)
  }
}

class Batch {
  readonly groups = new Columns(2)
  readonly drafts = new Columns(14)
  readonly aliases = new Columns(3)
  readonly moves = new Columns(4)
  readonly effects = Object.fromEntries(
    frequentTags.map((tag) => [tag, new Columns(2 + Object.keys(effectColumns[tag]).length)])
  ) as Readonly<Record<FrequentTag, Columns>>
  readonly #rare: Partial<Record<RareTag, Array<RareRow>>> = {}
  #count = 0
  #rareCount = 0

  constructor({ groups, moves }: WriteBatch) {
    groups.forEach(({ drafts, effects, fence }, index) => {
      this.groups.push(fence?.deviceId ?? null, fence?.epoch ?? null)
      for (const draft of drafts) this.#addDraft(draft, index + 1)
      for (const effect of effects) this.#addEffect(effect, index + 1, null)
    })
    for (const move of moves) this.moves.push(move.sink, move.epoch, move.seq, move.id)
  }

  #addDraft(draft: PreparedDraft, group: number): void {
    this.#count++
    this.drafts.push(
      group,
      draft.id,
      draft.kind,
      draft.deviceId,
      draft.occurredAt,
      draft.via,
      draft.data,
      draft.key,
      draft.content,
      draft.keyParts?.base ?? null,
      draft.keyParts?.chat ?? null,
      draft.keyParts?.sender ?? null,
      draft.message,
      draft.chat
    )
    for (const alias of draft.aliases) this.aliases.push(draft.deviceId, alias.lid, alias.jid)
    for (const effect of draft.effects) this.#addEffect(effect, group, this.#count)
  }

  #addEffect(effect: LogEffect, group: number, index: number | null): void {
    if (!isRare(effect)) return this.effects[effect._tag].push(group, index, ...effectValues(effect))
    const { _tag, ...columns } = effect
    ;(this.#rare[_tag] ??= []).push({ ...columns, g: group, i: index, n: this.#rareCount++ })
  }

  /** As the function of the rare effects takes them; null without any. */
  get rare(): string | null {
    return this.#rareCount === 0 ? null : JSON.stringify(this.#rare)
  }

  get arrays(): ReadonlyArray<ReadonlyArray<Value>> {
    return [this.groups, this.drafts, ...frequentTags.map((tag) => this.effects[tag]), this.aliases, this.moves]
      .flatMap((columns) => columns.arrays)
  }
}

export const appendParameters = (writeBatch: WriteBatch): ReadonlyArray<PgTypes.Parameter | null> => {
  const batch = new Batch(writeBatch)
  return [
    PgTypes.float8(writeBatch.floor),
    batch.rare === null ? null : PgTypes.text(batch.rare),
    // Typed by element, so that an array of nulls alone has a type too.
    ...batch.arrays.map((values, index) =>
      Result.getOrThrow(PgTypes.array(values, elementOids[appendArrays[index]![1]]))
    )
  ]
}
