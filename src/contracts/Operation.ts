/**
 * How one operation of the API is declared. From a declaration follow its HTTP endpoint, its RPC, the type of its
 * handler and the client's call, so that the four cannot differ.
 *
 * A request has one flat payload. Over RPC it travels as it is. Over HTTP each field travels in the path, the query or
 * the body, as the declaration says, and the server joins them again.
 */
import { Context, Schema, String } from "effect"
import type { Effect } from "effect"
import { HttpApiEndpoint, OpenApi } from "effect/http-api"
import type { HttpRouter } from "effect/http"
import { Rpc } from "effect/rpc"
import { RequiredReach, RequiredScope } from "./Authorization.ts"
import type { CurrentCaller, Reach, Scope, VisibleDevices } from "./Authorization.ts"
import { withExamples } from "./openApi.ts"

/** Under what all paths of the API lie. */
export const apiPrefix = "/api/v1"

type Fields = Schema.Struct.Fields

/** Failures are tagged errors: each names its own status, and none is a stream. */
type Failures = ReadonlyArray<Schema.Codec<{ readonly _tag: string; readonly message: string }, unknown>>

/** What authorization and the documents say of an endpoint. */
interface Described<R extends Reach> {
  readonly scope: Scope
  /** What the operation means for a key that is limited to some devices. */
  readonly reach: R
  /** A few words, for a list of operations. */
  readonly summary: string
  /** What a caller should know before the call. */
  readonly description: string
}

/** What every operation declares, wherever its fields travel. */
interface Common<Success extends Schema.Top, Errors extends Failures, R extends Reach> extends Described<R> {
  readonly success: Success
  /** A typical answer, as it travels. */
  readonly example: Success["Encoded"]
  readonly errors: Errors
  /** Fields whose values the audit trail holds, besides the names of all that were given. Never what may be secret. */
  readonly audited?: ReadonlyArray<string>
}

interface WithoutBody<Params extends Fields, Query extends Fields> {
  readonly params?: Params
  readonly query?: Query
}

interface WithBody<Params extends Fields, Body extends Fields, Headers extends Fields> {
  readonly params?: Params
  /** `idempotencyKey` travels over HTTP as the header `idempotency-key`. */
  readonly headers?: Headers
  readonly body: Body
  /** A typical body. */
  readonly bodyExample: Schema.Struct<Body>["Encoded"]
}

/** The fields of one place; a place that is not used has none. */
type Part<F extends Fields> = [F] extends [never] ? {} : F

export interface Operation<
  Group extends string,
  Name extends string,
  Endpoint,
  Payload extends Fields,
  Success extends Schema.Top,
  Errors extends Failures,
  R extends Reach
> {
  /** `Devices.Create`: the tag of the RPC; over HTTP the endpoint `create` of the group `devices`. */
  readonly name: `${Group}.${Name}`
  readonly group: Uncapitalize<Group>
  readonly scope: Scope
  readonly reach: R
  readonly audited: ReadonlyArray<string>
  readonly example: Success["Encoded"]
  /** The fields that travel over HTTP in headers, by the header's name. */
  readonly headers: Readonly<Record<string, string>>
  readonly endpoint: Endpoint
  readonly rpc: Rpc.Rpc<`${Group}.${Name}`, Schema.Struct<Payload>, Success, Schema.Union<Errors>>
}

/** Any operation, where only its parts count. */
export interface Any {
  readonly name: string
  readonly group: string
  readonly scope: Scope
  readonly reach: Reach
  readonly audited: ReadonlyArray<string>
  readonly headers: Readonly<Record<string, string>>
  readonly endpoint: HttpApiEndpoint.Constraint
  readonly rpc: Rpc.Any
}

/**
 * What implements an operation. One that reads devices is also given the devices that its caller may see, and must look
 * at no others.
 */
export type Handler<Op extends Any> = (
  ...args: Op["reach"] extends "device" | "filter" ? [payload: Rpc.Payload<Op["rpc"]>, visible: VisibleDevices]
    : [payload: Rpc.Payload<Op["rpc"]>]
) => Effect.Effect<Rpc.Success<Op["rpc"]>, Rpc.Error<Op["rpc"]>, CurrentCaller>

/** One handler per operation, by name. */
export type Handlers<Op extends Any> = { readonly [Each in Op as Each["name"]]: Handler<Each> }

/** Reads: fields travel in the path and the query. */
export const get = <
  const Group extends string,
  const Name extends string,
  const Path extends HttpRouter.PathInput,
  Success extends Schema.Top,
  const Errors extends Failures,
  const R extends Reach,
  Params extends Fields = never,
  Query extends Fields = never
>(
  group: Group,
  name: Name,
  path: Path,
  options: WithoutBody<Params, Query> & Common<Success, Errors, R>
) =>
  declare(
    group,
    name,
    options,
    HttpApiEndpoint.get<Uncapitalize<Name>, Path, Params, Query, never, never, Success, Errors>(
      String.uncapitalize(name),
      path,
      { params: options.params, query: options.query, success: options.success, error: declared(options.errors) }
    ).annotateMerge(annotate(options)),
    { ...options.params, ...options.query } as Part<Params> & Part<Query>
  )

