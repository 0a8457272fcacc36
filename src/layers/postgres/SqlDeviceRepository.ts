/** The `devices` table. Every change of desired state signals other processes. */
import { Duration, Effect, Layer, Option, Schema, Stream } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import { DeviceName, deviceNameMax } from "../../domain/Device.ts"
import type { DesiredDevice, Device } from "../../domain/Device.ts"
import { DeviceNotFound, StorageUnavailable, UpstreamIdTaken } from "../../domain/DeviceErrors.ts"
import type { DeviceState, DeviceStateTag } from "../../domain/DeviceState.ts"
import type { DeviceStateData } from "../../domain/EventData.ts"
import type { DeviceId, GatewayName, UpstreamId } from "../../domain/Ids.ts"
import { Pacing } from "../../domain/Pacing.ts"
import type { RecordedDevice, RecordedTransition } from "../../domain/RecordedDevice.ts"
import { aliveFor, DeviceRepository } from "../../services/DeviceRepository.ts"
import type { DeviceClaim, DeviceOwner, HandOver, SlotHolder } from "../../services/DeviceRepository.ts"
import { toPrintable } from "../../services/printableText.ts"
import { decodeCursor, encodeCursor, pageLimit, seqPattern } from "../../services/pageCursor.ts"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { makeAnswered } from "./Migrations.ts"

const channel = "columba_devices"

interface DeviceRow {
  readonly id: string
  readonly name: string
  readonly gateway: string
  readonly upstream_id: string
  readonly active: boolean
  readonly jid: string | null
  readonly phone: string | null
  readonly state: string
  readonly pacing: string | null
  readonly created_ms: number
  readonly updated_ms: number
  readonly ordinal: number
}

const columns = `id, name, gateway, upstream_id, active, jid, phone, state::text as state, pacing::text as pacing,
  (extract(epoch from created_at) * 1000)::float8 as created_ms,
  (extract(epoch from updated_at) * 1000)::float8 as updated_ms, ordinal::float8 as ordinal`

