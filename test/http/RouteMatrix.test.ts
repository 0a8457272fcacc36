/**
 * Every route and every RPC, with every scope, for keys with and without a list of devices, on objects of their own device and
 * of another one. The routes come from the served OpenAPI document, and the RPCs from their group, so that new ones are
 * included. The expected answer follows from the scope and the reach that an operation declares.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { HttpRouter } from "effect/http"
import { OpenApi } from "effect/http-api"
import { Api } from "../../src/contracts/Api.ts"
import { RequiredReach, RequiredScope, Scope } from "../../src/contracts/Authorization.ts"
import type { Reach } from "../../src/contracts/Authorization.ts"
import { ColumbaRpcs } from "../../src/contracts/ColumbaRpcs.ts"
import type { ApiKeyId } from "../../src/domain/ApiKey.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import * as AuthorizationHttp from "../../src/http/AuthorizationHttp.ts"
import { CallerSockets } from "../../src/http/CallerSockets.ts"
import { Draining } from "../../src/http/Draining.ts"
import { OpenStreams } from "../../src/http/OpenStreams.ts"
import { Routes } from "../../src/http/Routes.ts"
import { ApiKeyRepository } from "../../src/services/ApiKeyRepository.ts"
import { digestKey, makeKeyText } from "../../src/services/apiKeyText.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { KeyDirectory } from "../../src/services/KeyDirectory.ts"
import { WebAssets } from "../../src/services/WebAssets.ts"
import { ScriptedSending } from "../support/scriptedSending.ts"
import { ask, makeScript, messageDraft, services, startServer } from "../support/surface.ts"
import type { Json } from "../support/surface.ts"

/** Documented, and authorized by the signature of the post and not by a key. */
const signed = new Set(["webhooks.receive"])

/** Need no key, or are tested below: each has separate tests. */
const otherRoutes: ReadonlyArray<string> = [
  "GET /",
  "GET /docs",
  "GET /assets/*",
  "GET /openapi.json",
  "GET /healthz",
  "GET /readyz",
  "GET /metrics",
  "POST /rpc",
  "GET /rpc/ws"
]

/** Bodies whose examples are unusable here: these name a host that would be looked up. */
const bodies: Readonly<Record<string, object>> = {
  "subscriptions.create": { url: "http://127.0.0.1:9/" },
  "subscriptions.edit": { name: "changed" }
}

const required = (annotations: Context.Context<never>) => ({
  scope: Context.getUnsafe(annotations as never, RequiredScope) as Scope,
  reach: Context.getUnsafe(annotations as never, RequiredReach) as Reach
})

/** The values in paths and payloads, of one device or of none. */
interface Objects {
  readonly device: string
  readonly message: string
  readonly schedule: string
  readonly subscription: string
}

const unknown: Objects = {
  device: `dev_${"9".repeat(26)}`,
  message: `msg_${"9".repeat(26)}`,
  schedule: `sch_${"9".repeat(26)}`,
  subscription: `sub_${"9".repeat(26)}`
}

const idOf = (path: string, of: Objects): string =>
  path.includes("/messages/") ?
    of.message
    : path.includes("/schedules/") ?
    of.schedule
    : path.includes("/subscriptions/") ?
    of.subscription
    : path.includes("/keys/") ?
    `key_${"9".repeat(26)}`
    : of.device

interface Answer {
  /** The tag of the failure; null for a success. */
  readonly tag: string | null
  readonly text: string
}

/** One way to call one operation. */
interface Target {
  readonly name: string
  readonly scope: Scope
  readonly reach: Reach
  /** Whether it names something that belongs to a device. */
  readonly named: boolean
  readonly call: (key: Record<string, string>, of: Objects) => Effect.Effect<Answer>
}

const byBearer = (key: string) => ({ authorization: `Bearer ${key}` })
const byHeader = (key: string) => ({ "x-api-key": key })