/** Commands without a body: all fields travel in the path and in headers. */
const command = <const Method extends "POST" | "DELETE">(method: Method) =>
<
  const Group extends string,
  const Name extends string,
  const Path extends HttpRouter.PathInput,
  Success extends Schema.Top,
  const Errors extends Failures,
  const R extends Reach,
  Params extends Fields = never,
  Headers extends Fields = never
>(
  group: Group,
  name: Name,
  path: Path,
  options: { readonly params?: Params; readonly headers?: Headers } & Common<Success, Errors, R>
) =>
  declare(
    group,
    name,
    options,
    HttpApiEndpoint.make(method)<Uncapitalize<Name>, Path, Params, never, never, never, Success, Errors>(
      String.uncapitalize(name),
      path,
      {
        params: options.params,
        ...declareHeaders(options.headers),
        success: options.success,
        error: declared(options.errors)
      }
    ).annotateMerge(annotate(options)),
    { ...options.params, ...options.headers } as Part<Params> & Part<Headers>,
    options.headers
  )

export const act = command("POST")
export const remove = command("DELETE")

/**
 * Fields travel in the body, and what names the thing in the path. Which payloads an endpoint takes depends on its
 * method, and that cannot be resolved for a type parameter: both of ours take any.
 */
const withBody = <const Method extends "POST" | "PATCH">(method: Method) =>
<
  const Group extends string,
  const Name extends string,
  const Path extends HttpRouter.PathInput,
  Success extends Schema.Top,
  const Errors extends Failures,
  const R extends Reach,
  Body extends Fields,
  Params extends Fields = never,
  Headers extends Fields = never
>(
  group: Group,
  name: Name,
  path: Path,
  options: WithBody<Params, Body, Headers> & Common<Success, Errors, R>
) =>
  declare(
    group,
    name,
    options,
    HttpApiEndpoint.make(method)<
      Uncapitalize<Name>,
      Path,
      Params,
      never,
      Extract<Schema.Struct<Body>, HttpApiEndpoint.PayloadConstraintCodecs<Method>>,
      never,
      Success,
      Errors
    >(
      String.uncapitalize(name),
      path,
      {
        params: options.params,
        payload: Schema.Struct(options.body) as never,
        ...declareHeaders(options.headers),
        success: options.success,
        error: declared(options.errors)
      }
    ).annotateMerge(annotate(options)),
    { ...options.params, ...options.body, ...options.headers } as Part<Params> & Body & Part<Headers>,
    options.headers
  )

/** Creates something. */
export const post = withBody("POST")

/** Changes something: the path names it, the body holds what is to be different. */
export const patch = withBody("PATCH")

/**
 * The framework bans streams among errors by a conditional type that cannot be resolved for a type parameter. `Failures`
 * keeps them out already. The endpoint's own types are unaffected: they come from the explicit type arguments.
 */
const declared = (errors: Failures): never => errors as never

const nameHeader = (field: string): string => field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/** Only what the server reads of a request, so the endpoint's own types do without. */
const declareHeaders = (fields: Fields | undefined): { readonly headers?: never } => {
  if (fields === undefined) return {}
  const named = Object.entries(fields).map(([field, schema]) => [nameHeader(field), schema])
  return { headers: Schema.Struct(Object.fromEntries(named) as Fields) as never }
}

/** What is written at an endpoint and an RPC besides their schemas. Authorization and the documents read it there. */
export const annotate = (options: Described<Reach> & { readonly example?: unknown; readonly bodyExample?: unknown }) =>
  Context.make(RequiredScope, options.scope).pipe(
    Context.add(RequiredReach, options.reach),
    Context.merge(OpenApi.annotations({
      summary: options.summary,
      description: options.description,
      transform: withExamples(options.example, options.bodyExample)
    }))
  )

const declare = <
  const Group extends string,
  const Name extends string,
  Endpoint,
  Payload extends Fields,
  Success extends Schema.Top,
  const Errors extends Failures,
  const R extends Reach
>(
  group: Group,
  name: Name,
  options: Common<Success, Errors, R>,
  endpoint: Endpoint,
  payload: Payload,
  headers: Fields = {}
): Operation<Group, Name, Endpoint, Payload, Success, Errors, R> => {
  const tag = `${group}.${name}` as const
  return {
    name: tag,
    group: String.uncapitalize(group),
    scope: options.scope,
    reach: options.reach,
    audited: options.audited ?? [],
    example: options.example,
    headers: Object.fromEntries(Object.keys(headers).map((field) => [nameHeader(field), field])),
    endpoint,
    rpc: Rpc.make(tag, { success: options.success, error: Schema.Union(options.errors) })
      .setPayload(Schema.Struct(payload))
      .annotateMerge(annotate(options))
  }
}
