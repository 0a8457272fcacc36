/** The consumer over a real broker and a real database: poison messages, dead letters, and an outage of either. */
import { assert, describe, it, layer as withLayer } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Exit, Latch, Layer, Redacted } from "effect"
import type { Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as MessageConsumer from "../../../src/actors/consuming/MessageConsumer.ts"
import * as RabbitDeadLetters from "../../../src/layers/rabbitmq/RabbitDeadLetters.ts"
import * as RabbitMq from "../../../src/layers/rabbitmq/RabbitMq.ts"
import * as RabbitSource from "../../../src/layers/rabbitmq/RabbitSource.ts"
import { deadQueue, incomingQueue } from "../../../src/layers/rabbitmq/Topology.ts"
import * as TopologyGuard from "../../../src/layers/rabbitmq/TopologyGuard.ts"
import { ConsumerSettings } from "../../../src/services/ConsumerSettings.ts"
import { DeadLetters } from "../../../src/services/DeadLetters.ts"
import { HandlerFailed } from "../../../src/services/MessageHandler.ts"
import type { MessageHandler } from "../../../src/services/MessageHandler.ts"
import { Readiness } from "../../../src/services/Readiness.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshVhost, freshVhostOn } from "../../support/broker.ts"
import * as FaultProxy from "../../support/FaultProxy.ts"
import * as RabbitMqServer from "../../support/servers/RabbitMqServer.ts"
import { layerPostgresAt } from "../../support/storage.ts"
import { until } from "../../support/until.ts"
import { openChannel } from "./delivery.ts"

/** As the simulated gateway's first chats would be: each event in a chat of its own unless the test says otherwise. */
let made = 0
const makeEvent = (body = "hello", chat = `62${++made}@s.whatsapp.net`) => {
  const number = ++made
  return {
    seq: String(number),
    id: `0199b2c4-0000-7000-8000-${String(number).padStart(12, "0")}`,
    kind: "message.received",
    deviceId: `dev_${"0".repeat(25)}1`,
    occurredAt: "2026-01-01T00:00:00.000Z",
    recordedAt: "2026-01-01T00:00:00.120Z",
    via: "live",
    data: {
      messageId: `msg_${String(number).padStart(26, "0")}`,
      waId: `WA${number}`,
      chat,
      sender: chat,
      fromMe: false,
      type: "text",
      body
    }
  }
}

type Event = ReturnType<typeof makeEvent>

/** A handler may be blocked until the test ends. */
const quick = {
  attemptsMax: 4,
  retryMin: Duration.millis(20),
  retryMax: Duration.millis(100),
  handlerTimeout: Duration.minutes(5),
  commitTimeout: Duration.seconds(1)
}

interface Consuming {
  /** Returns once the broker has them. */
  readonly publish: (...events: ReadonlyArray<Event | string>) => Effect.Effect<void>
  readonly dead: DeadLetters["Service"]
  /** Ready in both queues. */
  readonly depths: Effect.Effect<readonly [incoming: number, dead: number]>
  readonly rows: Effect.Effect<ReadonlyArray<string>>
  readonly readiness: Effect.Effect<string>
}

/** A consumer with one handler, which writes the text of each message that `refuse` lets pass. */
const consuming = Effect.fnUntraced(function*(options: {
  readonly url: string
  readonly databaseUrl: string
  readonly refuse?: (body: string) => HandlerFailed | null
  readonly work?: (body: string) => Effect.Effect<void>
  readonly holdMax?: Duration.Duration
  /** Runs after the writes of the commit. */
  readonly committing?: (body: string) => Effect.Effect<void>
}): Effect.fn.Return<Consuming, never, Scope.Scope> {
  const { databaseUrl, url } = options
  const base = yield* Layer.build(Layer.fresh(
    Layer.mergeAll(
      RabbitDeadLetters.layer,
      TopologyGuard.layer
    ).pipe(
      Layer.provideMerge(Layer.mergeAll(
        layerPostgresAt(databaseUrl),
        RabbitMq.layer({ url: Redacted.make(url) }),
        Readiness.layer
      )),
      Layer.orDie
    )
  ))
  const sql = Context.get(base, SqlClient.SqlClient)
  yield* Effect.orDie(sql.unsafe("create table if not exists handled (text text)"))
  const handler: MessageHandler = {
    name: "writer",
    handle: Effect.fnUntraced(function*({ data: { body } }) {
      yield* options.work?.(body ?? "") ?? Effect.void
      const refused = options.refuse?.(body ?? "") ?? null
      if (refused !== null) return yield* refused
      return Effect.andThen(
        Effect.orDie(Effect.asVoid(sql.unsafe("insert into handled values ($1)", [body]))),
        options.committing?.(body ?? "") ?? Effect.void
      )
    })
  }
  yield* Effect.flatMap(RabbitSource.make, (source) => MessageConsumer.make(source, [handler])).pipe(
    Effect.provideService(ConsumerSettings, {
      ...(yield* ConsumerSettings),
      ...quick,
      ...(options.holdMax === undefined ? {} : { holdMax: options.holdMax })
    }),
    Effect.provideContext(base)
  )
  const rabbit = Context.get(base, RabbitMq.RabbitMq)
  const dead = Context.get(base, DeadLetters)
  yield* until("it consumes", Effect.map(readinessOf(base), (words) => words.includes("running")))
  const channel = yield* openChannel(url)
  return {
    publish: (...events) =>
      Effect.promise(async () => {
        for (const event of events) {
          const body = typeof event === "string" ? event : JSON.stringify(event)
          channel.sendToQueue(incomingQueue, Buffer.from(body), {
            persistent: true,
            ...(typeof event === "string" ? {} : {
              messageId: event.id,
              type: event.kind,
              headers: { seq: event.seq, device: event.deviceId }
            })
          })
        }
        await channel.waitForConfirms()
      }),
    dead,
    depths: Effect.flatMap(Effect.orDie(rabbit.usable("1 minute")), (connection) =>
      Effect.promise(async () => {
        const own = await connection.createChannel()
        const [incoming, gone] = [await own.checkQueue(incomingQueue), await own.checkQueue(deadQueue)]
        await own.close()
        return [incoming.messageCount, gone.messageCount] as const
      })),
    rows: Effect.map(
      Effect.orDie(sql.unsafe<{ text: string }>("select text from handled order by text")),
      (rows) => rows.map(({ text }) => text)
    ),
    readiness: readinessOf(base)
  }
})

const readinessOf = (context: Context.Context<Readiness>) =>
  Effect.map(
    Context.get(context, Readiness).report,
    (checks) => checks.find(({ name }) => name === "consumer")?.detail ?? ""
  )

describe("the consumer", () => {
  it.live("makes a message a dead letter after its attempts, and handles it on a retry once it can", () =>
    Effect.gen(function*() {
      let broken = true
      const { dead, depths, publish, rows } = yield* consuming({
        url: yield* freshVhost,
        databaseUrl: yield* freshDatabase,
        refuse: (body) => body === "poison" && broken ? HandlerFailed.of("no such product") : null
      })
      const poison = makeEvent("poison")
      yield* publish(makeEvent("a"), poison, makeEvent("b"))
      yield* until("it is dead", Effect.map(depths, ([, gone]) => gone === 1))
      // It delayed no other message.
      assert.deepStrictEqual(yield* rows, ["a", "b"])
      const { items: [letter], total } = yield* dead.list(10)
      assert.strictEqual(total, 1)
      assert.deepInclude(letter, {
        id: poison.id,
        kind: "message.received",
        deviceId: poison.deviceId,
        seq: Number(poison.seq),
        reason: "rejected",
        queue: incomingQueue
      })
      assert.deepInclude(letter?.failures[0], { handler: "writer", attempts: 4, message: "no such product" })
      assert.isBelow(Math.abs(Date.parse(letter?.diedAt ?? "") - Date.now()), 120_000)
      // Reading it leaves it in place.
      assert.strictEqual((yield* dead.list(10)).items.length, 1)
      assert.deepStrictEqual(yield* dead.retry(["0199b2c4-0000-7000-8000-00000000ffff"]), [])
      assert.deepStrictEqual(yield* dead.retry(null), [poison.id])
      yield* until(
        "it is dead again, after all attempts",
        Effect.map(dead.list(10), ({ items }) => items[0]?.failures[0]?.attempts === 4)
      )
      broken = false
      assert.deepStrictEqual(yield* dead.retry([poison.id]), [poison.id])
      yield* until("it is handled", Effect.map(rows, (all) => all.includes("poison")))
      assert.deepStrictEqual(yield* depths, [0, 0])
    }))

  it.live("makes unreadable and permanently failing messages dead letters at once, which can be dropped", () =>
    Effect.gen(function*() {
      const { dead, depths, publish } = yield* consuming({
        url: yield* freshVhost,
        databaseUrl: yield* freshDatabase,
        refuse: () => HandlerFailed.of("never", { permanent: true })
      })
      const event = makeEvent()
      yield* publish("not JSON", JSON.stringify({ kind: "message.received" }), "x".repeat(200_000), event)
      yield* until("all are dead", Effect.map(depths, ([, gone]) => gone === 4))
      const { items } = yield* dead.list(10)
      const unreadable = items.filter(({ id }) => id !== event.id)
      assert.strictEqual(unreadable.length, 3)
      for (const letter of unreadable) {
        assert.match(letter.id, /^sha256-[0-9a-f]{64}$/)
        assert.deepStrictEqual([letter.kind, letter.seq, letter.failures], [null, null, []])
      }
      const own = items.find(({ id }) => id === event.id)
      assert.strictEqual(own?.failures[0]?.attempts, 1)
      const ids = items.map(({ id }) => id)
      assert.sameMembers([...yield* dead.drop(ids.slice(1))], ids.slice(1))
      assert.deepStrictEqual((yield* dead.list(10)).items.map(({ id }) => id), ids.slice(0, 1))
    }))

  it.live("handles a message once if its retry dies between its confirm and the end of the dead letter", () =>
    Effect.gen(function*() {
      let broken = true
      const url = yield* freshVhost
      const { dead, depths, publish, rows } = yield* consuming({
        url,
        databaseUrl: yield* freshDatabase,
        refuse: () => broken ? HandlerFailed.of("no", { permanent: true }) : null
      })
      const event = makeEvent("once")
      yield* publish(event)
      yield* until("it is dead", Effect.map(depths, ([, gone]) => gone === 1))
      broken = false
      // The remains of such a retry: the message in the queue, and the dead letter in its place.
      yield* publish(event)
      yield* until("it is handled", Effect.map(rows, (all) => all.length === 1))
      assert.deepStrictEqual(yield* dead.retry(null), [event.id])
      yield* until("the queue is empty", Effect.map(depths, ([incoming, gone]) => incoming + gone === 0))
      yield* publish(makeEvent("z"))
      yield* until("what came after it is handled", Effect.map(rows, (all) => all.includes("z")))
      assert.deepStrictEqual(yield* rows, ["once", "z"])
    }))

  it.live("acknowledges nothing during a database outage, holds a bounded number, and handles all afterwards", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const database = new URL(yield* freshDatabase)
      const proxy = yield* FaultProxy.make({ host: database.hostname, port: Number(database.port) })
      database.hostname = "127.0.0.1"
      database.port = String(proxy.port)
      const { depths, publish, readiness, rows } = yield* consuming({ url, databaseUrl: database.href })
      yield* proxy.disable
      const bodies = Array.from({ length: 200 }, (_, index) => String(index).padStart(3, "0"))
      yield* publish(...bodies.map((body) => makeEvent(body)))
      // The rest waits at the broker.
      yield* until("as many are held as may be", Effect.map(depths, ([incoming]) => incoming === 200 - 64))
      yield* until("they are in flight", Effect.map(readiness, (words) => words.includes("64 in flight")))
      yield* proxy.enable
      yield* until("all are handled", Effect.map(rows, (all) => all.length >= 200))
      assert.deepStrictEqual(yield* rows, bodies)
      yield* until("all are acknowledged", Effect.map(depths, ([incoming, gone]) => incoming + gone === 0))
    }))

  it.live("rolls back a commit that never ends as failed, makes it a dead letter after its attempts, and handles others", () =>
    Effect.gen(function*() {
      const { dead, depths, publish, rows } = yield* consuming({
        url: yield* freshVhost,
        databaseUrl: yield* freshDatabase,
        committing: (body) => body === "hangs" ? Effect.never : Effect.void
      })
      const chat = "621@s.whatsapp.net"
      yield* publish(makeEvent("hangs", chat), makeEvent("behind it", chat))
      yield* until("it is dead", Effect.map(depths, ([, gone]) => gone === 1))
      assert.deepStrictEqual(yield* rows, ["behind it"])
      const { items: [letter] } = yield* dead.list(10)
      assert.deepInclude(letter?.failures[0], { attempts: 4, message: "the commit did not end within 1s" })
    }))

  it.live("returns messages that it holds too long to the broker, before the broker closes the channel", () =>
    Effect.gen(function*() {
      const twice = yield* Deferred.make<void>()
      const begun: Array<string> = []
      let hangs = true
      const { depths, publish, readiness, rows } = yield* consuming({
        url: yield* freshVhost,
        databaseUrl: yield* freshDatabase,
        holdMax: Duration.seconds(1),
        work: (body) => {
          begun.push(body)
          if (begun.filter((one) => one === "hangs").length === 2) Deferred.doneUnsafe(twice, Exit.void)
          return hangs && body === "hangs" ? Effect.never : Effect.void
        }
      })
      yield* publish(makeEvent("hangs", "621@s.whatsapp.net"), makeEvent("elsewhere"))
      yield* Deferred.await(twice)
      assert.deepStrictEqual(yield* rows, ["elsewhere"])
      hangs = false
      yield* until("both are handled", Effect.map(rows, (all) => all.length === 2))
      yield* until("both are acknowledged", Effect.map(depths, ([incoming, gone]) => incoming + gone === 0))
      assert.include(yield* readiness, "running")
    }))

  it.live("handles the messages of one chat in order, and of other chats concurrently", () =>
    Effect.gen(function*() {
      const bodies = Array.from({ length: 30 }, (_, index) => String(index))
      const [others, all, first] = [yield* Deferred.make<void>(), yield* Deferred.make<void>(), yield* Latch.make()]
      const seen: Array<string> = []
      const { publish } = yield* consuming({
        url: yield* freshVhost,
        databaseUrl: yield* freshDatabase,
        refuse: (body) => {
          seen.push(body)
          if (seen.length === bodies.length) Deferred.doneUnsafe(others, Exit.void)
          if (seen.length === 2 * bodies.length) Deferred.doneUnsafe(all, Exit.void)
          return null
        },
        // Later messages of its chat would overtake.
        work: (body) => body === "0" ? first.await : Effect.void
      })
      yield* publish(...bodies.flatMap((body) => [makeEvent(body, "621@s.whatsapp.net"), makeEvent("other")]))
      yield* Deferred.await(others)
      assert.deepStrictEqual(new Set(seen), new Set(["other"]))
      yield* first.open
      yield* Deferred.await(all)
      assert.deepStrictEqual(seen.slice(bodies.length), bodies)
    }))
})

