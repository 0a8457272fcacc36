/**
 * A batch as a call of the append function: one array per column, in the function's order. Parts that most
 * batches lack (fences, effects, aliases, cursors) are constants of the statement, because the cost of a small batch is mostly
 * that of its parameters, on both sides. So there is one statement for each combination of a batch's parts.
 */
import { PgTypes } from "@effect/sql-pg"
import { Result } from "effect"
import { effectColumns, effectValues, frequentTags, isRare } from "../../services/LogEffect.ts"
import type { FrequentTag, LogEffect, RareTag } from "../../services/LogEffect.ts"
import type { CursorMove, PreparedDraft, WriteBatch } from "../../log/LogStore.ts"
import { appendArrays, draftArrays, moveArrays } from "./migrations/appendFunction.ts"

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

/** Column by column: a list of the values of each draft would be made only to be taken apart. */
const draftColumns: ReadonlyArray<(draft: PreparedDraft) => Value> = [
  ({ id }) => id,
  ({ kind }) => kind,
  ({ deviceId }) => deviceId,
  ({ occurredAt }) => occurredAt,
  ({ via }) => via,
  ({ data }) => data,
  ({ key }) => key,
  ({ content }) => content,
  ({ keyParts }) => keyParts?.base ?? null,
  ({ keyParts }) => keyParts?.chat ?? null,
  ({ keyParts }) => keyParts?.sender ?? null,
  ({ message }) => message,
  ({ chat }) => chat
]

const readDrafts = (drafts: ReadonlyArray<PreparedDraft>): ReadonlyArray<ReadonlyArray<Value>> =>
  draftColumns.map((read) => drafts.map(read))

const pushMove = (columns: Columns, move: CursorMove): void => columns.push(move.sink, move.epoch, move.seq, move.id)

type ArrayTypes = typeof appendArrays

/** Typed by element, so that an array of nulls alone has a type too. */
const addArrays = (
  parameters: Array<PgTypes.Parameter>,
  arrays: ReadonlyArray<ReadonlyArray<Value>>,
  types: ArrayTypes
): void =>
  arrays.forEach((values, index) => {
    parameters.push(Result.getOrThrow(PgTypes.array(values, elementOids[types[index]![1]])))
  })

class Batch {
  readonly groups = new Columns(2)
  readonly draftGroups = new Columns(1)
  readonly drafts: Array<PreparedDraft> = []
  readonly aliases = new Columns(3)
  readonly moves = new Columns(4)
  readonly effects = Object.fromEntries(
    frequentTags.map((tag) => [tag, new Columns(2 + Object.keys(effectColumns[tag]).length)])
  ) as Readonly<Record<FrequentTag, Columns>>
  readonly #rare: Partial<Record<RareTag, Array<RareRow>>> = {}
  #rareCount = 0

  constructor({ groups, moves }: WriteBatch) {
    // The function treats a draft without a group as a group of one draft, so such groups are not sent.
    const single = groups.every(({ drafts, effects, fence }) =>
      drafts.length === 1 && fence === null && effects.length === 0
    )
    groups.forEach(({ drafts, effects, fence }, index) => {
      if (!single) this.groups.push(fence?.deviceId ?? null, fence?.epoch ?? null)
      for (const draft of drafts) this.#addDraft(draft, single ? null : index + 1)
      for (const effect of effects) this.#addEffect(effect, index + 1, null)
    })
    for (const move of moves) pushMove(this.moves, move)
  }

  #addDraft(draft: PreparedDraft, group: number | null): void {
    this.drafts.push(draft)
    if (group !== null) this.draftGroups.push(group)
    for (const alias of draft.aliases) this.aliases.push(draft.deviceId, alias.lid, alias.jid)
    for (const effect of draft.effects) this.#addEffect(effect, group, this.drafts.length)
  }

  #addEffect(effect: LogEffect, group: number | null, index: number | null): void {
    if (!isRare(effect)) return this.effects[effect._tag].push(group, index, ...effectValues(effect))
    const { _tag, ...columns } = effect
    ;(this.#rare[_tag] ??= []).push({ ...columns, g: group, i: index, n: this.#rareCount++ })
  }

  /** In the form that the function of the rare effects takes; null without any. */
  get rare(): string | null {
    return this.#rareCount === 0 ? null : JSON.stringify(this.#rare)
  }

  get arrays(): ReadonlyArray<ReadonlyArray<Value>> {
    const effects = frequentTags.flatMap((tag) => this.effects[tag].arrays)
    return [
      ...this.groups.arrays,
      ...this.draftGroups.arrays,
      ...readDrafts(this.drafts),
      ...effects,
      ...this.aliases.arrays,
      ...this.moves.arrays
    ]
  }
}

