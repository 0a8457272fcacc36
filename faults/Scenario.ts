/**
 * A row of the fault suite, as data: a workload, the faults that strike while it runs, and conditions in addition to
 * the promises that hold in every row. All choices (who writes what, when a fault strikes) follow from the seed.
 */
import type { Duration } from "effect"
import type { Fault as GatewayFault } from "../src/simulator/FaultPlan.ts"
import type { SimulatedDialect } from "../src/simulator/Dialect.ts"
import type { Direction, Toxic } from "../test/support/FaultProxy.ts"
import type { Planted } from "./planted.ts"

/** Each is over, and its damage is repaired, before the next one strikes. */
export type Fault =
  | { readonly do: "kill program" }
  /** Killed again this long after it was ready: while it reads what it has missed. */
  | { readonly do: "kill program twice"; readonly apartMillis: number }
  /** It kills itself when it next reaches the planted place of its code. */
  | { readonly do: "die where planted" }
  /** The planted place of its code acts for this time. */
  | { readonly do: "act where planted"; readonly millis: number }
  /** SIGTERM, as a deployment does. It must end with code 0. */
  | { readonly do: "stop program" }
  /** The same while messages are on their way to a gateway that does not answer, whether it sends them or not. */
  | { readonly do: "stop program while it sends"; readonly sent: boolean }
  | { readonly do: "freeze program"; readonly millis: number }
  | { readonly do: "restart broker" }
  | { readonly do: "kill broker" }
  | { readonly do: "freeze broker"; readonly millis: number }
  | { readonly do: "alarm broker"; readonly of: "memory" | "disk"; readonly millis: number }
  | { readonly do: "delete queue" }
  | { readonly do: "revoke permissions"; readonly millis: number }
  /** The broker refuses messages for which the queue has no room. */
  | { readonly do: "fill queue"; readonly millis: number }
  | { readonly do: "restart database"; readonly mode: "fast" | "immediate" }
  | { readonly do: "kill database" }
  | { readonly do: "freeze database"; readonly millis: number }
  | { readonly do: "end sessions" }
  | { readonly do: "lock table"; readonly millis: number }
  /** Another session locks in a different order than the program does, and the program is the one that must give way. */
  | { readonly do: "deadlock"; readonly times: number }
  | { readonly do: "take connections"; readonly millis: number }
  /** A transaction that stays open with a snapshot, like that of a dump or a forgotten session. */
  | { readonly do: "hold snapshot"; readonly millis: number }
  | { readonly do: "refuse writes"; readonly millis: number }
  /** The migration of a later version runs at the same time as the program, which continues. */
  | { readonly do: "migrate" }
  /** The database's disk is full. Needs root, for a separate file system. */
  | { readonly do: "fill disk"; readonly millis: number }
  /** Another process appends too, and each of its transactions stays open for a while before it commits. */
  | { readonly do: "write beside"; readonly events: number; readonly openMillis: number }
  | {
    readonly do: "disturb network"
    readonly to: Part
    readonly direction: Direction
    readonly toxic: Toxic
    readonly millis: number
  }
  /** Connections are cut, and new ones refused. */
  | { readonly do: "cut network"; readonly to: Part; readonly millis: number }
  /** The name of the gateway has no address, and its sockets fall. */
  | { readonly do: "unresolve gateway"; readonly millis: number }
  | {
    readonly do: "fault gateway"
    readonly fault: GatewayFault
    readonly also?: ReadonlyArray<GatewayFault>
    readonly millis: number
  }
  /** The gateway's process ends, and starts again after this time. */
  | { readonly do: "restart gateway"; readonly millis: number }
  /** The gateway drops all sockets and refuses new ones, then accepts them again, each for this time, this many times. */
  | { readonly do: "flap gateway"; readonly times: number; readonly eachMillis: number }
  /** The gateway refuses the credentials with a status, or a close code. An operator connects again afterwards. */
  | {
    readonly do: "refuse credentials"
    readonly status: number
    readonly code?: number
    readonly millis: number
  }
  /** The endpoint of the subscription answers with this status, by chance or always. */
  | { readonly do: "fail endpoint"; readonly status: number; readonly chance: number; readonly millis: number }
  | { readonly do: "kill consumer" }
  /** Connections stay open, and nothing is acknowledged. The broker's patience is `patienceMillis` meanwhile. */
  | { readonly do: "freeze consumer"; readonly millis: number; readonly patienceMillis: number }
  /** The consumer's queue is deleted while it reads. */
  | { readonly do: "delete consumer's queue" }
  /** Messages that the consumer cannot read. */
  | { readonly do: "poison queue"; readonly messages: number }
  /**
   * The handler refuses messages until this many are dead letters; then an operator has them handled again, and the program dies
   * at the planted place meanwhile.
   */
  | { readonly do: "retry dead letters"; readonly messages: number }
  /** Messages of the guaranteed queue are rejected while the queue of dead letters does not exist. */
  | { readonly do: "reject without dead letters"; readonly messages: number }
  /** The wall clock of the program is set; its monotonic clock continues. */
  | { readonly do: "step clock"; readonly seconds: number }
  | NodeFault