const httpTargets = (url: string, document: Json): ReadonlyArray<Target> => {
  const declared = new Map<string, ReturnType<typeof required>>(
    Object.values(Api.groups).flatMap((group) =>
      Object.values(group.endpoints).map((endpoint) =>
        [
          `${group.identifier}.${endpoint.identifier}`,
          required(endpoint.annotations as never)
        ] as const
      )
    )
  )
  return routesOf(document).filter(({ id }) => !signed.has(id)).map(({ body, id, method, path }): Target => {
    const needs = declared.get(id)
    if (needs === undefined) throw new Error(`${method} ${path} is documented and declares no scope`)
    return {
      name: `${method} ${path}`,
      ...needs,
      named: path.includes("{id}") && !path.includes("/keys/"),
      call: (key, of) =>
        ask(url + fill(path, of), {
          method,
          ...(body === undefined ? {} : { json: body }),
          headers: { ...key, ...(body === undefined ? {} : { "content-type": "application/json" }) }
        }).pipe(Effect.map(({ body: answer, status }) => ({
          tag: status < 400 ? null : String(answer._tag ?? status),
          text: JSON.stringify(answer)
        })))
    }
  }).concat({
    name: "GET /metrics",
    scope: "read",
    reach: "fleet",
    named: false,
    call: (key) =>
      Effect.map(ask(`${url}/metrics`, { headers: key }), ({ body, status }) => ({
        tag: status < 400 ? null : body._tag,
        text: JSON.stringify(body)
      }))
  })
}

const fill = (path: string, of: Objects): string =>
  path.replace("{id}", idOf(path, of)).replace("{name}", "default").replace("{chat}", "62811@s.whatsapp.net")

interface Route {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly body: Json
}

const routesOf = (document: Json): ReadonlyArray<Route> =>
  Object.entries<Json>(document.paths).flatMap(([path, methods]) =>
    Object.entries<Json>(methods).map(([method, { operationId: id, requestBody }]) => ({
      id,
      method: method.toUpperCase(),
      path,
      body: bodies[id] ?? requestBody?.content?.["application/json"]?.example
    }))
  )

/** Of the streams, which have no separate route. */
const streams: Readonly<Record<string, (of: Objects) => unknown>> = {
  WatchDevices: () => null,
  Events: () => ({ after: "0" }),
  Login: ({ device }) => ({ id: device, method: "qr" })
}

const rpcTargets = (url: string, document: Json): ReadonlyArray<Target> => {
  const routes = new Map(routesOf(document).map((route) => [route.id.toLowerCase(), route]))
  return [...ColumbaRpcs.requests.values()].map((rpc): Target => {
    const route = routes.get(rpc._tag.toLowerCase())
    if (route === undefined && streams[rpc._tag] === undefined) throw new Error(`${rpc._tag} has no payload here`)
    const path = route?.path ?? ""
    const payload = streams[rpc._tag] ?? ((of: Objects) => ({
      ...(path.includes("{id}") ? { id: idOf(path, of) } : {}),
      ...(path.includes("{name}") ? { name: "default" } : {}),
      ...(path.includes("{chat}") ? { chat: "62811@s.whatsapp.net" } : {}),
      ...route?.body
    }))
    return {
      name: rpc._tag,
      ...required(rpc.annotations),
      named: rpc._tag === "Login" || (path.includes("{id}") && !path.includes("/keys/")),
      call: (key, of) => callRpc(url, rpc._tag, payload(of), key)
    }
  })
}

/** One request over `/rpc`, and the first answer to it. Streams are cut off after that. */
const callRpc = (url: string, tag: string, payload: unknown, headers: Record<string, string>) =>
  Effect.promise(async (): Promise<Answer> => {
    const abort = new AbortController()
    const response = await fetch(`${url}/rpc`, {
      method: "POST",
      signal: abort.signal,
      headers: { "content-type": "application/x-ndjson", ...headers },
      body: `${JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [] })}\n`
    })
    const reader = response.body!.getReader()
    let text = ""
    while (!text.includes("\n")) {
      const { done, value } = await reader.read()
      if (done) break
      text += new TextDecoder().decode(value)
    }
    abort.abort()
    const line = text.split("\n", 1)[0]!
    const cause: Json = JSON.parse(line).exit?.cause?.[0]
    return { tag: cause === undefined ? null : cause.error?._tag ?? cause._tag, text: line }
  })

interface Keys {
  readonly unlimited: string
  readonly limited: string
}