export const layer: Layer.Layer<DeviceRepository, never, SqlClient.SqlClient | DatabaseSignals> = Layer.effect(
  DeviceRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const answered = yield* makeAnswered
    const signals = yield* DatabaseSignals
    const announce = (id: string) => signals.notify(channel, id)

    const change = (id: DeviceId, assignment: string, parameters: ReadonlyArray<unknown>) =>
      sql.unsafe<DeviceRow>(
        `update devices set ${assignment}, updated_at = clock_timestamp() where id = $1 returning ${columns}`,
        [PgTypes.text(id), ...parameters]
      ).pipe(
        Effect.flatMap((rows) =>
          rows[0] === undefined
            ? Effect.fail(DeviceNotFound.of(id))
            : Effect.as(announce(id), toDevice(rows[0]))
        ),
        answered("change a device")
      )

    /** Names the holder. If the holder has left the slot in the meantime, a retry succeeds. */
    const slotTaken = Effect.fnUntraced(function*(gateway: GatewayName, upstreamId: UpstreamId) {
      const [holder] = yield* sql<{ id: string }>`
        select id from devices where gateway = ${gateway} and upstream_id = ${upstreamId}`
      return holder === undefined
        ? yield* StorageUnavailable.of("add a device")
        : yield* UpstreamIdTaken.of(gateway, upstreamId, holder.id)
    })

    return DeviceRepository.of({
      insert: (device) =>
        sql.unsafe<DeviceRow>(
          `insert into devices (id, name, gateway, upstream_id) values ($1, $2, $3, $4) returning ${columns}`,
          [
            PgTypes.text(device.id),
            PgTypes.text(device.name),
            PgTypes.text(device.gateway),
            PgTypes.text(device.upstreamId)
          ]
        ).pipe(
          Effect.tap(() => announce(device.id)),
          Effect.map((rows) => toDevice(rows[0]!)),
          Effect.catchIf(isSlotTaken, () => slotTaken(device.gateway, device.upstreamId)),
          answered("add a device")
        ),
      get: Effect.fn("DeviceRepository.get")(function*(id) {
        const rows = yield* sql.unsafe<DeviceRow>(`select ${columns} from devices where id = $1`, [PgTypes.text(id)])
        return rows[0] === undefined ? yield* DeviceNotFound.of(id) : toDevice(rows[0])
      }, answered("read a device")),
      list: Effect.fn("DeviceRepository.list")(function*(options) {
        const after = options.cursor === undefined ? "0" : yield* decodeCursor(options.cursor, seqPattern)
        const limit = pageLimit(options.limit)
        const rows = yield* sql.unsafe<DeviceRow>(
          `select ${columns} from devices
          where ordinal > $2 and ($3::text is null or state_tag = $3) and ($4::text[] is null or id = any($4))
          order by ordinal limit $1`,
          [
            PgTypes.int8(BigInt(limit + 1)),
            PgTypes.int8(BigInt(after)),
            PgTypes.text(options.state ?? null),
            options.visible === undefined ? null : [...options.visible]
          ]
        )
        const items = rows.slice(0, limit)
        return {
          items: items.map(toDevice),
          next: rows.length > limit ? encodeCursor(String(items[limit - 1]!.ordinal)) : null
        }
      }, answered("list devices")),
      edit: (id, { name, pacing }) =>
        change(id, "name = coalesce($2, name), pacing = case when $3 then $4::json else pacing end", [
          PgTypes.text(name ?? null),
          PgTypes.bool(pacing !== undefined),
          PgTypes.text(pacing === undefined || pacing === null ? null : JSON.stringify(pacing))
        ]),
      setActive: (id, active) => change(id, "active = $2", [PgTypes.bool(active)]),
      requestReconnect: (id) => change(id, "reconnect_requests = reconnect_requests + 1", []),
      requestRelease: (id) => change(id, "release_requests = release_requests + 1", []),
      claim: (owner, ids) =>
        sql.unsafe<ClaimRow>(
          `select id, epoch, alive_ms, claimed_ms, deaths, trials, tried_with from columba_claim($1, $2::text[])`,
          [PgTypes.text(owner), [...ids]]
        ).pipe(
          Effect.map((rows) => new Map(rows.map((row) => [row.id as DeviceId, toClaim(row)]))),
          answered("claim devices")
        ),
      // Takes the lock of appends and claims first, so that these cannot deadlock with it.
      disclaim: (owner, running, aliveUntil) =>
        sql.unsafe(
          `with locked as materialized (select pg_advisory_xact_lock(4341001, 1))
          update devices d set alive_until = coalesce($3::timestamptz, to_timestamp(0)) from locked
          where d.owner = $1 and d.id <> all ($2::text[]) and d.alive_until is null
            and d.state_tag not in ('Inactive', 'Quarantined')`,
          [PgTypes.text(owner), [...running], PgTypes.text(aliveUntil)]
        ).pipe(Effect.asVoid, answered("disclaim devices")),
      // Rows of a process that crashed remain for those that claim its devices; after a day nobody does.
      beginTrial: (owner, ids) =>
        sql.unsafe(
          `with old as (
            delete from device_trials t using process_heartbeats h
            where h.owner = t.owner and h.alive_at < clock_timestamp() - interval '1 day'
          )
          insert into device_trials (owner, device, size) select $1, id, cardinality($2::text[]) from unnest($2::text[]) id
          on conflict (owner, device) do update set size = excluded.size`,
          [PgTypes.text(owner), [...ids]]
        ).pipe(Effect.asVoid, answered("begin a trial of devices")),
      endTrial: (owner, ids) =>
        sql.unsafe(`delete from device_trials where owner = $1 and device = any ($2::text[])`, [
          PgTypes.text(owner),
          [...ids]
        ]).pipe(Effect.asVoid, answered("end a trial of devices")),
      forgetDeaths: (owner, ids) =>
        sql.unsafe(
          `update devices set deaths = 0, ended = '{}' where owner = $1 and id = any ($2::text[]) and deaths > 0`,
          [
            PgTypes.text(owner),
            [...ids]
          ]
        ).pipe(Effect.asVoid, answered("forget deaths of processes")),
      handOvers: (ids) =>
        sql.unsafe<HandOver & { readonly id: DeviceId }>(
          `select id, epoch, claim::text as claim, state_tag = 'Online' as online, handed_over_to as confirmed from devices
          where id = any ($1::text[])`,
          [[...ids]]
        ).pipe(
          Effect.map((rows) => new Map(rows.map(({ id, ...row }) => [id, row]))),
          answered("read hand-overs of devices")
        ),
      confirmHandOvers: (claims) =>
        sql.unsafe(`select columba_confirm_hand_overs_v2($1::text[], $2::uuid[])`, [
          [...claims.keys()],
          [...claims.values()]
        ]).pipe(Effect.asVoid, answered("confirm hand-overs of devices")),
      recorded: (ids, transitionsMax) =>
        sql.unsafe<DeviceRow & TransitionRow>(
          `select ${columns}, e.* from devices d left join lateral (
            select seq::float8 as event_seq, (extract(epoch from recorded_at) * 1000)::float8 as event_ms,
              data::text as event_data
            from events where device_id = d.id and kind = 'device.state' order by seq desc limit $2
          ) e on true where d.id = any ($1::text[]) order by d.id, e.event_seq desc`,
          [[...ids], PgTypes.int8(BigInt(transitionsMax))]
        ).pipe(Effect.map(groupRecorded), answered("read what is recorded of devices")),
      findSlots: (gateway, { accounts, ids, upstreamIds }) =>
        sql.unsafe<SlotHolder>(
          `select id as "deviceId", upstream_id as "upstreamId", jid, active from devices
          where gateway = $1 and (id = any ($2::text[]) or upstream_id = any ($3::text[]) or jid = any ($4::text[]))`,
          [PgTypes.text(gateway), [...ids], [...upstreamIds], [...accounts]]
        ).pipe(answered("find the device of a slot")),
      owner: Effect.fnUntraced(function*(id) {
        const [row] = yield* sql.unsafe<{ readonly owner: string | null }>(
          `select owner from devices where id = $1`,
          [PgTypes.text(id)]
        ).pipe(answered("read the owner of a device"))
        return row === undefined ? yield* DeviceNotFound.of(id) : row.owner
      }),
      owners: sql.unsafe<Omit<DeviceOwner, "aliveAt"> & { readonly alive_ms: number }>(
        `select owner, (extract(epoch from alive_at) * 1000)::float8 as alive_ms, alive, devices from (
          select h.owner, h.alive_at, h.alive_at > clock_timestamp() - $1::float8 * interval '1 millisecond' as alive,
            (select count(*)::integer from devices d where d.owner = h.owner and d.active) as devices
          from process_heartbeats h
        ) o where alive or devices > 0 order by owner`,
        [PgTypes.float8(Duration.toMillis(aliveFor))]
      ).pipe(
        Effect.map((rows) =>
          rows.map(({ alive_ms, ...row }) => ({ ...row, aliveAt: new Date(alive_ms).toISOString() }))
        ),
        answered("list the processes that run devices")
      ),
      desired: (ids) =>
        sql.unsafe<Omit<DesiredDevice, "pacing"> & { readonly pacing: string | null }>(
          `select id, gateway, upstream_id as "upstreamId", jid, active, pacing::text as pacing,
            reconnect_requests as "reconnectRequests", release_requests as "releaseRequests"
          from devices where (active or state_tag <> 'Inactive') ${ids === undefined ? "" : "and id = any ($1::text[])"}
          order by ordinal`,
          ids === undefined ? [] : [[...ids]]
        ).pipe(
          Effect.map((rows) => rows.map((row) => ({ ...row, pacing: readPacing(row.pacing) }))),
          answered("read the desired devices")
        ),
      changes: Stream.map(signals.listen(channel), (id) => id as DeviceId | null),
      countByState: sql<{ tag: DeviceStateTag; count: number }>`
        select state_tag as tag, count(*)::integer as count from devices group by state_tag
      `.pipe(
        Effect.map((rows) =>
          Object.fromEntries(rows.map((row) => [row.tag, row.count])) as Partial<Record<DeviceStateTag, number>>
        ),
        answered("count devices")
      )
    })
  })
)

