/** Rules for every entry of the table, over both transports. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Schema } from "effect"
import { OpenApi } from "effect/http-api"
import { Api } from "../../src/contracts/Api.ts"
import { HttpAuthorization, RequiredReach, RequiredScope, RpcAuthorization } from "../../src/contracts/Authorization.ts"
import { ColumbaRpcs } from "../../src/contracts/ColumbaRpcs.ts"
import { operations } from "../../src/contracts/Operations.ts"
import { DeviceNotFound } from "../../src/domain/DeviceErrors.ts"

const readScope = (annotations: Context.Context<never>) => Context.getOrUndefined(annotations, RequiredScope)
const readReach = (annotations: Context.Context<never>) => Context.getOrUndefined(annotations, RequiredReach)

const endpoints = Object.values(Api.groups).flatMap((group) =>
  Object.values(group.endpoints).map((endpoint) => ({ group: group.identifier, endpoint }))
)

describe("operations", () => {
  for (const { endpoint, group } of endpoints) {
    it(`HTTP ${group}.${endpoint.identifier} declares who may call it, is guarded and is described`, () => {
      assert.isDefined(readScope(endpoint.annotations))
      assert.isDefined(readReach(endpoint.annotations))
      assert.isTrue(new Set<unknown>(endpoint.middlewares).has(HttpAuthorization))
      // A key that may only read changes nothing.
      if (endpoint.method !== "GET") assert.notStrictEqual(readScope(endpoint.annotations), "read")
      assert.isDefined(Context.getOrUndefined(endpoint.annotations, OpenApi.Summary))
      assert.isDefined(Context.getOrUndefined(endpoint.annotations, OpenApi.Description))
    })
  }

  for (const rpc of ColumbaRpcs.requests.values()) {
    it(`RPC ${rpc._tag} declares who may call it and is guarded`, () => {
      assert.isDefined(readScope(rpc.annotations))
      assert.isDefined(readReach(rpc.annotations))
      assert.isTrue(new Set<unknown>(rpc.middlewares).has(RpcAuthorization))
    })
  }

  it("every operation of the table is served over HTTP and over RPC, once each", () => {
    assert.sameMembers(
      // Files of messages and pictures of codes are bytes: they are served over HTTP only.
      endpoints.map(({ endpoint, group }) => `${group}.${endpoint.identifier}`).filter((name) =>
        !["files.upload", "media.download", "qr.qrPng", "qr.qrSvg"].includes(name)
      ),
      operations.map(({ endpoint, group }) => `${group}.${endpoint.identifier}`)
    )
    assert.includeMembers([...ColumbaRpcs.requests.keys()], operations.map(({ name }) => name))
    assert.strictEqual(new Set(operations.map(({ name }) => name)).size, operations.length)
  })

  it("an operation on one device names it by id and can answer that it does not exist", () => {
    for (const { name, reach, rpc } of operations) {
      if (reach !== "device") continue
      assert.property(rpc.payloadSchema.fields, "id", name)
      assert.isTrue(Schema.is(rpc.errorSchema)(DeviceNotFound.of("dev_0")), name)
    }
  })
})
