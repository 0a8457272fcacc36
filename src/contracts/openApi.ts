/**
 * Completes what the generator of the OpenAPI document leaves out: component names without the suffix of its codecs, a
 * discriminator for events, numbers of a query as numbers, and descriptions and examples where readers look for them.
 * Applied to the generated document as a whole, and to each operation for its examples.
 */
import * as examples from "./examples.ts"
import { pageLimitDefault, pageLimitMax } from "./Paging.ts"
import { webhookPaths, webhookSchemas, webhookTag } from "./webhookDocument.ts"

interface Node {
  readonly [key: string]: unknown
}

interface Parameter {
  readonly name: string
  readonly schema: Node
}

interface OperationNode extends Node {
  readonly parameters: ReadonlyArray<Parameter>
}

interface Document extends Node {
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationNode>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Node>> }
  readonly tags: ReadonlyArray<Node>
}

/** Gives an operation the examples of its table entry. */
export const withExamples = (answer: unknown, body?: unknown) => (operation: Node): Node => ({
  ...operation,
  responses: mapValues(
    operation["responses"] as Node,
    (response, status) => status.startsWith("2") ? withExample(response as Node, answer) : response
  ),
  ...(body === undefined ? {} : { requestBody: withExample(operation["requestBody"] as Node, body) })
})

/** An answer without content has no example. */
const withExample = (described: Node, example: unknown): Node =>
  described["content"] === undefined ? described : {
    ...described,
    content: mapValues(described["content"] as Node, (media, type) =>
      type === "application/json" ? { ...media as Node, example } : media)
  }

/** Completes the generated document, and adds the endpoints that are not in the table of operations. */
export const complete = (generated: Node): Node => {
  const document = renameComponents(generated) as Document
  const paths = mapValues(document.paths, (operations, path) =>
    mapValues(operations, (operation) => ({
      ...operation,
      parameters: operation.parameters.map((parameter) => describeParameter(parameter, path))
    })))
  return {
    ...document,
    paths: { ...paths, ...webhookPaths },
    components: {
      ...document.components,
      schemas: { ...splitEvents(document.components.schemas), ...webhookSchemas }
    },
    tags: [...document.tags, webhookTag]
  }
}

/**
 * The generator names the wire form of `Device` either that or `DeviceEncoded`; the document has only the wire form.
 */
const renameComponents = (document: Node): unknown => {
  const text = JSON.stringify(document)
    .replaceAll(/"#\/components\/schemas\/(\w+)Encoded"/g, "\"#/components/schemas/$1\"")
  const renamed = JSON.parse(text) as Document
  const schemas = Object.entries(renamed.components.schemas).map(([name, schema]) =>
    [name.replace(/Encoded$/, ""), schema] as const
  )
  return { ...renamed, components: { ...renamed.components, schemas: Object.fromEntries(schemas) } }
}

/** In a query a number is text to the codec that reads it; to a caller it is a number. */
const pageLimit = {
  schema: { type: "integer", minimum: 1, maximum: pageLimitMax, default: pageLimitDefault },
  description: "Maximum number of items in a page"
}

const describeParameter = (parameter: Parameter, path: string): Node => {
  const { schema, ...rest } = parameter
  const { description, ...bare } = schema
  const example = examples.parameters(path)[parameter.name]
  return parameter.name === "limit"
    ? { ...rest, ...pageLimit, example }
    : { ...rest, description, schema: bare, example }
}

/** One component per kind, so that a generator makes a distinct type of each. */
const splitEvents = (schemas: Readonly<Record<string, Node>>): Node => {
  const { anyOf, ...event } = schemas["Event"] as { readonly anyOf: ReadonlyArray<Node> }
  const members = anyOf.map((member) => {
    const [kind] = ((member["properties"] as Node)["kind"] as { readonly enum?: ReadonlyArray<string> }).enum ?? []
    return { kind, name: kind === undefined ? "GatewayEvent" : `${pascalCase(kind)}Event`, member }
  })
  const known = members.flatMap(({ kind, name }) => kind === undefined ? [] : [[kind, reference(name)] as const])
  return {
    ...schemas,
    ...Object.fromEntries(members.map(({ member, name }) => [name, member])),
    Event: {
      ...event,
      oneOf: members.map(({ name }) => ({ $ref: reference(name) })),
      discriminator: { propertyName: "kind", mapping: Object.fromEntries(known) }
    }
  }
}

const reference = (name: string): string => `#/components/schemas/${name}`

const pascalCase = (kind: string): string =>
  kind.split(".").map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("")

const mapValues = <A, B>(
  record: Readonly<Record<string, A>>,
  change: (value: A, key: string) => B
): Readonly<Record<string, B>> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]))