interface ClaimRow {
  readonly id: string
  readonly epoch: number
  readonly alive_ms: number | null
  readonly claimed_ms: number
  readonly deaths: number
  readonly trials: number
  readonly tried_with: number | null
}

const toClaim = ({ alive_ms, claimed_ms, deaths, epoch, trials, tried_with }: ClaimRow): DeviceClaim => ({
  epoch,
  deaths,
  trials,
  triedWith: tried_with,
  aliveUntil: alive_ms === null ? null : new Date(alive_ms).toISOString(),
  claimedAt: new Date(claimed_ms).toISOString()
})

/** Null where the device has no transition. */
interface TransitionRow {
  readonly event_seq: number | null
  readonly event_ms: number
  readonly event_data: string
}

const groupRecorded = (rows: ReadonlyArray<DeviceRow & TransitionRow>): ReadonlyMap<DeviceId, RecordedDevice> => {
  const byId = new Map<DeviceId, { readonly device: Device; readonly transitions: Array<RecordedTransition> }>()
  for (const row of rows) {
    const device = toDevice(row)
    const found = byId.get(device.id) ?? { device, transitions: [] }
    byId.set(device.id, found)
    if (row.event_seq === null) continue
    const data = JSON.parse(row.event_data) as DeviceStateData
    found.transitions.push({ seq: row.event_seq, at: new Date(row.event_ms).toISOString(), data })
  }
  return byId
}

const isSlotTaken = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "UniqueViolation" && error.reason.constraint === "devices_upstream"

const isName = Schema.is(DeviceName)

/** The API checks names. An invalid one that was written by SQL must not break the whole list. */
const readName = ({ id, name }: DeviceRow): string => {
  if (isName(name)) return name
  const printable = toPrintable(name).slice(0, deviceNameMax)
  return printable === "" ? id : printable
}

/** The API checks it. An invalid value that was written by SQL counts as none. */
const readPacing = (stored: string | null): Pacing | null =>
  stored === null ? null : Option.getOrNull(decodePacing(stored))

const decodePacing = Schema.decodeUnknownOption(Schema.fromJsonString(Pacing))

const toDevice = (row: DeviceRow): Device => ({
  id: row.id as DeviceId,
  name: readName(row),
  gateway: row.gateway as GatewayName,
  upstreamId: row.upstream_id as UpstreamId,
  phone: row.phone,
  jid: row.jid,
  state: JSON.parse(row.state) as DeviceState,
  active: row.active,
  pacing: readPacing(row.pacing),
  createdAt: new Date(row.created_ms).toISOString(),
  updatedAt: new Date(row.updated_ms).toISOString()
})
