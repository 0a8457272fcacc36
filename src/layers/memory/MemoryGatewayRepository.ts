/** The `gateways` table in memory. */
import { Effect, Layer, PubSub, Stream } from "effect"
import type { Gateway, GatewaySecretName } from "../../domain/Gateway.ts"
import { GatewayInUse, GatewayNameTaken, GatewayNotFound } from "../../domain/GatewayErrors.ts"
import type { GatewayName } from "../../domain/Ids.ts"
import { GatewayRepository } from "../../services/GatewayRepository.ts"
import type { GatewayFields, SealedSecrets, StoredGateway } from "../../services/GatewayRepository.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"

/** One pending change is enough: a reader reads the whole table. */
const changesMax = 1

export const layer: Layer.Layer<GatewayRepository, never, MemoryDatabase> = Layer.effect(
  GatewayRepository,
  Effect.gen(function*() {
    const { now, tables } = yield* MemoryDatabase
    const changes = yield* PubSub.sliding<void>(changesMax)
    const rows = new Map<GatewayName, StoredGateway>()

    const put = (row: StoredGateway) => {
      rows.set(row.gateway.name, row)
      return Effect.as(PubSub.publish(changes, undefined), row)
    }
    const get = (name: GatewayName) =>
      Effect.suspend(() => {
        const row = rows.get(name)
        return row === undefined ? Effect.fail(GatewayNotFound.of(name)) : Effect.succeed(row)
      })
    const makeRow = (fields: GatewayFields, before: StoredGateway | undefined): StoredGateway => {
      const { sealed, ...shown } = fields
      const at = new Date(now()).toISOString()
      const gateway = {
        ...shown,
        secrets: listSecrets(sealed),
        active: before?.gateway.active ?? true,
        createdAt: before?.gateway.createdAt ?? at,
        updatedAt: at
      }
      return { gateway, sealed, revision: (before?.revision ?? 0) + 1 }
    }

    return GatewayRepository.of({
      insert: (fields) =>
        Effect.suspend(() =>
          rows.has(fields.name) ? Effect.fail(GatewayNameTaken.of(fields.name)) : put(makeRow(fields, undefined))
        ),
      upsert: (fields) =>
        Effect.suspend(() => {
          const before = rows.get(fields.name)
          return before !== undefined && isSame(before, fields)
            ? Effect.succeed(before)
            : put(makeRow(fields, before))
        }),
      get,
      list: Effect.sync(() => [...rows.values()].sort((a, b) => a.gateway.name < b.gateway.name ? -1 : 1)),
      update: Effect.fnUntraced(function*(name, { sealed, ...change }) {
        const before = yield* get(name)
        const gateway: Gateway = {
          ...before.gateway,
          ...change,
          secrets: sealed === undefined ? before.gateway.secrets : listSecrets(sealed),
          updatedAt: new Date(now()).toISOString()
        }
        return yield* put({ gateway, sealed: sealed ?? before.sealed, revision: before.revision + 1 })
      }),
      delete: Effect.fnUntraced(function*(name) {
        yield* get(name)
        const devices = [...tables.devices.values()].filter(({ device }) => device.gateway === name && device.active)
        if (devices.length > 0) return yield* GatewayInUse.of(name, devices.length)
        rows.delete(name)
        yield* PubSub.publish(changes, undefined)
      }),
      changes: Stream.fromPubSub(changes)
    })
  })
)

const listSecrets = (sealed: SealedSecrets): ReadonlyArray<GatewaySecretName> =>
  (Object.keys(sealed) as Array<GatewaySecretName>).sort()

const isSame = ({ gateway, sealed }: StoredGateway, fields: GatewayFields): boolean =>
  gateway.dialect === fields.dialect && gateway.url === fields.url && gateway.user === fields.user &&
  gateway.source === fields.source && JSON.stringify(sealed) === JSON.stringify(fields.sealed)
