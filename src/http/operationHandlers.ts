/**
 * The implementation of the operations: one handler each, the same for HTTP and RPC. Handlers call services and choose
 * defaults; they are independent of the transport.
 */
import { DateTime, Duration, Effect } from "effect"
import { CurrentCaller } from "../contracts/Authorization.ts"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import { pageLimitDefault } from "../contracts/Paging.ts"
import type { ServerInfo } from "../contracts/ServerPayloads.ts"
import type { OperationHandlers } from "../contracts/Operations.ts"
import { keepKeySeconds } from "../contracts/KeyOperations.ts"
import { keepSeconds } from "../contracts/SubscriptionOperations.ts"
import { gapCauses } from "../domain/Gap.ts"
import { AutoReplyRepository } from "../services/AutoReplyRepository.ts"
import { DeadLetters } from "../services/DeadLetters.ts"
import { DeviceFleet, noDevices } from "../services/DeviceFleet.ts"
import { DeviceManager } from "../services/DeviceManager.ts"
import { DeviceRepository } from "../services/DeviceRepository.ts"
import { EventLog } from "../services/EventLog.ts"
import { describeGateway, GatewayDirectory } from "../services/GatewayDirectory.ts"
import { GapRepository } from "../services/GapRepository.ts"
import { GatewayManager } from "../services/GatewayManager.ts"
import { KeyManager } from "../services/KeyManager.ts"
import { listNodes } from "../services/listNodes.ts"
import { MessageActions } from "../services/MessageActions.ts"
import { MessageSender } from "../services/MessageSender.ts"
import { MessageRepository } from "../services/MessageRepository.ts"
import { NodeRegistry } from "../services/NodeRegistry.ts"
import { Readiness } from "../services/Readiness.ts"
import { ScheduleManager } from "../services/ScheduleManager.ts"
import { SendRepository } from "../services/SendRepository.ts"
import * as SendWaits from "../services/sendWaits.ts"
import { ServerIdentity } from "../services/ServerIdentity.ts"
import { SinkRelays } from "../services/SinkRelays.ts"
import { SubscriptionManager } from "../services/SubscriptionManager.ts"
import { decoded, hiddenFrom, readPage } from "./eventStreams.ts"