const setUp = Effect.gen(function*() {
  const all = [...Scope.literals]
  const script = makeScript()
  Object.assign(script.gateway, { send: new ScriptedSending() })
  const { services: running, url } = yield* startServer({ script, keys: [["root", all, "root-key"]] })
  const root = (path: string, json?: unknown) =>
    Effect.map(
      ask(`${url}/api/v1${path}`, {
        headers: byBearer("root-key"),
        ...(json === undefined ? {} : { method: "POST", json })
      }),
      ({ body, status }) => {
        assert.isBelow(status, 300, `${path} ${JSON.stringify(body)}`)
        return body
      }
    )
  const document = (yield* ask(`${url}/openapi.json`)).body
  const log = Context.get(running, EventLog)
  const makeObjects = Effect.fnUntraced(function*(name: string, number: number) {
    const { id: device } = yield* root("/devices", { name })
    yield* log.append([messageDraft(device as DeviceId, number)])
    const { items: [{ id: message }] } = yield* root(`/messages?device=${device}`)
    const { id: schedule } = yield* root("/schedules", {
      device,
      message: { to: "6281298765432", text: "hello" },
      cron: "0 9 * * *",
      zone: "UTC"
    })
    const { id: subscription } = yield* root("/subscriptions", { url: "http://127.0.0.1:9/", devices: [device] })
    return { device, message, schedule, subscription } satisfies Objects
  })
  const mine = yield* makeObjects("mine", 1)
  const other = yield* makeObjects("other", 2)
  const make = (name: string, scopes: ReadonlyArray<Scope>, devices?: ReadonlyArray<string>) =>
    Effect.map(
      root("/keys", { name, scopes, requestsPerSecond: 1000, ...(devices === undefined ? {} : { devices }) }),
      ({ id, key }: Json) => ({ id, key } as { readonly id: string; readonly key: string })
    )
  const keys = new Map<Scope, Keys>()
  for (const scope of all) {
    const { key: unlimited } = yield* make(`only-${scope}`, [scope])
    const { key: limited } = yield* make(`only-${scope}-mine`, [scope], [mine.device])
    keys.set(scope, { unlimited, limited })
  }
  const revoked = yield* make("revoked", all)
  yield* ask(`${url}/api/v1/keys/${revoked.id}`, { method: "DELETE", headers: byBearer("root-key") })
  const expiredId = `key_${"7".repeat(26)}` as ApiKeyId
  const expired = Redacted.value(makeKeyText(expiredId))
  yield* Context.get(running, ApiKeyRepository).insert({
    id: expiredId,
    name: "expired",
    digest: digestKey(expired),
    scopes: all,
    devices: null,
    requestsPerSecond: null,
    createdBy: "root",
    expiresAt: "2020-01-01T00:00:00.000Z"
  })
  yield* Context.get(running, KeyDirectory).refresh
  const { key: everything } = yield* make("everything-mine", all, [mine.device])
  /** The state of the other device, as a caller sees it who may see all. */
  const others = Effect.all([
    root(`/devices/${other.device}`),
    root(`/messages?device=${other.device}`),
    root(`/schedules/${other.schedule}`),
    root(`/subscriptions/${other.subscription}`)
  ]).pipe(Effect.map((seen) => JSON.stringify(seen).replace(/"behind":\d+/, "")))
  return { url, document, mine, other, others, keys, everything, bad: { revoked: revoked.key, expired } }
})

type World = Effect.Success<typeof setUp>

/** Nobody has access without a valid key, by either header. */
const refusesStrangers = Effect.fnUntraced(function*({ bad, mine }: World, { call, name }: Target) {
  assert.strictEqual((yield* call({}, mine)).tag, "Unauthorized", name)
  for (const key of ["root-ke", bad.revoked, bad.expired]) {
    for (const headers of [byBearer(key), byHeader(key)]) {
      const { tag, text } = yield* call(headers, mine)
      assert.include(["Unauthorized", "TooManyRequests"], tag, name)
      assert.notInclude(text, key, name)
    }
  }
})

/** A key without the scope is refused alike on its own, another and no device, so it learns nothing. */
const refusesOtherScopes = Effect.fnUntraced(function*({ keys, mine, other }: World, target: Target) {
  for (const [scope, { limited, unlimited }] of keys) {
    if (scope === target.scope) continue
    for (const [key, headers] of [[unlimited, byHeader], [limited, byBearer]] as const) {
      const answers = yield* Effect.forEach([mine, other, unknown], (of) => target.call(headers(key), of))
      assert.deepStrictEqual(answers.map(({ tag }) => tag), ["Forbidden", "Forbidden", "Forbidden"], target.name)
      assert.lengthOf(new Set(answers.map(({ text }) => text)), 1, target.name)
      assert.include(answers[0]!.text, `"required":"${target.scope}"`, target.name)
    }
  }
})

const withoutIds = (text: string): string => text.replaceAll(/(dev|msg|sch|sub)_[0-9A-Z]{26}/g, "id")