export interface AppendStatement {
  readonly sql: string
  readonly parameters: ReadonlyArray<PgTypes.Parameter>
}

/** Keyed by its parameters. At most 66: each part of a batch (groups, drafts, effects …) has its arrays or lacks them. */
const statements = new Map<string, string>()

/** `listener`: this process's lease for signals of other processes' commits, so that its own are not signalled; null without one. */
export const appendStatement = (writeBatch: WriteBatch, listener: string | null = null): AppendStatement =>
  isPlain(writeBatch) ? plainStatement(writeBatch, listener) : fullStatement(writeBatch, listener)

/** Whether the batch suits `columba_append_plain_v1`: new events alone, as far as this side can see. */
const isPlain = ({ groups }: WriteBatch): boolean => {
  const keys = new Set<string>()
  let keyed = 0
  for (const { drafts, effects, fence } of groups) {
    if (drafts.length !== 1 || fence !== null || effects.length > 0) return false
    const draft = drafts[0]!
    if (draft.effects.length > 0 || draft.aliases.length > 0) return false
    if (draft.key === null) continue
    keyed++
    keys.add(draft.key)
  }
  return groups.length > 0 && keys.size === keyed
}

const plainStatement = ({ anchor, floor, groups, moves }: WriteBatch, listener: string | null): AppendStatement => {
  const drafts = readDrafts(groups.map((group) => group.drafts[0]!))
  const columns = new Columns(moveArrays.length)
  for (const move of moves) pushMove(columns, move)
  const parameters = [PgTypes.float8(floor), PgTypes.text(listener), PgTypes.float8(anchor)]
  addArrays(parameters, drafts, draftArrays)
  if (moves.length > 0) addArrays(parameters, columns.arrays, moveArrays)
  return { sql: moves.length > 0 ? plainWithMoves : plainAlone, parameters }
}

const fullStatement = (writeBatch: WriteBatch, listener: string | null): AppendStatement => {
  const batch = new Batch(writeBatch)
  const parameters = [PgTypes.float8(writeBatch.floor), PgTypes.text(listener), PgTypes.float8(writeBatch.anchor)]
  const { rare } = batch
  if (rare !== null) parameters.push(PgTypes.text(rare))
  let present = rare === null ? "-" : "r"
  batch.arrays.forEach((values, index) => {
    present += values.length === 0 ? "-" : "a"
    if (values.length > 0) addArrays(parameters, [values], [appendArrays[index]!])
  })
  const known = statements.get(present)
  if (known !== undefined) return { sql: known, parameters }
  const sql = makeStatement(present)
  statements.set(present, sql)
  return { sql, parameters }
}

/** The append's answer, and which event had the anchor's number when the statement began. */
const answerColumns = `select log_id, oldest, head, behind, recorded_ms, outcomes, seqs, lost, refused, named, names,
  (select a.id::text from events a where a.seq = $3::float8::bigint) as anchor_id`

const makePlain = (given: number): string =>
  `${answerColumns} from columba_append_plain_v1($1::float8, $2::text, ${
    [...draftArrays, ...moveArrays].map(([, type], index) => index < given ? `$${index + 4}::${type}` : `'{}'::${type}`)
      .join(", ")
  })`
const plainAlone = makePlain(draftArrays.length)
const plainWithMoves = makePlain(draftArrays.length + moveArrays.length)

const makeStatement = (present: string): string => {
  let number = 3
  const rare = present[0] === "r" ? `$${++number}::text` : "null"
  const arrays = appendArrays.map(([, type], index) =>
    present[index + 1] === "a" ? `$${++number}::${type}` : `'{}'::${type}`
  )
  return `${answerColumns} from columba_append_v1($1::float8, ${[rare, "$2::text", ...arrays].join(", ")})`
}
