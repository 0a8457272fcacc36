/** Every operation says who may use it. */
import { assert, describe, it } from "@effect/vitest"
import { Context } from "effect"
import { Api } from "../../src/contracts/Api.ts"
import { HttpAuthorization, RequiredScope, RpcAuthorization } from "../../src/contracts/Authorization.ts"
import { ColumbaRpcs } from "../../src/contracts/ColumbaRpcs.ts"

const groups = Api.groups as Record<string, {
  readonly endpoints: Record<string, { readonly annotations: Context.Context<never> }>
}>

const readScope = (annotations: Context.Context<never>) => Context.getOrUndefined(annotations, RequiredScope)

describe("scopes", () => {
  for (const group of Object.values(Api.groups)) {
    for (const endpoint of Object.values(group.endpoints)) {
      it(`HTTP ${group.identifier}.${endpoint.identifier} declares a scope and is guarded`, () => {
        assert.isDefined(readScope(endpoint.annotations))
        assert.isTrue(new Set<unknown>(endpoint.middlewares).has(HttpAuthorization))
        // Nothing that changes anything is open to those who may only look.
        if (endpoint.method !== "GET") assert.notStrictEqual(readScope(endpoint.annotations), "read")
      })
    }
  }

  for (const rpc of ColumbaRpcs.requests.values()) {
    it(`RPC ${rpc._tag} declares a scope and is guarded`, () => {
      assert.isDefined(readScope(rpc.annotations))
      assert.isTrue(new Set<unknown>(rpc.middlewares).has(RpcAuthorization))
    })
  }

  it("HTTP and RPC want the same scope for the same operation", () => {
    const same: ReadonlyArray<readonly [string, string, string]> = [
      ...Object.keys(Api.groups.devices.endpoints).map((name) =>
        ["devices", name, `Devices.${name[0]!.toUpperCase()}${name.slice(1)}`] as const
      ),
      ["messages", "list", "Messages.List"],
      ["messages", "get", "Messages.Get"],
      ["events", "read", "Events.Page"]
    ]
    for (const [group, name, tag] of same) {
      const endpoint = groups[group]!.endpoints[name]!
      const rpc = ColumbaRpcs.requests.get(tag)
      assert.isDefined(rpc, tag)
      assert.strictEqual(readScope(endpoint.annotations), readScope(rpc!.annotations), tag)
    }
  })
})
