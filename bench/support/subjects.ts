/**
 * The two subjects of every figure, floor and Columba, and their gateway, as processes to start.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { localhost } from "../../test/support/certificate.ts"
import { bundle } from "./bundle.ts"
import type { GatewayHandlers } from "./gatewayProcess.ts"
import { startWorker } from "./processes.ts"
import type { Worker } from "./processes.ts"
import { makeUpstreamId } from "./frames.ts"
import { makeDeviceId, startProgram } from "./program.ts"
import type { LatencySummary } from "./statistics.ts"
import type { Handlers } from "./worker.ts"

export interface Gateway extends Worker<GatewayHandlers> {
  readonly port: number
}

/** A floor of the socket figures needs no database. */
export interface SocketsOptions {
  readonly databaseUrl: string
  readonly gatewayPort: number
  /** Whether Columba spreads connects over time, as shipped. Without it the remaining cost is visible. */
  readonly paced: boolean
  /** Whether the gateway speaks TLS. */
  readonly secure?: boolean
  /** Whether its devices are in the database already, so that it connects them as soon as it runs. */
  readonly cold?: boolean
}

export interface SubjectOptions extends Omit<SocketsOptions, "paced"> {
  readonly paced?: boolean
  /** The file of the certificates to trust. */
  readonly trusted: string
  readonly brokerUrl?: string
}

/** A subject of the socket figures, connected to nothing yet unless it starts cold. */
export interface Sockets extends AsyncDisposable {
  readonly pid: number
  /** As `Worker.startedAt`. */
  readonly startedAt: number
  /** Returns before the sockets are open: the gateway counts them. */
  readonly connect: (count: number) => Promise<void>
}

/** The requests that the floor of the socket figures answers. */
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
export interface Observed extends Handlers {
  /** Returns when the broker has confirmed this many messages in all. */
  readonly awaitPublished: (count: number) => Promise<void>
  /** Drops the recorded latencies and records those of all events from now on. */
  readonly startLatencies: () => void
  readonly startBlocks: () => void
  /** The longest block of the event loop since then, in milliseconds. */
  readonly longestBlock: () => number
  readonly latencies: () => { readonly stored: LatencySummary; readonly published: LatencySummary }
}

export type StreamsOptions = Omit<PipelineOptions, "brokerUrl">

/** The requests that the floor of the streams answers: `start` with the port of its streams, once all devices have a socket. */
export interface StreamsHandlers extends Handlers {
  readonly start: (options: StreamsOptions) => Promise<number>
}

/** A subject whose streams are those of Columba's API, and whose devices are connecting. */
export interface Streams extends AsyncDisposable {
  readonly pid: number
  readonly url: string
  /** The id of a device, as streams name it. */
  readonly device: (index: number) => string
  /** From where streams are to begin. */
  readonly position: () => Promise<string>
}

interface Ledger {
  readonly rows: number
  readonly unsettled: number
  readonly queued: number
}

/** The requests that the floor of the pipeline answers. */
export interface PipelineHandlers extends Observed {
  readonly start: (options: PipelineOptions) => Promise<void>
  readonly ledger: () => Promise<Ledger>
}

/** A subject of the pipeline whose devices are connecting. */
export interface Pipeline extends Worker<Observed> {
  /** For the check that nothing was lost: stored messages, unconfirmed events, queued messages. */
  readonly ledger: () => Promise<Ledger>
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

export const startBareSockets = async (options: SocketsOptions): Promise<Sockets> => {
  const worker = await startWorker<SocketsHandlers>(await bundle("floors/bareSockets.ts"), {
    env: {
      NODE_EXTRA_CA_CERTS: writeCertificate(),
      ...(options.cold === true ? { BENCH_COLD_START: JSON.stringify(options) } : {})
    }
  })
  if (options.cold !== true) await worker.ask("start", options)
  return { ...worker, connect: (count) => worker.ask("connect", count) }
}

export const startColumbaSockets = (options: SocketsOptions): Promise<Sockets> =>
  startProgram({ ...options, trusted: writeCertificate() })

export const startBarePipeline = async (options: PipelineOptions): Promise<Pipeline> => {
  const worker = await startWorker<PipelineHandlers>(await bundle("floors/barePipeline.ts"))
  await worker.ask("start", options)
  return { ...worker, ask: worker.ask as Pipeline["ask"], ledger: () => worker.ask("ledger") }
}

export const startBareStreams = async (options: StreamsOptions): Promise<Streams> => {
  const worker = await startWorker<StreamsHandlers>(await bundle("floors/bareStreams.ts"))
  const port = await worker.ask("start", options)
  return { ...worker, url: `http://127.0.0.1:${port}`, device: makeUpstreamId, position: async () => "" }
}

export const startColumbaStreams = async ({ count, ...options }: StreamsOptions): Promise<Streams> => {
  const columba = await startProgram({ ...options, trusted: writeCertificate() })
  await columba.connect(count)
  return { ...columba, device: makeDeviceId }
}

export const startColumbaPipeline = async ({ count, ...options }: PipelineOptions): Promise<Pipeline> => {
  const columba = await startProgram({ ...options, trusted: writeCertificate() })
  await columba.connect(count)
  return columba
}