/** At one node of a cluster, each time another one. It is healed once the others have its devices. */
export type NodeFault =
  | { readonly do: "kill node" }
  /** SIGTERM. It must end with code 0. */
  | { readonly do: "stop node" }
  /** Its packets to the database get no answer. */
  | { readonly do: "cut node off" }
  /** SIGSTOP, past its lease. */
  | { readonly do: "freeze node" }
  /** The database ends its session that has the lease's lock, and those that renew the leases of its shards. */
  | { readonly do: "end node's sessions" }
  /** It is stopped, and started again after this time; after the same time the fault is over, whether all devices are back or not. */
  | { readonly do: "leave and join"; readonly apartMillis: number }

export type FaultOf<Do extends Fault["do"]> = Extract<Fault, { readonly do: Do }>

/** The services that the program uses; and `webhooks`, by which a gateway calls it. */
export type Part = "database" | "broker" | "gateway" | "endpoint" | "webhooks"

export interface Strikes {
  readonly fault: Fault
  readonly times: number
}

export interface Load {
  readonly devices: number
  readonly events: number
  /** Events per second over all devices. */
  readonly rate: number
}

export interface ClusterSettings {
  readonly nodes: number
  /** How long a killed node keeps its devices. */
  readonly lease: string
  /** How a node is cut off: a proxy forwards nothing, or its packets are lost in a network namespace, which needs root. */
  readonly partition: "proxy" | "packets"
}

export const areas = [
  "processes",
  "broker",
  "database",
  "gateway",
  "readers",
  "sends",
  "handlers",
  "time",
  "cluster",
  "all"
] as const

export interface Scenario {
  /** Its name on the command line. */
  readonly name: string
  readonly area: (typeof areas)[number]
  /** A description of the fault for the report. */
  readonly title: string
  readonly load: Load
  readonly dialect: SimulatedDialect
  /** How long nothing may change after healing before the row is abandoned. 150 s unless set. */
  readonly settle?: Duration.Input
  /** How long coming to rest may take in all, also while something changes. */
  readonly settleMax?: Duration.Input
  /** Each kind spread over the whole load, in a seeded order. */
  readonly faults: ReadonlyArray<Strikes>
  /** The faults strike in the order of the list. */
  readonly inOrder?: boolean
  readonly expect: {
    /**
     * `none`: all emitted events are in the log, since no process died and no socket was lost. `counted`: events that the gateway
     * sent into a dying process or to no socket at all may be missing from the log, and are reported.
     */
    readonly missed: "none" | "counted"
    /** The program must still be the same process. */
    readonly survives: boolean
    /** Maximum resident memory in megabytes, measured once per second. */
    readonly residentMax?: number
    /** Maximum number of connection attempts to the gateway in all, accepted or refused. */
    readonly attemptsMax?: number
    /** Maximum time in milliseconds for which a device may have sockets of two running nodes. */
    readonly doubledMax?: number
    /** Memory, open files and fibers must stay level from the second fifth of the row to its last. */
    readonly level?: boolean
  }
  /** Without a subscription's endpoint: at this rate its deliveries would dominate the measurement. */
  readonly noEndpoint?: boolean
  /** Whether the sample consumer reads too. */
  readonly consumer?: boolean
  /** Number of messages that a client has sent while the load runs. */
  readonly sends?: number
  /** Whether the program's own consumer hands messages to a handler. */
  readonly handler?: boolean
  /** Several processes share the devices. Events are emitted all the time; `events` is their minimum number. */
  readonly cluster?: ClusterSettings
  /** Built into the program for this row: a place that acts while a fault enables it. */
  readonly plant?: Planted
  /** Variables of the program, in addition to those of every row. */
  readonly env?: Readonly<Record<string, string>>
  /** A prefix of the program's command line, such as a shell that sets a limit. */
  readonly wrapper?: ReadonlyArray<string>
  /** Short and meaningful enough for every test run. */
  readonly smoke: boolean
}
