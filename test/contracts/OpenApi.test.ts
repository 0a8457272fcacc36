/** The guarantees of the document at `/openapi.json` for people and for generators of clients. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { OpenApi } from "effect/http-api"
import { Api } from "../../src/contracts/Api.ts"
import { pageLimitMax } from "../../src/contracts/Paging.ts"
import { operations } from "../../src/contracts/Operations.ts"
import type { Json } from "../support/surface.ts"

const document: Json = JSON.parse(JSON.stringify(OpenApi.fromApi(Api)))
const schemas: Record<string, Json> = document.components.schemas

const allOperations = Object.entries<Json>(document.paths).flatMap(([path, methods]) =>
  Object.entries<Json>(methods).map(([method, operation]) => ({ name: `${method} ${path}`, operation }))
)

const resolve = (schema: Json): Json => schema.$ref === undefined ? schema : schemas[schema.$ref.split("/").at(-1)]

describe("the OpenAPI document", () => {
  for (const { name, operation } of allOperations) {
    it(`describes ${name}, its parameters and its answer`, () => {
      assert.isAbove(operation.summary.length, 0)
      assert.isAbove(operation.description.length, operation.summary.length)
      for (const parameter of operation.parameters) {
        assert.isAbove((parameter.description ?? "").length, 5, parameter.name)
        assert.isDefined(parameter.example, parameter.name)
      }
      const status = Object.keys(operation.responses).find((code) => code.startsWith("2"))
      if (name.endsWith("/media")) assert.property(operation.responses["200"].content, "application/octet-stream")
      else if (/qr\.(png|svg)$/.test(name)) {
        assert.match(Object.keys(operation.responses["200"].content)[0]!, /^image\/(png|svg\+xml)$/)
      } else if (status !== "204") {
        const answer = operation.responses[status!].content["application/json"]
        assert.isString(answer.schema.$ref)
        assert.isDefined(answer.example)
      }
      if (name.endsWith("/files")) assert.property(operation.requestBody.content, "application/octet-stream")
      else if (operation.requestBody !== undefined) {
        assert.isDefined(operation.requestBody.content["application/json"].example)
      }
    })
  }

  it("names its schemas as programs will, and uses them", () => {
    for (const name of ["Device", "DevicePage", "Event", "EventsPage", "Message", "MessagePage", "Explanation"]) {
      assert.property(schemas, name)
    }
    assert.deepStrictEqual(Object.keys(schemas).filter((name) => name.endsWith("Encoded")), [])
    const used = JSON.stringify(document.paths) + JSON.stringify(schemas)
    for (const name of Object.keys(schemas)) assert.include(used, `"#/components/schemas/${name}"`)
    const errors = allOperations.flatMap(({ operation }) =>
      Object.entries<Json>(operation.responses).filter(([status]) => status >= "400")
    )
    for (const [, { content }] of errors) {
      const { schema } = content["application/json"]
      for (const each of schema.anyOf ?? [schema]) {
        assert.includeMembers(resolve(each).required, ["_tag", "message"])
      }
    }
  })

  it("distinguishes events by their kind", () => {
    const { discriminator, oneOf } = schemas["Event"]
    assert.strictEqual(discriminator.propertyName, "kind")
    for (const [kind, reference] of Object.entries<string>(discriminator.mapping)) {
      assert.deepStrictEqual(resolve({ $ref: reference }).properties.kind.enum, [kind])
    }
    assert.includeMembers(Object.keys(discriminator.mapping), ["message.received", "device.state", "frame.rejected"])
    for (const member of oneOf) assert.isDefined(resolve(member).properties.kind)
  })

  it("types numbers of a query as numbers", () => {
    const limits = allOperations.flatMap(({ operation }) =>
      operation.parameters.filter((parameter: Json) => parameter.name === "limit")
    )
    assert.isAbove(limits.length, 2)
    for (const { schema } of limits) {
      assert.deepInclude(schema, { type: "integer", minimum: 1, maximum: pageLimitMax, default: 100 })
    }
  })

  it("writes the name of the bearer scheme as the standard does, and names a server", () => {
    assert.deepInclude(document.components.securitySchemes.bearer, { type: "http", scheme: "bearer" })
    assert.isAbove(document.servers.length, 0)
    for (const { description } of document.tags) assert.isAbove(description.length, 0)
  })

  it("has examples that the schemas accept", () => {
    for (const { example, name, rpc } of operations) {
      const decode = Schema.decodeUnknownSync(Schema.toCodecJson(rpc.successSchema as Schema.Codec<unknown, unknown>))
      assert.doesNotThrow(() => decode(example), undefined, name)
    }
  })
})