/** A key that is limited to some devices finds nothing of another one, even with all scopes. */
const hidesOtherDevices = Effect.fnUntraced(function*({ everything, keys, mine, other }: World, target: Target) {
  for (const key of [everything, keys.get(target.scope)!.limited]) {
    if (target.reach === "fleet") {
      const { tag, text } = yield* target.call(byBearer(key), mine)
      assert.deepStrictEqual([tag, text.includes("limited")], ["Forbidden", true], target.name)
      continue
    }
    if (target.named) {
      const [of, missing] = yield* Effect.forEach([other, unknown], (one) => target.call(byBearer(key), one))
      assert.match(of!.tag ?? "success", /NotFound$/, target.name)
      assert.strictEqual(withoutIds(of!.text), withoutIds(missing!.text), target.name)
      continue
    }
    const { tag, text } = yield* target.call(byBearer(key), mine)
    assert.notInclude(["Unauthorized", "Forbidden"], tag, target.name)
    for (const id of Object.values(other)) assert.notInclude(text, id, target.name)
  }
})

/** A key with the scope has access: it then gets the operation's own answer. */
const lets = Effect.fnUntraced(function*({ keys, mine }: World, target: Target) {
  const { limited, unlimited } = keys.get(target.scope)!
  const callers = target.reach === "fleet" ? [unlimited] : [limited, unlimited]
  for (const key of callers) {
    const { tag } = yield* target.call(byHeader(key), mine)
    assert.notInclude(["Unauthorized", "Forbidden", "TooManyRequests", "Die", "InternalError"], tag, target.name)
  }
})

const checkAll = (targetsOf: (url: string, document: Json) => ReadonlyArray<Target>) =>
  Effect.gen(function*() {
    const world = yield* setUp
    const targets = targetsOf(world.url, world.document)
    assert.isAbove(targets.length, 60)
    const before = yield* world.others
    for (const target of targets) {
      yield* refusesStrangers(world, target)
      yield* refusesOtherScopes(world, target)
      yield* hidesOtherDevices(world, target)
    }
    // No refused call has changed anything.
    assert.strictEqual(yield* world.others, before)
    for (const target of targets) yield* lets(world, target)
  })

describe("every route × method × scope × device", () => {
  it.live("over HTTP, as the document lists them", () => checkAll(httpTargets))

  it.live("over RPC, as the group lists them", () => checkAll(rpcTargets))

  it.effect("documents every route, and so tests it above, except for the few that are listed here", () =>
    Effect.gen(function*() {
      const added = new Set<string>()
      const note = (method: string, path: string) => added.add(`${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`)
      const router = yield* HttpRouter.make
      const recording = HttpRouter.HttpRouter.of({
        ...router,
        add: (method, path, handler, options) => {
          note(method, path)
          return router.add(method, path, handler, options)
        },
        addAll: (routes) => {
          for (const { method, path } of routes) note(method, path)
          return router.addAll(routes)
        }
      })
      yield* Layer.build(
        Layer.provide(Routes, [
          Layer.succeed(HttpRouter.HttpRouter, recording),
          AuthorizationHttp.Authorizer.layer,
          Draining.layer,
          OpenStreams.layer,
          CallerSockets.layer
        ]).pipe(
          Layer.provide([Layer.succeed(WebAssets, new Map()), NodeHttpServer.layerHttpServices]),
          Layer.provide(services({ keys: [["root", [...Scope.literals], "root-key"]] }))
        )
      )
      const documented = routesOf(OpenApi.fromApi(Api)).map(({ method, path }) => `${method} ${path}`)
      assert.isAbove(documented.length, 60)
      assert.sameMembers([...added], [...new Set([...documented, ...otherRoutes])])
    }))

  it.live("accepts on no path a method that the document does not list for it", () =>
    Effect.gen(function*() {
      const { document, mine, url } = yield* setUp
      for (const [path, methods] of Object.entries<Json>(document.paths)) {
        for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) {
          if (methods[method.toLowerCase()] !== undefined) continue
          const { body, headers, status } = yield* ask(url + fill(path, mine), {
            method,
            headers: byBearer("root-key")
          })
          assert.deepStrictEqual([status, body._tag], [405, "MethodNotAllowed"], `${method} ${path}`)
          assert.sameMembers(
            headers.get("allow")!.split(", "),
            Object.keys(methods).map((one) => one.toUpperCase()),
            `${method} ${path}`
          )
        }
      }
    }))
})
