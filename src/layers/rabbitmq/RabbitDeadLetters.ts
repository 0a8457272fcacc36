/**
 * The dead letters in the queue of the broker. AMQP cannot look into a queue, so messages are read without an
 * acknowledgement, and return to their places when the channel closes, also when the process dies first. To retry one
 * is to publish it to the queue that it came from and, after the broker's confirm, to acknowledge the dead one.
 */
import type { ConfirmChannel, GetMessage } from "amqplib"
import { Duration, Effect, Layer, Schedule, Semaphore } from "effect"
import { createHash } from "node:crypto"
import type { DeadLetter } from "../../domain/DeadLetter.ts"
import { DeadLettersUnavailable } from "../../domain/DeadLetter.ts"
import { DeadLetters, deadLettersMax, isEventId } from "../../services/DeadLetters.ts"
import type { DeadLettersFailure } from "../../services/DeadLetters.ts"
import { MessageInbox } from "../../services/MessageInbox.ts"
import type { InboxFailure } from "../../services/MessageInbox.ts"
import { closeQuietly } from "./channels.ts"
import { RabbitMq } from "./RabbitMq.ts"
import { deadQueue, incomingQueue } from "./Topology.ts"

const connectionTimeout = Duration.seconds(10)

/** Ten thousand messages, one confirm each, with room for a busy broker. */
const operationTimeout = Duration.seconds(60)

/** Another reader may use the queue too, so the full count may never be reached again. */
const returnTimeout = Duration.seconds(2)

type Settled = "put-back" | "taken"

export const layer: Layer.Layer<DeadLetters, never, RabbitMq | MessageInbox> = Layer.effect(
  DeadLetters,
  Effect.gen(function*() {
    const rabbit = yield* RabbitMq
    const inbox = yield* MessageInbox
    // Messages that one call holds are invisible to another.
    const oneAtATime = Semaphore.makeUnsafe(1)

    /** Visits each dead letter once, from the oldest, up to `max`; those that are not taken return to the queue. */
    const visit = Effect.fnUntraced(function*(
      max: number,
      use: (channel: ConfirmChannel, message: GetMessage) => Effect.Effect<Settled, DeadLettersFailure>
    ): Effect.fn.Return<number, DeadLettersFailure> {
      const connection = yield* rabbit.usable(connectionTimeout).pipe(
        Effect.mapError(({ message }) => DeadLettersUnavailable.of(message))
      )
      return yield* Effect.acquireUseRelease(
        attempt(() => connection.createConfirmChannel()).pipe(
          // A refusal arrives as the failure of the request; the event without a listener would end the process.
          Effect.tap((channel) => Effect.sync(() => channel.on("error", () => {})))
        ),
        Effect.fnUntraced(function*(channel) {
          const { messageCount } = yield* attempt(() => channel.checkQueue(deadQueue))
          let taken = 0
          for (let seen = 0; seen < Math.min(messageCount, max); seen++) {
            const message = yield* attempt(() => channel.get(deadQueue))
            if (message === false) break
            if ((yield* use(channel, message)) === "taken") {
              channel.ack(message)
              taken++
            }
          }
          channel.nackAll(true)
          yield* Effect.ignore(Effect.timeoutOption(returned(channel, messageCount - taken), returnTimeout))
          return messageCount
        }),
        (channel) => Effect.timeoutOption(Effect.promise(() => closeQuietly(channel)), connectionTimeout)
      )
    }, (work) =>
      oneAtATime.withPermits(1)(Effect.timeoutOrElse(work, {
        duration: operationTimeout,
        orElse: () => Effect.fail(DeadLettersUnavailable.of("no answer in time"))
      })))

    /** Takes the wanted dead letters, or all, each as `how` does. */
    const take = Effect.fnUntraced(function*(
      ids: ReadonlyArray<string> | null,
      how: (channel: ConfirmChannel, message: GetMessage) => Effect.Effect<void, DeadLettersFailure>
    ) {
      const wanted = ids === null ? null : new Set(ids)
      const taken: Array<string> = []
      yield* visit(deadLettersMax, (channel, message) =>
        Effect.gen(function*() {
          const id = identify(message)
          if (wanted?.has(id) === false) return "put-back"
          if (isEventId(id)) yield* inbox.forgetFailures([id])
          yield* how(channel, message)
          taken.push(id)
          return "taken"
        }))
      return taken
    })

    return DeadLetters.of({
      list: Effect.fn("DeadLetters.list")(function*(limit) {
        const found: Array<GetMessage> = []
        const total = yield* visit(limit, (_, message) =>
          Effect.sync(() => {
            found.push(message)
            return "put-back"
          }))
        const ids = found.map(identify).filter(isEventId)
        const failures = Map.groupBy(yield* inbox.failures(ids), ({ eventId }) => eventId as string)
        return { total, items: found.map((message) => view(message, failures.get(identify(message)) ?? [])) }
      }),
      retry: (ids) => take(ids, publishAgain),
      drop: (ids) => take(ids, () => Effect.void)
    })
  })
)

