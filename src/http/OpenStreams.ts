/**
 * The open streams of this process, over HTTP and RPC together: how many there may be, how much of the log they may hold
 * in memory in all, and the end of those whose client takes nothing. The bounds are common to all streams, because all of
 * them use the memory of one process.
 *
 * A page that was read stays in memory until its client has taken it. So each stream may hold a small page at any time,
 * and more only from a pool that all share: a thousand clients that do not read cost no more than the pool, and a
 * client that reads is never held up by them, but for events larger than the small page.
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

/** What each stream may hold without asking: some tens of usual events. */
export const pageBytesReserved = 16 * 1024

/** What one stream may take at a time, for its share of the pool: large enough that a reader far behind catches up fast. */
export const pageBytesWanted = 256 * 1024

/**
 * 48 MiB for all streams, in bytes of event data. What it costs is up to twice as much, for the piece of each page that is
 * on its way as text and as bytes.
 */
export const poolBytes = 48 * 1024 * 1024

/** A client that takes nothing for so long is gone or stuck. It can resume after the last event that it has. */
const stallMax = Duration.seconds(30)

/** How often stalled streams are looked for. */
const sweepInterval = Duration.seconds(5)

/**
 * Streams that are ended in one turn. Each takes a fraction of a millisecond, and what it held goes to streams that wait,
 * which read and write a page each: a thousand at once would hold up for a second those whose clients read.
 */
const endedAtOnce = 8
const endedPause = Duration.millis(20)

/** One open stream. */
export interface OpenStream {
  readonly budget: ReadBudget
  /**
   * Ends the stream when its reader takes nothing of what it was given for `stallMax`, and when the key that it was
   * opened with is not accepted any more. `drop` is called before the end of a stream that was not taken: where the
   * connection serves nothing else, it frees what the kernel holds for it.
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
          // One may have taken something since, or have gone.
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

/** What a stream waits for. `grant` is called once it is taken for it. */
interface Waiter {
  readonly bytes: number
  readonly grant: () => void
}

/** Bytes that no stream holds. Streams that wait for more than is free get it in the order in which they asked. */
class Pool {
  #free = poolBytes
  readonly #waiters = new Set<Waiter>()

  /** As much as is free of what is wanted. Nothing while a stream waits for a large event, which would never get it. */
  take(wanted: number): number {
    if (this.#waiters.size > 0) return 0
    const taken = Math.max(0, Math.min(wanted, this.#free))
    this.#free -= taken
    return taken
  }

  /** Wakes those alone who get what they wait for: hundreds may wait, and few of them fit. */
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

/** What one stream holds of the pool, besides what is reserved for it. */
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

  /** Gives back what it holds first, so that streams that wait never wait for each other. */
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
  /** Whose it is; null on a server without keys. */
  readonly key: string | null
  readonly #clock: Clock.Clock
  readonly #ended: Effect.Effect<void>
  /** Since when the client has something to take; null while the stream has nothing for it. */
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