export const makeHandlers = Effect.gen(function*() {
  const manager = yield* DeviceManager
  const gateways = yield* GatewayManager
  const messages = yield* MessageRepository
  const sender = yield* MessageSender
  const schedules = yield* ScheduleManager
  const devices = yield* DeviceRepository
  const waits = yield* SendWaits.make(devices, yield* SendRepository)
  const actions = yield* MessageActions
  const ledger = yield* GapRepository
  const subscriptions = yield* SubscriptionManager
  const autoReplies = yield* AutoReplyRepository
  const deadLetters = yield* DeadLetters
  const keys = yield* KeyManager
  const log = yield* EventLog
  const nodes = yield* NodeRegistry
  const { node } = yield* ServerIdentity
  return {
    "Devices.Create": manager.register,
    "Devices.List": (query, visible) => manager.list({ ...query, visible, limit: query.limit ?? pageLimitDefault }),
    "Devices.Get": ({ id }) => manager.get(id),
    "Devices.Edit": ({ id, ...change }) => manager.edit(id, change),
    "Devices.Deactivate": ({ id }) => manager.deactivate(id),
    "Devices.Reactivate": ({ id }) => manager.reactivate(id),
    "Devices.Reconnect": ({ id }) => manager.reconnect(id),
    "Devices.Release": ({ id }) => manager.release(id),
    "Devices.Status": ({ id }) => manager.syncStatus(id),
    "Devices.Connection": ({ id }, visible) => manager.connection(id, visible),
    "Devices.Explain": ({ id }, visible) => manager.explain(id, visible),
    "Devices.Gaps": (query) => manager.gaps({ ...query, limit: query.limit ?? pageLimitDefault }),
    "Devices.AutoReply": ({ id }) => autoReplies.get(id),
    "Devices.EditAutoReply": ({ id, ...change }) => autoReplies.edit(id, change),
    "Devices.EraseChat": ({ chat, id }) => manager.eraseChat(id, chat),
    "Devices.EraseChats": ({ id }) => manager.eraseChats(id),
    "Devices.InitiateLogin": manager.initiateLogin,
    "Devices.CurrentLogin": ({ id }) => manager.currentLogin(id),
    "Devices.CancelLogin": ({ id }) => manager.cancelLogin(id),
    "Devices.CompleteLogin": ({ id }) => manager.completeLogin(id),
    "Devices.AnswerPasskey": ({ assertion, id }) => manager.answerPasskey(id, assertion),
    "Devices.ConfirmPasskey": ({ id }) => manager.answerPasskey(id, null),
    "Devices.Disconnect": ({ id }) => manager.disconnect(id),
    "Gateways.Create": gateways.create,
    "Gateways.List": () => Effect.map(gateways.list, (items) => ({ items, next: null })),
    "Gateways.Get": ({ name }) => gateways.get(name),
    "Gateways.Edit": ({ name, ...edit }) => gateways.edit(name, edit),
    "Gateways.Remove": ({ name }) => gateways.remove(name),
    "Messages.List": (query, visible) =>
      Effect.flatMap(
        messages.list({ ...query, visible, limit: query.limit ?? pageLimitDefault }),
        ({ items, next }) => Effect.map(waits.annotate(items), (annotated) => ({ items: annotated, next }))
      ),
    "Messages.Get": ({ id }, visible) =>
      Effect.flatMap(
        messages.get(id, visible),
        (message) => Effect.map(waits.annotate([message]), ([annotated = message]) => annotated)
      ),
    "Messages.Send": ({ id, ...request }) => sender.send({ ...request, device: id }),
    "Messages.React": actions.react,
    "Messages.Edit": actions.edit,
    "Messages.Revoke": actions.revoke,
    "Messages.MarkRead": ({ id }, visible) => actions.markRead(id, visible),
    "Messages.Typing": ({ active, chat, id }) => actions.typing(id, chat, active),
    "Messages.Cancel": ({ id }, visible) => sender.cancel(id, visible),
    "Schedules.Create": schedules.create,
    "Schedules.List": (query, visible) => schedules.list({ ...query, visible, limit: query.limit ?? pageLimitDefault }),
    "Schedules.Get": ({ id }, visible) => schedules.get(id, visible),
    "Schedules.Edit": ({ id, ...edit }, visible) => schedules.edit(id, edit, visible),
    "Schedules.Remove": ({ id }, visible) => schedules.remove(id, visible),
    "Gaps.List": (query, visible) => ledger.page({ ...query, visible, limit: query.limit ?? pageLimitDefault }),
    "Events.Page": (query, visible) =>
      CurrentCaller.pipe(
        Effect.flatMap((caller) => readPage(log, { ...query, visible, hidden: hiddenFrom(caller) })),
        Effect.map(({ events, next, through }) => ({ items: events.map(decoded), next, through }))
      ),
    "Subscriptions.Create": subscriptions.create,
    "Subscriptions.List": (_, visible) => Effect.map(subscriptions.list(visible), (items) => ({ items, next: null })),
    "Subscriptions.Get": ({ id }, visible) => subscriptions.get(id, visible),
    "Subscriptions.Edit": ({ id, ...edit }, visible) => subscriptions.edit(id, edit, visible),
    "Subscriptions.Remove": ({ id }, visible) => subscriptions.remove(id, visible),
    "Subscriptions.Enable": ({ id }, visible) => subscriptions.enable(id, visible),
    "Subscriptions.Replay": ({ after, id }, visible) => subscriptions.replay(id, after, visible),
    "Subscriptions.Deliveries": ({ id, limit = pageLimitDefault, ...query }, visible) =>
      subscriptions.deliveries(id, { ...query, limit }, visible),
    "Subscriptions.Test": ({ id }, visible) => subscriptions.test(id, visible),
    "Subscriptions.Rotate": ({ id, keepSeconds: keep, secret }, visible) =>
      subscriptions.rotate(id, { secret, keep: Duration.seconds(keepSeconds(keep)) }, visible),
    "DeadLetters.List": ({ limit = pageLimitDefault }) =>
      Effect.map(deadLetters.list(limit), ({ items, total }) => ({ items, next: null, total })),
    "DeadLetters.Retry": ({ ids }) => Effect.map(deadLetters.retry(ids ?? null), (changed) => ({ ids: changed })),
    "DeadLetters.Drop": ({ ids }) => Effect.map(deadLetters.drop(ids), (changed) => ({ ids: changed })),
    "Keys.Create": (wanted) => Effect.flatMap(CurrentCaller, (caller) => keys.create(wanted, caller)),
    "Keys.List": () => Effect.map(keys.list, (items) => ({ items, next: null })),
    "Keys.Get": ({ id }) => keys.get(id),
    "Keys.Revoke": ({ id }) => keys.revoke(id),
    "Keys.Rotate": ({ id, keepSeconds: keep }) =>
      Effect.flatMap(CurrentCaller, (caller) => keys.rotate(id, Duration.seconds(keepKeySeconds(keep)), caller)),
    "Server.Ping": () => Effect.succeed({ node }),
    "Server.Nodes": () => Effect.map(listNodes(devices, nodes), (items) => ({ items, next: null })),
    "Server.Info": yield* makeServerInfo,
    "Server.Overview": yield* makeOverview,
    "Server.Caller": () =>
      Effect.map(CurrentCaller, ({ devices, name, scopes }) => ({
        name,
        scopes: [...scopes],
        devices: devices ?? null
      }))
  } satisfies OperationHandlers
})

