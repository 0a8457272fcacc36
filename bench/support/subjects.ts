/**
 * The two subjects of every figure, floor and Columba, and their gateway, as processes to start.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { localhost } from "../../test/support/certificate.ts"
import type { ColumbaHandlers } from "../subjects/columba.ts"
import { bundle } from "./bundle.ts"
import type { GatewayHandlers } from "./gatewayProcess.ts"
import { startWorker } from "./processes.ts"
import type { Worker } from "./processes.ts"
import type { LatencySummary } from "./statistics.ts"
import type { Handlers } from "./worker.ts"

export interface Gateway extends Worker<GatewayHandlers> {
  readonly port: number
}

/** The options of a subject of the socket figures. A floor needs no database. */
export interface SocketsOptions {
  readonly databaseUrl: string
  readonly gatewayPort: number
  /** Whether Columba spreads connects over time, as shipped. Without it the remaining cost is visible. */
  readonly paced: boolean
  /** Whether the gateway speaks TLS. */
  readonly secure?: boolean
}

/**
 * The requests that both subjects of the socket figures answer. `connect` returns at once: the gateway counts sockets.
 */
export interface SocketsHandlers extends Handlers {
  readonly start: (options: SocketsOptions) => Promise<void> | void
  readonly connect: (count: number) => Promise<void> | void
}

export interface PipelineOptions {
  readonly databaseUrl: string
  readonly brokerUrl: string
  readonly gatewayPort: number
  readonly count: number
}

/** The requests that both subjects of the pipeline answer. */
export interface PipelineHandlers extends Handlers {
  readonly start: (options: PipelineOptions) => Promise<void>
  /** Returns when the broker has confirmed this many messages in all. */
  readonly awaitPublished: (count: number) => Promise<void>
  /** Drops the recorded latencies and records those of all events from now on. */
  readonly startLatencies: () => void
  readonly startBlocks: () => void
  /** The longest block of the event loop since then, in milliseconds. */
  readonly longestBlock: () => number
  readonly latencies: () => { readonly stored: LatencySummary; readonly published: LatencySummary }
  /** For the check that nothing was lost: stored messages, unconfirmed events, queued messages. */
  readonly ledger: () => Promise<{ readonly rows: number; readonly unsettled: number; readonly queued: number }>
}

export const startGateway = async (secure = false): Promise<Gateway> => {
  const worker = await startWorker<GatewayHandlers>(await bundle("support/gatewayProcess.ts"), {
    env: secure ? { BENCH_TLS: "on" } : {}
  })
  const { port } = await worker.ask("listen")
  return { ...worker, port }
}

/** The gateway's certificate as a file, for processes that must trust it. */
const writeCertificate = (): string => {
  const directory = join(import.meta.dirname, "..", "..", ".tmp", "bench")
  const path = join(directory, "gateway.pem")
  mkdirSync(directory, { recursive: true })
  writeFileSync(path, localhost.cert)
  return path
}

/** A process that connects by itself as soon as it runs, or on request if no cold start is measured. */
const starter = <H extends Handlers>(module: string) => async (coldStart?: SocketsOptions): Promise<Worker<H>> =>
  startWorker(await bundle(module), {
    env: {
      NODE_EXTRA_CA_CERTS: writeCertificate(),
      ...(coldStart === undefined ? {} : { BENCH_COLD_START: JSON.stringify(coldStart) })
    }
  })

export const startBareSockets = starter<SocketsHandlers>("floors/bareSockets.ts")

export const startBarePipeline = starter<PipelineHandlers>("floors/barePipeline.ts")

/** All of Columba: fleet, log, repository and, if there is a broker, the sink. */
export const startColumbaSockets = starter<SocketsHandlers>("subjects/columba.ts")

export const startColumbaPipeline = starter<PipelineHandlers>("subjects/columba.ts")

/** Creates Columba's schema in a database and registers devices in it that have never run. */
export const registerDevices = async (databaseUrl: string, count: number): Promise<void> => {
  await using columba = await startWorker<ColumbaHandlers>(await bundle("subjects/columba.ts"))
  // There are no devices while it starts, so no gateway is needed.
  await columba.ask("start", { databaseUrl, gatewayPort: 9 })
  await columba.ask("register", count)
}
