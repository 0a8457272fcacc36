/** A batch as the parameters of `columba_append`: one array a column, in the order the function names them. */
import { PgTypes } from "@effect/sql-pg"
import { Result } from "effect"
import type { CursorMove, PreparedDraft } from "../../log/LogStore.ts"

/** Typed by element, so that an array of nulls alone has a type too. */
const array = (values: ReadonlyArray<unknown>, elementOid: number): PgTypes.Parameter =>
  Result.getOrThrow(PgTypes.array(values, elementOid))

const texts = (values: ReadonlyArray<string | null>) => array(values, PgTypes.OID.text)
const integers = (values: ReadonlyArray<number | null>) => array(values, PgTypes.OID.int4)
const numbers = (values: ReadonlyArray<number>) => array(values, PgTypes.OID.float8)

const parameterTypes = [
  ...Array.from({ length: 12 }, () => "text[]"),
  "integer[]",
  "integer[]",
  ...Array.from({ length: 9 }, () => "text[]"),
  "integer[]",
  ...Array.from({ length: 3 }, () => "text[]"),
  "integer[]",
  ...Array.from({ length: 5 }, () => "text[]"),
  ...Array.from({ length: 3 }, () => "text[]"),
  "text[]",
  "integer[]",
  "float8[]",
  "text[]"
]

export const appendStatement = `select a.head, a.recorded_ms, a.outcomes, a.seqs, a.lost,
  h.oldest::float8 as oldest, h.log_id::text as log_id
  from columba_append(${parameterTypes.map((type, index) => `$${index + 1}::${type}`).join(", ")}) a, log_head h`

class Columns {
  readonly events: Array<Array<string | null>> = Array.from({ length: 12 }, () => [])
  readonly epochs: Array<number | null> = []
  readonly messageIndex: Array<number> = []
  readonly messages: Array<Array<string | null>> = Array.from({ length: 9 }, () => [])
  readonly ackIndex: Array<number> = []
  readonly acks: Array<Array<string | null>> = Array.from({ length: 3 }, () => [])
  readonly stateIndex: Array<number> = []
  readonly states: Array<Array<string | null>> = Array.from({ length: 5 }, () => [])
  readonly aliases: Array<Array<string | null>> = Array.from({ length: 3 }, () => [])

  add(draft: PreparedDraft, index: number): void {
    push(this.events, [
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
      draft.fence?.deviceId ?? null
    ])
    this.epochs.push(draft.fence?.epoch ?? null)
    for (const alias of draft.aliases) push(this.aliases, [draft.deviceId, alias.lid, alias.jid])
    this.addEffects(draft, index)
  }

  private addEffects(draft: PreparedDraft, index: number): void {
    const effects = draft.projection
    if (effects === null) return
    switch (effects._tag) {
      case "Message":
        this.messageIndex.push(index)
        return push(this.messages, [
          effects.id,
          draft.deviceId,
          effects.direction,
          effects.waId,
          effects.chat,
          effects.sender,
          effects.type,
          effects.body,
          draft.occurredAt
        ])
      case "Ack":
        this.ackIndex.push(index)
        return push(this.acks, [effects.messageId, effects.participant, effects.status])
      case "State":
        this.stateIndex.push(index)
        return push(this.states, [draft.deviceId, effects.state, effects.tag, effects.jid, effects.phone])
    }
  }
}

const push = (columns: ReadonlyArray<Array<string | null>>, values: ReadonlyArray<string | null>): void => {
  for (let index = 0; index < columns.length; index++) columns[index]!.push(values[index]!)
}

export const appendParameters = (
  drafts: ReadonlyArray<PreparedDraft>,
  moves: ReadonlyArray<CursorMove>
): ReadonlyArray<PgTypes.Parameter> => {
  const columns = new Columns()
  for (let index = 0; index < drafts.length; index++) columns.add(drafts[index]!, index + 1)
  return [
    ...columns.events.map(texts),
    integers(columns.epochs),
    integers(columns.messageIndex),
    ...columns.messages.map(texts),
    integers(columns.ackIndex),
    ...columns.acks.map(texts),
    integers(columns.stateIndex),
    ...columns.states.map(texts),
    ...columns.aliases.map(texts),
    texts(moves.map((move) => move.sink)),
    integers(moves.map((move) => move.epoch)),
    numbers(moves.map((move) => move.seq)),
    texts(moves.map((move) => move.id))
  ]
}