const makeOverview = Effect.gen(function*() {
  const devices = yield* DeviceRepository
  const ledger = yield* GapRepository
  const fleet = yield* DeviceFleet
  const relays = yield* SinkRelays
  const log = yield* EventLog
  return () =>
    Effect.all({
      at: Effect.map(DateTime.now, DateTime.formatIso),
      head: log.bounds.pipe(Effect.map(({ head }) => head), Effect.orElseSucceed(() => null)),
      states: devices.countByState.pipe(
        Effect.map((counted) => ({ ...noDevices, ...counted })),
        Effect.orElseSucceed(() => null)
      ),
      openGaps: ledger.countOpen.pipe(
        Effect.map((counted) =>
          gapCauses.flatMap((cause) => counted[cause] === undefined ? [] : [{ cause, count: counted[cause] }])
        ),
        Effect.orElseSucceed(() => null)
      ),
      sinks: relays.views,
      incidents: fleet.incidents
    }, { concurrency: "unbounded" })
})

const makeServerInfo = Effect.gen(function*() {
  const identity = yield* ServerIdentity
  const directory = yield* GatewayDirectory
  const readiness = yield* Readiness
  const log = yield* EventLog
  const fleet = yield* DeviceFleet
  return Effect.fnUntraced(function*(_: {}, visible: VisibleDevices) {
    const checks = yield* readiness.report
    if (visible !== undefined) {
      // Details, gateways and the log's head reveal the size and the traffic of the whole fleet.
      return {
        ...identity,
        gateways: [],
        histories: [],
        checks: checks.map((check) => ({ ...check, detail: "" })),
        head: null
      } satisfies ServerInfo
    }
    const head = yield* log.bounds.pipe(Effect.map((bounds) => bounds.head), Effect.orElseSucceed(() => null))
    return {
      ...identity,
      gateways: (yield* directory.list).map(({ gateway }) => ({
        name: gateway.name,
        description: describeGateway(gateway)
      })),
      histories: yield* fleet.backfills,
      checks,
      head
    } satisfies ServerInfo
  })
})
