/**
 * The open streams of this process, over HTTP and RPC together: how many there may be, how much of the log they may
 * hold in memory in all, and the end of those whose client does not read. The bounds are common to all streams,
 * because all of them use the memory of one process.
 *
 * A page that was read stays in memory until its client has read it. So each stream may hold a small page at any time,
 * and more only from a shared pool: a thousand clients that do not read cost no more than the pool, and they never
 * delay a client that reads, except for events larger than the small page.
 */
import { Array as Arr, Clock, Context, Duration, Effect, Fiber, Function, Layer, Stream } from "effect"
import type { Scope } from "effect"
import { CurrentCaller } from "../contracts/Authorization.ts"
import { TooManyStreams } from "../contracts/Failures.ts"
import type { ReadBudget } from "../services/EventLog.ts"

/** Dashboards and integrations need tens. A thousand with nothing but their small page hold 16 MiB. */
export const openStreamsMax = 1000

/** How many streams this process serves; a process for readers alone may serve more. */
export const StreamsMax = Context.Reference<number>("columba/http/StreamsMax", { defaultValue: () => openStreamsMax })

/** A fifth of them: one key leaves room for others. */
const perKeyShare = 5
export const streamsPerKeyMax = openStreamsMax / perKeyShare

/** Maximum size of a stream's page without the pool: some tens of usual events. */
export const pageBytesReserved = 16 * 1024

/** Maximum that one stream may take from the pool at a time: large enough that a reader far behind catches up fast. */
export const pageBytesWanted = 256 * 1024

/**
 * 48 MiB for all streams, in bytes of event data. The real cost is up to twice as much, for the piece of each page
 * that is in transit as text and as bytes.
 */
export const poolBytes = 48 * 1024 * 1024

/** A client that reads nothing for this time is gone or stuck. It can resume after the last event that it has. */
const stallMax = Duration.seconds(30)

/** How often stalled streams are looked for. */
const sweepInterval = Duration.seconds(5)

/**
 * Streams that are ended in one turn. Each takes a fraction of a millisecond, and its memory goes to waiting streams,
 * which read and write a page each: a thousand at once would delay for a second those whose clients read.
 */
const endedAtOnce = 8
const endedPause = Duration.millis(20)

/** One open stream. */
export interface OpenStream {
  readonly budget: ReadBudget
  /**
   * Ends the stream when its reader takes none of the delivered data for `stallMax`, and when the key that it was
   * opened with is no longer accepted. `drop` is called before the end of a stalled stream: if the connection serves
   * nothing else, it frees the kernel's buffers.
   */
  readonly guard: <A, E, R>(stream: Stream.Stream<A, E, R>, drop?: () => void) => Stream.Stream<A, E, R>
}

export class OpenStreams extends Context.Service<OpenStreams, {
  /** Takes a place until the scope closes. */
  readonly admit: Effect.Effect<OpenStream, TooManyStreams, Scope.Scope | CurrentCaller>
}>()("columba/http/OpenStreams") {
  static readonly layer = Layer.effect(
    OpenStreams,
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const streamsMax = yield* StreamsMax
      const perKeyMax = Math.ceil(streamsMax / perKeyShare)
      const pool = new Pool()
      const open = new Set<Place>()
      const take = Effect.flatMap(CurrentCaller, ({ ended, id, name }) => {
        if (open.size >= streamsMax) return TooManyStreams.of(streamsMax)
        if (id !== null && countOf(id) >= perKeyMax) return TooManyStreams.ofKey(name, perKeyMax)
        const place = new Place(pool, clock, id, ended)
        open.add(place)
        return Effect.succeed(place)
      })
      const countOf = (key: string): number => [...open].filter((place) => place.key === key).length
      const giveBack = (place: Place) =>
        Effect.sync(() => {
          open.delete(place)
          place.budget.release()
        })
      const endStalled = Effect.gen(function*() {
        const stalled = [...open].filter((place) => place.isStalled)
        let ended = 0
        for (const some of Arr.chunksOf(stalled, endedAtOnce)) {
          // One of them may have read something since, or have ended.
          for (const place of some.filter((place) => open.has(place) && place.isStalled)) {
            place.end()
            ended++
          }
          yield* Effect.sleep(endedPause)
        }
        if (ended > 0) {
          yield* Effect.logInfo(`Ended ${ended} streams whose client took nothing for ${Duration.format(stallMax)}`)
        }
      })
      yield* Effect.forkScoped(Effect.forever(Effect.delay(endStalled, sweepInterval)))
      return OpenStreams.of({ admit: Effect.acquireRelease(take, giveBack) })
    })
  )
}

