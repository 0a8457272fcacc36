/**
 * The measured Columba: the built program (`dist/main.js serve`) with its default settings, so with the API, the metrics and all
 * roles. A few lines of its source are changed before it is built, for what the settings do not offer: connects can be as fast as
 * the machine is, the gateway has no history, and the times of events are taken (`subjects/observer.ts`).
 *
 * Without a history, because a fleet reads it at 50 requests per second for minutes after it has connected: the figures are of
 * the sockets, and would be of the history instead.
 */
import { connect as connectBroker } from "amqplib"
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { promisify } from "node:util"
import pg from "pg"
import { changedProgram } from "../../faults/planted.ts"
import type { Change } from "../../faults/planted.ts"
import { incomingQueue } from "../../src/layers/rabbitmq/Topology.ts"
import { sinkName } from "../../src/layers/rabbitmq/RabbitSink.ts"
import { bundle } from "./bundle.ts"
import { sleep, startWorker } from "./processes.ts"
import type { Worker } from "./processes.ts"
import type { Observed, SubjectOptions } from "./subjects.ts"

const observe = (call: string): string => `globalThis.columbaBench?.${call}`

const changes: ReadonlyArray<Change> = [
  {
    name: "connects per second",
    file: "src/services/FleetSettings.ts",
    changes: [["connectsPerSecond: 500,", `connectsPerSecond: Number(process.env["BENCH_CONNECTS"] ?? 500),`]]
  },
  {
    name: "no history",
    file: "src/layers/gateways/bridge/BridgeGateway.ts",
    changes: [[`history: "time",`, "history: null,"], ["    history: ChatHistory.make(options.name, http),\n", ""]]
  },
  {
    name: "pushed",
    file: "src/log/GroupCommit.ts",
    changes: [[
      "      push: (draft, options) => {\n",
      `      push: (draft, options) => {\n${observe("pushed(draft)")}\n`
    ]]
  },
  {
    name: "stored",
    file: "src/layers/postgres/SqlLogStore.ts",
    changes: [[
      "        onSuccess: (rows) => toResult(batch, rows[0] as AppendRow),",
      `        onSuccess: (rows) => { ${
        observe("stored(batch.groups)")
      }; return toResult(batch, rows[0] as AppendRow) },`
    ]]
  },
  {
    name: "published",
    file: "src/layers/rabbitmq/RabbitSink.ts",
    changes: [[
      "        if (traces !== null) trace(traces, events, from)\n",
      `        ${observe("published(events)")}\n        if (traces !== null) trace(traces, events, from)\n`
    ]]
  }
]

/** Until it is ready, in milliseconds. */
const startMax = 60_000

const temporary = join(import.meta.dirname, "..", "..", ".tmp", "bench")

let built: Promise<string> | undefined

/** The path of the program, built once per run. */
const program = (): Promise<string> =>
  built ??= (async () => {
    mkdirSync(temporary, { recursive: true })
    const directory = mkdtempSync(join(temporary, "program-"))
    process.on("exit", () => rmSync(directory, { recursive: true, force: true }))
    return changedProgram(directory, changes)
  })()

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

const query = async (url: string, text: string, values: ReadonlyArray<unknown> = []) => {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query({ text, values: [...values] })
  await client.end()
  return rows as ReadonlyArray<Readonly<Record<string, number>>>
}

/** The id of the `index`-th registered device. */
export const makeDeviceId = (index: number): string => `dev_${String(index).padStart(26, "0")}`

export interface Program extends Worker<Observed> {
  readonly url: string
  /** The newest position of the log. */
  readonly position: () => Promise<string>
  /** Registers this many devices, which the program then connects. */
  readonly connect: (count: number) => Promise<void>
  /** For the check that nothing was lost: stored messages, unconfirmed events, queued messages, as the servers count them. */
  readonly ledger: () => Promise<{ readonly rows: number; readonly unsettled: number; readonly queued: number }>
}

/** Inserts paired devices directly into the table, and notifies the program as another process would. */
const register = (databaseUrl: string, count: number) =>
  query(
    databaseUrl,
    `with added as (
      insert into devices (id, name, gateway, upstream_id, jid)
      select 'dev_' || lpad(i::text, 26, '0'), 'device ' || i, 'default', 'slot-' || lpad(i::text, 5, '0'),
        '62811' || lpad(i::text, 8, '0') || '@s.whatsapp.net'
      from generate_series(0, $1::int - 1) i returning id
    )
    select pg_notify('columba_devices', id) from added`,
    [count]
  )

/** Creates Columba's schema in a database and registers devices in it that have never run. */
export const registerDevices = async (databaseUrl: string, count: number): Promise<void> => {
  await promisify(execFile)(process.execPath, [await program(), "migrate"], {
    env: { ...process.env, DATABASE_URL: databaseUrl }
  })
  await query(
    databaseUrl,
    "insert into gateways (name, dialect, url, source) values ('default', 'bridge', 'http://127.0.0.1:9', 'environment')"
  )
  await register(databaseUrl, count)
}

/** Returns when it runs; with `cold`, as soon as the process has begun. */
export const startProgram = async (options: SubjectOptions & { readonly cold?: boolean }): Promise<Program> => {
  const { brokerUrl, cold = false, databaseUrl, gatewayPort, paced = false, secure = false, trusted } = options
  const port = await freePort()
  const worker = await startWorker<Observed>(await program(), {
    args: ["serve"],
    preload: await bundle("subjects/observer.ts"),
    env: {
      NODE_EXTRA_CA_CERTS: trusted,
      DATABASE_URL: databaseUrl,
      ...(brokerUrl === undefined ? {} : { RABBITMQ_URL: brokerUrl }),
      WHATSAPP_API_URL: `${secure ? "https" : "http"}://127.0.0.1:${gatewayPort}`,
      WHATSAPP_API_USER: "bench",
      WHATSAPP_API_PASSWORD: "bench",
      COLUMBA_DATA_DIR: temporary,
      PORT: String(port),
      ...(paced ? {} : { BENCH_CONNECTS: "1000000" })
    }
  })
  const url = `http://127.0.0.1:${port}`
  const from = performance.now()
  for (let ready = cold; !ready;) {
    await sleep(50)
    ready = await fetch(`${url}/readyz`).then(({ ok }) => ok, () => false)
    if (worker.ended() || performance.now() - from > startMax) throw new Error("the program does not start")
  }
  return {
    ...worker,
    url,
    position: async () => {
      const get = async (path: string) =>
        (await fetch(`${url}/api/v1/${path}`)).json() as Promise<Record<string, string>>
      const { head } = await get("server/overview")
      return (await get(`events?after=${head}&limit=1`))["through"]!
    },
    connect: async (count) => void await register(databaseUrl, count),
    ledger: async () => {
      const unsettled = () =>
        query(
          databaseUrl,
          "select ((select max(seq) from events) - c.seq)::int as count from sink_cursors c where c.sink = $1",
          [sinkName]
        )
      // The cursor is written a short time after the last confirm.
      let left = await unsettled()
      for (let tries = 0; left[0]?.["count"] !== 0 && tries < 100; tries++) {
        await sleep(20)
        left = await unsettled()
      }
      const [stored] = await query(
        databaseUrl,
        "select count(*)::int as count from events where message is not null"
      )
      const broker = await connectBroker(brokerUrl ?? "")
      const { messageCount } = await (await broker.createChannel()).checkQueue(incomingQueue)
      await broker.close()
      return { rows: stored!["count"]!, unsettled: left[0]?.["count"] ?? -1, queued: messageCount }
    }
  }
}
