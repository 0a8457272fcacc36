/**
 * The generated sections about events: the short table of kinds, the common fields of all events, and the catalogue.
 * They are generated from the table of kinds in `src/domain/EventKinds.ts` and the descriptions in the schemas.
 */
import { Schema } from "effect"
import { eventFields, eventKinds } from "../src/domain/EventKinds.ts"
import { DeviceState } from "../src/domain/DeviceState.ts"
import { cell, table } from "./markdown.ts"

/** The parts of a JSON schema that our schemas use. */
interface Node {
  readonly $ref?: string
  readonly type?: string
  readonly enum?: ReadonlyArray<string | boolean>
  readonly anyOf?: ReadonlyArray<Node>
  readonly allOf?: ReadonlyArray<Node>
  readonly items?: Node
  readonly properties?: Readonly<Record<string, Node>>
  readonly required?: ReadonlyArray<string>
  readonly description?: string
}

type Definitions = Readonly<Record<string, Node>>

type Entry = (typeof eventKinds)[number]

/** `gateway.<name>` for the one kind that is a pattern. */
const nameOf = ({ event: { fields: { kind } } }: Entry): string => "literal" in kind ? kind.literal : "gateway.<name>"

const documentOf = (schema: Schema.Top): { readonly node: Node; readonly definitions: Definitions } => {
  const document = Schema.toJsonSchemaDocument(schema)
  return { node: document.schema, definitions: document.definitions }
}

const resolve = (node: Node, definitions: Definitions): Node => {
  const reference = node.$ref ?? node.allOf?.find(({ $ref }) => $ref !== undefined)?.$ref
  return reference === undefined ? node : definitions[reference.split("/").at(-1) ?? ""] ?? node
}

const typeOf = (unresolved: Node, definitions: Definitions): string => {
  const node = resolve(unresolved, definitions)
  if (node.enum !== undefined) return node.enum.map((value) => `\`${value}\``).join(", ")
  if (node.items !== undefined) return `list of ${typeOf(node.items, definitions)}`
  if (node.anyOf === undefined) return node.type === "string" ? "text" : node.type ?? "any"
  return [...new Set(node.anyOf.map((member) => typeOf(member, definitions)))].join(" or ")
}

/** The object in a field: the field itself, what a nullable field may hold, or the items of a list. */
const objectIn = (unresolved: Node, definitions: Definitions): Node | undefined => {
  const node = resolve(unresolved, definitions)
  if (node.properties !== undefined) return node
  if (node.items !== undefined) return objectIn(node.items, definitions)
  const members = (node.anyOf ?? []).flatMap((member) => objectIn(member, definitions) ?? [])
  return members.length === 1 ? members[0] : undefined
}

const meaningOf = (field: string, description: string | undefined): string => {
  if (description === undefined) throw new Error(`The field '${field}' has no description for the catalogue of events`)
  return cell(description)
}

type Row = readonly [field: string, type: string, meaning: string]

/** The rows of the fields inside a field. The fields of a state are in a table of their own. */
const innerRows = (prefix: string, field: Node, definitions: Definitions): ReadonlyArray<Row> => {
  return Object.entries(objectIn(field, definitions)?.properties ?? {}).flatMap(([name, node]): ReadonlyArray<Row> => [
    [
      `\`${prefix}.${name}\``,
      typeOf(node, definitions),
      meaningOf(`${prefix}.${name}`, node.description ?? resolve(node, definitions).description)
    ],
    ...innerRows(`${prefix}.${name}`, node, definitions)
  ])
}

const fieldTable = (fields: Readonly<Record<string, Schema.Top>>): string => {
  const { definitions, node } = documentOf(Schema.Struct(fields))
  const rows = Object.entries(fields).flatMap(([name, schema]): ReadonlyArray<Row> => {
    const field = node.properties?.[name] ?? {}
    const description = Schema.resolveAnnotationsKey(schema)?.description ?? field.description
    const optional = node.required?.includes(name) === true ? "" : ", may be missing"
    return [
      [`\`${name}\``, typeOf(field, definitions) + optional, meaningOf(name, description)],
      ...innerRows(name, field, definitions)
    ]
  })
  return table(["field", "type", "meaning"], rows)
}

const stateTable = (): string => {
  const { definitions, node } = documentOf(DeviceState)
  const states = resolve(node, definitions).anyOf ?? []
  return table(
    ["`state._tag`", "other fields of `state`"],
    states.map((state) => {
      const { _tag, ...rest } = resolve(state, definitions).properties ?? {}
      const fields = Object.entries(rest).map(([name, field]) => `\`${name}\` (${typeOf(field, definitions)})`)
      return [_tag === undefined ? "" : typeOf(_tag, definitions), fields.join(", ") || "none"]
    })
  )
}

const dataOf = (entry: Entry): ReadonlyArray<string> => {
  if (!("fields" in entry.data)) return ["Columba does not define the fields of `data`."]
  return nameOf(entry) === "device.state"
    ? [
      fieldTable(entry.data.fields),
      "The states, which [device lifecycle](device-lifecycle.md) explains:",
      stateTable()
    ]
    : [fieldTable(entry.data.fields)]
}

/** The anchor of a kind's heading, as GitHub names it. */
const anchorOf = (name: string): string => name.replaceAll(/[.<>]/g, "")

export const kinds = (): string =>
  table(
    ["kind", "what happened"],
    eventKinds.map((entry) => [
      `[\`${nameOf(entry)}\`](events.md#${anchorOf(nameOf(entry))})`,
      cell(entry.sentence)
    ])
  )

export const envelope = (): string => fieldTable(eventFields)

export const catalogue = (): string =>
  eventKinds.map((entry) =>
    [
      `## \`${nameOf(entry)}\``,
      entry.sentence,
      ...dataOf(entry),
      `\`\`\`json\n${JSON.stringify(entry.example, null, 2)}\n\`\`\``
    ].join("\n\n")
  ).join("\n\n")
