/**
 * How one operation of the API is declared. The declaration determines its HTTP endpoint, its RPC, the type of its
 * handler and the client's call, so that the four cannot differ.
 *
 * A request has one flat payload. Over RPC it is sent as it is. Over HTTP each field is sent in the path, the query or
 * the body, as declared, and the server joins them again.
 */
import { Context, Schema, String } from "effect"
import type { Effect } from "effect"
import { HttpApiEndpoint, OpenApi } from "effect/http-api"
import type { HttpRouter } from "effect/http"
import { Rpc } from "effect/rpc"
import { RequiredReach, RequiredScope } from "./Authorization.ts"
import type { CurrentCaller, Reach, Scope, VisibleDevices } from "./Authorization.ts"
import { withExamples } from "./openApi.ts"

/** The prefix of all paths of the API. */
export const apiPrefix = "/api/v1"

type Fields = Schema.Struct.Fields

/** Failures are tagged errors: each has its own status, and none is a stream. */
type Failures = ReadonlyArray<Schema.Codec<{ readonly _tag: string; readonly message: string }, unknown>>

/** The annotations of an endpoint for authorization and the documents. */
interface Described<R extends Reach> {
  readonly scope: Scope
  /** The meaning of the operation for a key that is limited to some devices. */
  readonly reach: R
  /** A few words, for a list of operations. */
  readonly summary: string
  /** What a caller should know before the call. */
  readonly description: string
}

/** The declarations of every operation, wherever its fields are sent. */
interface Common<Success extends Schema.Top, Errors extends Failures, R extends Reach> extends Described<R> {
  readonly success: Success
  /** A typical answer in its wire form. */
  readonly example: Success["Encoded"]
  readonly errors: Errors
  /**
   * Fields whose values the audit trail records, in addition to the names of all fields in the request. Never fields
   * that may be secret.
   */
  readonly audited?: ReadonlyArray<string>
}

interface WithoutBody<Params extends Fields, Query extends Fields> {
  readonly params?: Params
  readonly query?: Query
}

interface WithBody<Params extends Fields, Body extends Fields, Headers extends Fields> {
  readonly params?: Params
  /** Over HTTP, `idempotencyKey` is sent as the header `idempotency-key`. */
  readonly headers?: Headers
  readonly body: Body
  /** A typical body. */
  readonly bodyExample: Schema.Struct<Body>["Encoded"]
}

/** The fields of one place; empty if the place is not used. */
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
  /** The fields that HTTP sends in headers, by the header's name. */
  readonly headers: Readonly<Record<string, string>>
  readonly endpoint: Endpoint
  readonly rpc: Rpc.Rpc<`${Group}.${Name}`, Schema.Struct<Payload>, Success, Schema.Union<Errors>>
}

/** Any operation, for code that needs only its parts. */
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
 * The implementation of an operation. An operation that reads devices also gets the devices that its caller may see,
 * and must read no others.
 */
export type Handler<Op extends Any> = (
  ...args: Op["reach"] extends "device" | "filter" ? [payload: Rpc.Payload<Op["rpc"]>, visible: VisibleDevices]
    : [payload: Rpc.Payload<Op["rpc"]>]
) => Effect.Effect<Rpc.Success<Op["rpc"]>, Rpc.Error<Op["rpc"]>, CurrentCaller>

/** One handler per operation, by name. */
export type Handlers<Op extends Any> = { readonly [Each in Op as Each["name"]]: Handler<Each> }

/** Reads: fields are sent in the path and the query. */
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

/** Commands without a body: all fields are sent in the path and in headers. */
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
 * Fields are sent in the body, and ids in the path. The payloads that an endpoint accepts depend on its method, which
 * cannot be resolved for a type parameter: both methods used here accept any.
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

/** Changes something: the path names it, the body holds the changes. */
export const patch = withBody("PATCH")

/**
 * The framework bans streams among errors by a conditional type that cannot be resolved for a type parameter. `Failures`
 * keeps them out already. The endpoint's own types are unaffected: they come from the explicit type arguments.
 */
const declared = (errors: Failures): never => errors as never

const nameHeader = (field: string): string => field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/** The headers matter only to the server's decoding, so they are not part of the endpoint's types. */
const declareHeaders = (fields: Fields | undefined): { readonly headers?: never } => {
  if (fields === undefined) return {}
  const named = Object.entries(fields).map(([field, schema]) => [nameHeader(field), schema])
  return { headers: Schema.Struct(Object.fromEntries(named) as Fields) as never }
}

/** The annotations of an endpoint and an RPC besides their schemas, for authorization and the documents. */
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
