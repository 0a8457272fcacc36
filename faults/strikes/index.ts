/** How each fault is caused, and healed again. */
import { Effect } from "effect"
import type { Arrangement } from "../Arrangement.ts"
import type { Fault, FaultOf } from "../Scenario.ts"
import * as Broker from "./broker.ts"
import * as Consumer from "./consumer.ts"
import * as Database from "./database.ts"
import * as Network from "./network.ts"
import * as Node from "./node.ts"
import * as Program from "./program.ts"
import type { Strike } from "./shared.ts"

const strikes: { readonly [Do in Fault["do"]]: Strike<Do> } = {
  "kill program": Program.kill,
  "kill program twice": Program.killTwice,
  "die where planted": Program.dieWherePlanted,
  "act where planted": Program.actWherePlanted,
  "stop program": Program.stop,
  "stop program while it sends": Program.stopWhileSending,
  "freeze program": Program.freeze,
  "restart broker": Broker.restart,
  "kill broker": Broker.kill,
  "freeze broker": Broker.freeze,
  "alarm broker": Broker.alarm,
  "delete queue": Broker.deleteQueue,
  "revoke permissions": Broker.revokePermissions,
  "fill queue": Broker.fillQueue,
  "restart database": Database.restart,
  "kill database": Database.kill,
  "freeze database": Database.freeze,
  "end sessions": Database.endSessions,
  "lock table": Database.lockTable,
  "deadlock": Database.deadlock,
  "take connections": Database.takeConnections,
  "hold snapshot": Database.holdSnapshot,
  "refuse writes": Database.refuseWrites,
  "migrate": Database.migrate,
  "fill disk": Database.fillDisk,
  "write beside": Database.writeBeside,
  "disturb network": Network.disturb,
  "cut network": Network.cut,
  "unresolve gateway": Network.unresolve,
  "fault gateway": Network.faultGateway,
  "restart gateway": Network.restartGateway,
  "flap gateway": Network.flapGateway,
  "refuse credentials": Network.refuseCredentials,
  "fail endpoint": Network.failEndpoint,
  "kill consumer": Consumer.kill,
  "freeze consumer": Consumer.freeze,
  "delete consumer's queue": Consumer.deleteConsumersQueue,
  "poison queue": Consumer.poison,
  "retry dead letters": Consumer.retryDeadLetters,
  "reject without dead letters": Consumer.rejectWithoutDeadLetters,
  "kill node": Node.kill,
  "stop node": Node.stop,
  "cut node off": Node.cutOff,
  "freeze node": Node.freeze,
  "end node's sessions": Node.endSessions,
  "leave and join": Node.leaveAndJoin,
  "step clock": (on, { seconds }) => on.stepClock(seconds)
}

export const strike = <Do extends Fault["do"]>(on: Arrangement, fault: FaultOf<Do>): Effect.Effect<void> =>
  Effect.scoped((strikes[fault.do] as unknown as Strike<Do>)(on, fault))
