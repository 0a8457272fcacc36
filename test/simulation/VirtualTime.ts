/**
 * Time, order and chance of a simulated world. Nothing in it waits for real time: when no fiber can run, the clock jumps to
 * the next timer. Events that may happen in several orders happen in the order of the seed.
 *
 * A `Machine` is one life of a process: its fibers run on its scheduler, sleep by its clock and draw from its random
 * numbers. A machine that is killed stops between two steps of its fibers: nothing of it runs any more, not even a
 * finalizer. Effects that its steps have had on the world stay.
 */
import { Cause, Clock, Context, Duration, Effect, Logger, Random, References, Scheduler } from "effect"
import type { Fiber } from "effect"
import { seeded } from "../../src/simulator/Seeded.ts"
import type { Seeded } from "../../src/simulator/Seeded.ts"

/** The start of the simulated world, by all clocks that are right: 2026-01-01. */
const epoch = Date.UTC(2026, 0, 1)

/** This many steps without any passing of time are an endless loop. */
const stepsMax = 100_000

/** After this many steps code outside of the simulation has its turn: a test runner must receive messages of its workers. */
const stepsPerTurn = 10_000

/** Rounds of microtasks after each of which new steps may have come: chains of promises of the modules under test. */
const microtaskRounds = 3

interface Timer {
  readonly at: number
  /** Of two timers of one moment the one that was set first rings first; what they wake runs in the seed's order. */
  readonly order: number
  run: (() => void) | null
}

interface Step {
  readonly machine: Machine | null
  readonly run: () => void
}

export class VirtualTime {
  /** Milliseconds since the world began. */
  now = 0
  /** Steps that were taken, for the figures. */
  steps = 0
  readonly #random: Seeded
  readonly #shuffles: boolean
  #timers: Array<Timer> = []
  #ready: Array<Step> = []
  #order = 0
  #since = 0

  /** `shuffles`: runnable steps run in the seed's order, not in the order in which they became runnable. */
  constructor(seed: string, shuffles: boolean) {
    this.#random = seeded(`${seed}/order`)
    this.#shuffles = shuffles
  }

  get wall(): number {
    return epoch + this.now
  }

  /** Returns a function that cancels it. */
  after(millis: number, run: () => void): () => void {
    const timer: Timer = { at: this.now + Math.max(0, millis), order: this.#order++, run }
    this.#push(timer)
    return () => {
      timer.run = null
    }
  }

  ready(machine: Machine | null, run: () => void): void {
    this.#ready.push({ machine, run })
  }

  /** Runs the world until this moment, or until `done` holds. Returns whether it did. */
  async runUntil(end: number, done: () => boolean = () => false): Promise<boolean> {
    let givesWayAt = this.steps + stepsPerTurn
    while (true) {
      await this.#settle()
      if (this.steps >= givesWayAt) {
        givesWayAt = this.steps + stepsPerTurn
        await new Promise(setImmediate)
      }
      if (done()) return true
      this.#dropCancelled()
      const next = this.#timers[0]
      if (next === undefined || next.at > end) break
      this.#pop()
      if (next.at > this.now) {
        this.now = next.at
        this.#since = this.steps
      }
      next.run?.()
    }
    this.now = Math.max(this.now, end)
    return false
  }

  #dropCancelled(): void {
    while (this.#timers.length > 0 && this.#timers[0]!.run === null) this.#pop()
  }

  async #settle(): Promise<void> {
    for (let idle = 0; idle < microtaskRounds; idle++) {
      if (this.#ready.length > 0) {
        idle = -1
        this.#drain()
      }
      await Promise.resolve()
    }
  }

  #drain(): void {
    const ready = this.#ready
    for (let at = 0; ready.length > at;) {
      if (this.steps++ - this.#since > stepsMax) throw new Error("time stands still: fibers wake each other for ever")
      let step: Step
      if (this.#shuffles) {
        const chosen = Math.floor(this.#random.next() * ready.length)
        step = ready[chosen]!
        ready[chosen] = ready.at(-1)!
        ready.pop()
      } else {
        step = ready[at++]!
      }
      if (step.machine === null || step.machine.takesStep(step.run)) step.run()
      if (!this.#shuffles && at === ready.length) {
        ready.length = 0
        at = 0
      }
    }
  }

  #isBefore(a: Timer, b: Timer): boolean {
    return a.at === b.at ? a.order < b.order : a.at < b.at
  }

  #push(timer: Timer): void {
    const heap = this.#timers
    let at = heap.push(timer) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#isBefore(timer, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = timer
  }

  #pop(): void {
    const heap = this.#timers
    const last = heap.pop()!
    if (heap.length === 0) return
    let at = 0
    while (true) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.#isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!this.#isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}

/** How many operations of one fiber run before another may: mostly few, so that fibers interleave at every place. */
const budgets = [1, 2, 3, 5, 8, 13, 40, 200, 2048, 2048]

export interface MachineOptions {
  readonly seed: string
  /** The error of its wall clock, in milliseconds. It may be changed while it runs. */
  readonly wallError: number
  /** Fibers are cut short at random places, not only where they wait. */
  readonly preempts: boolean
  /** It logged an error, or a fiber of the world's calls ended by a defect. */
  readonly onError: (message: string) => void
  /** Shows what it logs. */
  readonly onLog: ((level: string, message: string) => void) | null
}

