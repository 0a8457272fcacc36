/**
 * The open streams of this process, over HTTP and RPC together: how many there may be, how much of the log they may hold
 * in memory in all, and the end of those whose client takes nothing. The bounds are common to all streams, because all of
 * them use the memory of one process.
 *
 * A page that was read stays in memory until its client has taken it. So each stream may hold a small page at any time,
 * and more only from a pool that all share: a thousand clients that do not read cost no more than the pool, and a
 * client that reads is never held up by them, but for events larger than the small page.
 */
import { Clock, Context, Duration, Effect, Fiber, Layer, Stream } from "effect"
import type { Scope } from "effect"
import { CurrentCaller } from "../contracts/Authorization.ts"
import { TooManyStreams } from "../contracts/Failures.ts"
import { Condition } from "../services/Condition.ts"
import type { ReadBudget } from "../services/EventLog.ts"

/** Dashboards and integrations need tens. A thousand with nothing but their small page hold 16 MiB. */
export const openStreamsMax = 1000

/** A fifth of them: one key leaves room for others. */
export const streamsPerKeyMax = 200

/** What each stream may hold without asking: some tens of usual events. */
export const pageBytesReserved = 16 * 1024

/** What one stream may take at a time, for its share of the pool: large enough that a reader far behind catches up fast. */
export const pageBytesWanted = 256 * 1024

/**
 * 48 MiB for all streams, in bytes of event data. What it costs is two to three times as much, for the text and the
 * bytes that are made of it.
 */
export const poolBytes = 48 * 1024 * 1024

/** A client that takes nothing for so long is gone or stuck. It can resume after the last event that it has. */
const stallMax = Duration.seconds(30)

/** How often stalled streams are looked for. */
const sweepInterval = Duration.seconds(5)

/** One open stream. */
export interface OpenStream {
  readonly budget: ReadBudget
  /**
   * Ends the stream when its reader takes nothing of what it was given for `stallMax`, and when the key that it was
   * opened with is not accepted any more.
   */
  readonly guard: <A, E, R>(stream: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
}

export class OpenStreams extends Context.Service<OpenStreams, {
  /** Takes a place until the scope closes. */
  readonly admit: Effect.Effect<OpenStream, TooManyStreams, Scope.Scope | CurrentCaller>
}>()("columba/http/OpenStreams") {
  static readonly layer = Layer.effect(
    OpenStreams,
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const pool = new Pool()
      const open = new Set<Place>()
      const take = Effect.flatMap(CurrentCaller, ({ ended, id, name }) => {
        if (open.size >= openStreamsMax) return TooManyStreams.of(openStreamsMax)
        if (id !== null && countOf(id) >= streamsPerKeyMax) return TooManyStreams.ofKey(name, streamsPerKeyMax)
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
      const endStalled = Effect.suspend(() => {
        const stalled = [...open].filter((place) => place.isStalled)
        for (const place of stalled) place.end()
        return stalled.length === 0
          ? Effect.void
          : Effect.logInfo(`Ended ${stalled.length} streams whose client took nothing for ${Duration.format(stallMax)}`)
      })
      yield* Effect.forkScoped(Effect.forever(Effect.delay(endStalled, sweepInterval)))
      return OpenStreams.of({ admit: Effect.acquireRelease(take, giveBack) })
    })
  )
}

/** Bytes that no stream holds. */
class Pool {
  #free = poolBytes
  readonly #changes = new Condition()

  /** As much as is free of what is wanted. Nothing while a stream waits for a large event, which would never get it. */
  take(wanted: number): number {
    if (this.#changes.waiting > 0) return 0
    const taken = Math.max(0, Math.min(wanted, this.#free))
    this.#free -= taken
    return taken
  }

  give(bytes: number): void {
    if (bytes === 0) return
    this.#free += bytes
    this.#changes.changed()
  }

  /** Waits until so much is free, and takes it when the caller runs. */
  awaitFree(bytes: number): Effect.Effect<void> {
    return this.#changes.waitUntil(() => this.#free >= bytes)
  }

  /** Takes all of it, or nothing. */
  takeExactly(bytes: number): boolean {
    if (this.#free < bytes) return false
    this.#free -= bytes
    return true
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
      return Effect.whileLoop({
        while: () => !this.#pool.takeExactly(wanted),
        body: () => this.#pool.awaitFree(wanted),
        step: () => {}
      }).pipe(Effect.tap(() =>
        Effect.sync(() => {
          this.#held = wanted
        })
      ))
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
    this.#fiber?.interruptUnsafe()
  }

  readonly guard: OpenStream["guard"] = (stream) =>
    Stream.transformPull(
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