class Broker extends Context.Service<Broker, RabbitMqServer.RabbitMqServer>()("test/ConsumerBroker") {}

/** A node needs some seconds to stop and start, on a busy machine more. */
const timeout = 120_000

describe("the consumer of a broker that restarts", () => {
  withLayer(Layer.effect(Broker, Effect.orDie(RabbitMqServer.make)), { excludeTestServices: true, timeout })((it) => {
    it.effect("continues by itself; messages in flight are redelivered and handled once", () =>
      Effect.gen(function*() {
        const { ctlCommand, restart, url: server } = yield* Broker
        const url = yield* freshVhostOn(server, ctlCommand)
        const databaseUrl = yield* freshDatabase
        const [some, rest] = [yield* Deferred.make<void>(), yield* Latch.make()]
        let begun = 0
        const { publish, readiness, rows } = yield* consuming({
          url,
          databaseUrl,
          // Those after the first twenty are in flight until the broker is back.
          work: () => ++begun <= 20 ? Effect.void : Effect.andThen(Deferred.succeed(some, undefined), rest.await)
        })
        const bodies = Array.from({ length: 300 }, (_, index) => String(index).padStart(3, "0"))
        yield* publish(...bodies.map((body) => makeEvent(body)))
        yield* Deferred.await(some)
        yield* restart
        yield* rest.open
        yield* until("all are handled", Effect.map(rows, (all) => all.length >= 300))
        assert.deepStrictEqual(yield* rows, bodies)
        yield* until("it consumes", Effect.map(readiness, (words) => words.includes("running")))
      }), timeout)
  })
})