export class Machine {
  readonly time: VirtualTime
  wallError: number
  readonly clock: Clock.Clock
  readonly context: Context.Context<never>
  #state: "running" | "dying" | "dead" = "running"
  #stepsLeft = 0
  /** Steps that wait until it resumes; null while it runs. */
  #frozen: Array<() => void> | null = null
  readonly #bornAt: number
  readonly #onError: (message: string) => void
  #onDeath: () => void = () => {}

  constructor(time: VirtualTime, options: MachineOptions) {
    this.time = time
    this.wallError = options.wallError
    this.#bornAt = time.now
    const random = seeded(`${options.seed}/machine`)
    this.#onError = options.onError
    const logger = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
      const text = [describe(message), ...(cause.reasons.length === 0 ? [] : [Cause.pretty(cause)])].join(" ")
      options.onLog?.(logLevel, text)
      if (logLevel === "Error" || logLevel === "Fatal") options.onError(text)
    })
    this.clock = this.#makeClock()
    this.context = Context.make(Clock.Clock, this.clock).pipe(
      Context.add(Scheduler.Scheduler, this.#makeScheduler(options.preempts ? random : null)),
      Context.add(Random.Random, {
        nextDoubleUnsafe: random.next,
        nextIntUnsafe: () => Math.floor((random.next() - 0.5) * 2 * Number.MAX_SAFE_INTEGER)
      }),
      Context.add(References.MinimumLogLevel, options.onLog === null ? "Error" : "Debug"),
      Context.add(Logger.CurrentLoggers, new Set([logger]))
    )
  }

  get alive(): boolean {
    return this.#state !== "dead"
  }

  /** An input from the world reaches the machine: as a separate step, and not at all once it is dead. */
  post(run: () => void): void {
    if (this.#frozen !== null) this.#frozen.push(run)
    else if (this.alive) this.time.ready(this, run)
  }

  /** It is suspended for a time, as a stopped process is: its inputs wait. Its clocks continue. */
  freeze(millis: number): void {
    if (this.#frozen !== null || this.#state !== "running") return
    this.#frozen = []
    this.time.after(millis, () => {
      const waiting = this.#frozen ?? []
      this.#frozen = null
      for (const run of waiting) this.post(run)
    })
  }

  get isFrozen(): boolean {
    return this.#frozen !== null
  }

  /** The same after a time that the world measures. */
  postAfter(millis: number, run: () => void): () => void {
    return this.time.after(millis, () => this.post(run))
  }

  run<A, E>(effect: Effect.Effect<A, E>): void {
    this.post(() => {
      Effect.runForkWith(this.context)(
        Effect.tapCause(effect, (cause) => Effect.sync(() => this.#onError(Cause.pretty(cause))))
      )
    })
  }

  /** It dies after this many more steps, wherever it is then. */
  kill(steps: number, onDeath: () => void): void {
    if (this.#state !== "running") return
    this.#state = "dying"
    this.#stepsLeft = steps
    this.#onDeath = onDeath
    if (steps === 0) this.#die()
    // It may have nothing to do.
    else this.time.after(50, () => this.#die())
  }

  /** `run` is called now, unless the machine is dead or suspended. */
  takesStep(run: () => void): boolean {
    if (this.#frozen !== null) {
      this.#frozen.push(run)
      return false
    }
    if (this.#state === "dying" && this.#stepsLeft-- <= 0) this.#die()
    return this.#state !== "dead"
  }

  #die(): void {
    if (this.#state === "dead") return
    this.#state = "dead"
    this.#onDeath()
  }

  #makeClock(): Clock.Clock {
    const { time } = this
    const millis = () => time.wall + this.wallError
    const nanos = () => BigInt(Math.round(millis() * 1000)) * 1000n
    const monotonic = () => BigInt(Math.round((time.now - this.#bornAt) * 1000)) * 1000n
    return {
      currentTimeMillisUnsafe: () => Math.floor(millis()),
      currentTimeMillis: Effect.sync(() => Math.floor(millis())),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: monotonic,
      monotonicTimeNanos: Effect.sync(monotonic),
      sleep: (duration) => {
        const wait = Duration.toMillis(duration)
        if (wait === Number.POSITIVE_INFINITY) return Effect.never
        return Effect.callback<void>((resume) => {
          const cancel = this.postAfter(wait, () => resume(Effect.void))
          return Effect.sync(cancel)
        })
      }
    }
  }

  #makeScheduler(random: Seeded | null): Scheduler.Scheduler {
    let budget = 2048
    return {
      executionMode: "async",
      shouldYield: (fiber: Fiber.Fiber<unknown, unknown>) => {
        if (fiber.currentOpCount < budget) return false
        if (random !== null) budget = random.pick(budgets)
        return true
      },
      makeDispatcher: () => ({
        scheduleTask: (task) => this.post(task),
        flush: () => {}
      })
    }
  }
}

const describe = (message: unknown): string =>
  (Array.isArray(message) ? message : [message]).map((part) => typeof part === "string" ? part : JSON.stringify(part))
    .join(" ")