/** A queue takes messages back some time after the request. Until then the next call would not see them. */
const returned = (channel: ConfirmChannel, count: number) =>
  Effect.repeat(attempt(() => channel.checkQueue(deadQueue)), {
    until: ({ messageCount }) => messageCount >= count,
    schedule: Schedule.spaced("20 millis")
  })

const attempt = <A>(ask: () => PromiseLike<A>): Effect.Effect<A, DeadLettersUnavailable> =>
  Effect.tryPromise({
    try: async () => await ask(),
    catch: (error) => DeadLettersUnavailable.of(error instanceof Error ? error.message : "unknown")
  })

/** Returns after the confirm. If the queue does not exist, this fails, and the dead letter stays. */
const publishAgain = (channel: ConfirmChannel, message: GetMessage): Effect.Effect<void, DeadLettersUnavailable> =>
  attempt(() => {
    const { promise, reject, resolve } = Promise.withResolvers<void>()
    const queue = readDeath(message).queue ?? incomingQueue
    const { contentType, messageId, timestamp, type } = message.properties
    let returned = false
    const onReturn = () => {
      returned = true
    }
    channel.once("return", onReturn)
    const properties = { contentType, messageId, timestamp, type, headers: withoutDeath(message), persistent: true }
    // A return comes before the confirm.
    channel.publish("", queue, message.content, { ...properties, mandatory: true }, (error: unknown) => {
      channel.removeListener("return", onReturn)
      if (returned) reject(new Error(`the queue '${queue}' does not exist`))
      else if (error === null || error === undefined) resolve()
      else reject(new Error("the broker refused a message"))
    })
    channel.once("close", () => reject(new Error("the channel was closed")))
    return promise
  })

/** Headers in which the broker records a message's way; a republished message has none. */
const brokerHeader = /^x-(death|first-death-.*|last-death-.*|delivery-count|acquired-count)$/

const withoutDeath = (message: GetMessage): Record<string, unknown> =>
  Object.fromEntries(Object.entries(message.properties.headers ?? {}).filter(([name]) => !brokerHeader.test(name)))

interface Death {
  readonly reason: string
  readonly queue: string | null
  readonly diedAt: string | null
}

/** The newest death comes first. Anybody may have published the message, so no form is assumed. */
const readDeath = ({ properties: { headers = {} } }: GetMessage): Death => {
  const deaths: unknown = headers["x-death"]
  const newest = (Array.isArray(deaths) ? deaths[0] : undefined) as Readonly<Record<string, unknown>> | undefined
  const text = (value: unknown): string | null => typeof value === "string" && value !== "" ? value : null
  const seconds = (newest?.["time"] as { readonly value?: unknown } | undefined)?.value
  return {
    reason: text(newest?.["reason"]) ?? text(headers["x-first-death-reason"]) ?? "unknown",
    queue: text(newest?.["queue"]) ?? text(headers["x-first-death-queue"]),
    diedAt: typeof seconds === "number" && Math.abs(seconds) < 1e11 ? new Date(seconds * 1000).toISOString() : null
  }
}

const identify = ({ content, properties }: GetMessage): string => {
  const id: unknown = properties.messageId
  return isEventId(id) ? id : `sha256-${createHash("sha256").update(content).digest("hex")}`
}

const view = (message: GetMessage, failures: ReadonlyArray<InboxFailure>): DeadLetter => {
  const { headers = {}, type } = message.properties
  const text = (value: unknown): string | null => typeof value === "string" ? value.slice(0, 128) : null
  const seq = Number(text(headers["seq"]) ?? Number.NaN)
  return {
    id: identify(message),
    kind: text(type),
    deviceId: text(headers["device"]),
    seq: Number.isSafeInteger(seq) && seq >= 0 ? seq : null,
    ...readDeath(message),
    failures: failures.map(({ at, attempts, handler, message: detail }) => ({ handler, attempts, message: detail, at }))
  }
}