/** A waiting request of a stream. `grant` is called once its bytes are taken. */
interface Waiter {
  readonly bytes: number
  readonly grant: () => void
}

/** Bytes that no stream holds. Streams that wait for more than is free get it in the order in which they asked. */
class Pool {
  #free = poolBytes
  readonly #waiters = new Set<Waiter>()

  /**
   * Takes as much as is free of the wanted bytes. Nothing while a stream waits for a large event, which would
   * otherwise starve.
   */
  take(wanted: number): number {
    if (this.#waiters.size > 0) return 0
    const taken = Math.max(0, Math.min(wanted, this.#free))
    this.#free -= taken
    return taken
  }

  /** Wakes only the streams that get their bytes: hundreds may wait, and few of them fit. */
  give(bytes: number): void {
    this.#free += bytes
    for (const waiter of this.#waiters) {
      if (waiter.bytes > this.#free) return
      this.#waiters.delete(waiter)
      this.#free -= waiter.bytes
      waiter.grant()
    }
  }

  /** Takes all of it, or waits for its turn. `taken` is called with it, before anything else may happen. */
  takeAll(bytes: number, taken: () => void): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const waiter = {
        bytes,
        grant: () => {
          taken()
          resume(Effect.void)
        }
      }
      this.#waiters.add(waiter)
      this.give(0)
      return Effect.sync(() => {
        this.#waiters.delete(waiter)
        // Others may have waited behind it for less.
        this.give(0)
      })
    })
  }
}

/** The bytes that one stream holds of the pool, besides its reserved ones. */
class StreamBudget implements ReadBudget {
  readonly #pool: Pool
  #held = 0

  constructor(pool: Pool) {
    this.#pool = pool
  }

  take(): number {
    this.#held += this.#pool.take(pageBytesWanted - pageBytesReserved - this.#held)
    return pageBytesReserved + this.#held
  }

  settle(bytes: number): void {
    this.#keep(Math.max(0, bytes - pageBytesReserved))
  }

  /** First returns the bytes it holds, so that waiting streams never wait for each other. */
  require(bytes: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#keep(0)
      const wanted = Math.min(bytes - pageBytesReserved, poolBytes)
      return this.#pool.takeAll(wanted, () => {
        this.#held = wanted
      })
    })
  }

  release(): void {
    this.#keep(0)
  }

  #keep(bytes: number): void {
    const surplus = this.#held - bytes
    if (surplus <= 0) return
    this.#held = bytes
    this.#pool.give(surplus)
  }
}

class Place implements OpenStream {
  readonly budget: StreamBudget
  /** The key that opened the stream; null on a server without keys. */
  readonly key: string | null
  readonly #clock: Clock.Clock
  readonly #ended: Effect.Effect<void>
  /** Since when the client has unread data; null while the stream has none for it. */
  #givenAt: bigint | null = null
  #fiber: Fiber.Fiber<unknown, unknown> | null = null
  #drop: () => void = Function.constVoid

  constructor(pool: Pool, clock: Clock.Clock, key: string | null, ended: Effect.Effect<void>) {
    this.budget = new StreamBudget(pool)
    this.#clock = clock
    this.key = key
    this.#ended = ended
  }

  get isStalled(): boolean {
    return this.#givenAt !== null &&
      this.#clock.monotonicTimeNanosUnsafe() - this.#givenAt >= Duration.toNanosUnsafe(stallMax)
  }

  /** The fiber that writes to the client waits for it, so only interruption reaches it. */
  end(): void {
    this.#givenAt = null
    this.#drop()
    this.#fiber?.interruptUnsafe()
  }

  readonly guard: OpenStream["guard"] = (stream, drop = Function.constVoid) => {
    this.#drop = drop
    return Stream.transformPull(
      Stream.interruptWhen(stream, this.#ended),
      (pull) =>
        Effect.succeed(Effect.withFiber((fiber) => {
          this.#fiber = fiber
          this.#givenAt = null
          return Effect.tap(pull, () =>
            Effect.sync(() => {
              this.#givenAt = this.#clock.monotonicTimeNanosUnsafe()
            }))
        }))
    )
  }
}
