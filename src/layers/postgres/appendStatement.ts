/**
 * A batch as a call of the append function: one array per column, in the order that the function names them. What most
 * batches lack (fences, effects, aliases, cursors) is a constant of the statement: a batch of a few messages costs mostly
 * what its parameters cost, on both sides. So there is one statement for each combination of what a batch has.
 */
import { PgTypes } from "@effect/sql-pg"
import { Result } from "effect"
import { effectColumns, effectValues, frequentTags, isRare } from "../../services/LogEffect.ts"
import type { FrequentTag, LogEffect, RareTag } from "../../services/LogEffect.ts"
import type { PreparedDraft, WriteBatch } from "../../log/LogStore.ts"
import { appendArrays } from "./migrations/appendFunction.ts"

const elementOids = { "text[]": PgTypes.OID.text, "integer[]": PgTypes.OID.int4, "float8[]": PgTypes.OID.float8 }

type Value = string | number | null

/** A rare effect with its group, its draft and its place in the batch. */
interface RareRow {
  readonly g: number | null
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
  readonly draftGroups = new Columns(1)
  readonly drafts = new Columns(13)
  readonly aliases = new Columns(3)
  readonly moves = new Columns(4)
  readonly effects = Object.fromEntries(
    frequentTags.map((tag) => [tag, new Columns(2 + Object.keys(effectColumns[tag]).length)])
  ) as Readonly<Record<FrequentTag, Columns>>
  readonly #rare: Partial<Record<RareTag, Array<RareRow>>> = {}
  #count = 0
  #rareCount = 0

  constructor({ groups, moves }: WriteBatch) {
    // Groups that only say of a single draft that it is one are what the function takes a draft without a group for.
    const single = groups.every(({ drafts, effects, fence }) =>
      drafts.length === 1 && fence === null && effects.length === 0
    )
    groups.forEach(({ drafts, effects, fence }, index) => {
      if (!single) this.groups.push(fence?.deviceId ?? null, fence?.epoch ?? null)
      for (const draft of drafts) this.#addDraft(draft, single ? null : index + 1)
      for (const effect of effects) this.#addEffect(effect, index + 1, null)
    })
    for (const move of moves) this.moves.push(move.sink, move.epoch, move.seq, move.id)
  }

  #addDraft(draft: PreparedDraft, group: number | null): void {
    this.#count++
    if (group !== null) this.draftGroups.push(group)
    this.drafts.push(
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

  #addEffect(effect: LogEffect, group: number | null, index: number | null): void {
    if (!isRare(effect)) return this.effects[effect._tag].push(group, index, ...effectValues(effect))
    const { _tag, ...columns } = effect
    ;(this.#rare[_tag] ??= []).push({ ...columns, g: group, i: index, n: this.#rareCount++ })
  }

  /** As the function of the rare effects takes them; null without any. */
  get rare(): string | null {
    return this.#rareCount === 0 ? null : JSON.stringify(this.#rare)
  }

  get arrays(): ReadonlyArray<ReadonlyArray<Value>> {
    return [
      this.groups,
      this.draftGroups,
      this.drafts,
      ...frequentTags.map((tag) => this.effects[tag]),
      this.aliases,
      this.moves
    ].flatMap((columns) => columns.arrays)
  }
}

export interface AppendStatement {
  readonly sql: string
  readonly parameters: ReadonlyArray<PgTypes.Parameter>
}

/** By which parameters it has. At most 64: each part of a batch (groups, drafts, effects …) has its arrays or lacks them. */
const statements = new Map<string, string>()

export const appendStatement = (writeBatch: WriteBatch): AppendStatement => {
  const batch = new Batch(writeBatch)
  const parameters = [PgTypes.float8(writeBatch.floor)]
  const { rare } = batch
  if (rare !== null) parameters.push(PgTypes.text(rare))
  let present = rare === null ? "-" : "r"
  batch.arrays.forEach((values, index) => {
    present += values.length === 0 ? "-" : "a"
    // Typed by element, so that an array of nulls alone has a type too.
    if (values.length > 0) {
      parameters.push(Result.getOrThrow(PgTypes.array(values, elementOids[appendArrays[index]![1]])))
    }
  })
  const known = statements.get(present)
  if (known !== undefined) return { sql: known, parameters }
  const sql = makeStatement(present)
  statements.set(present, sql)
  return { sql, parameters }
}

const makeStatement = (present: string): string => {
  let number = 1
  const rare = present[0] === "r" ? `$${++number}::text` : "null"
  const arrays = appendArrays.map(([, type], index) =>
    present[index + 1] === "a" ? `$${++number}::${type}` : `'{}'::${type}`
  )
  return `select log_id, oldest, head, behind, recorded_ms, outcomes, seqs, lost, refused,
    named, names
  from columba_append_v1($1::float8, ${[rare, ...arrays].join(", ")})`
}
