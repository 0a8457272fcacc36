/** The ledger of gaps when its writer is killed anywhere, when a suspended one wakes, and when its database is restored. */
import { assert, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Context, Duration, Effect, Layer } from "effect"
import * as Heartbeat from "../../../src/actors/fleet/Heartbeat.ts"
import type { Forgotten } from "../../../src/actors/fleet/Heartbeat.ts"
import * as RunningTime from "../../../src/actors/fleet/RunningTime.ts"
import type { DeviceId } from "../../../src/domain/Ids.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { gapEnded, gapOpened } from "../../../src/services/GapDrafts.ts"
import { GapRepository } from "../../../src/services/GapRepository.ts"
import { seeded } from "../../../src/simulator/Seeded.ts"
import { opened } from "../../conformance/gapRepository.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice } from "../../support/drafts.ts"
import { makeDatabaseAdmin } from "../../support/replaceDatabase.ts"
import { layerPostgresAt } from "../../support/storage.ts"
import { untilSo } from "../../support/until.ts"

/** Two processes start per step of a test. */
const startsMax = 120_000

const kills = 4

/** Chooses the moments of the kills. Another one may be tried by `COLUMBA_TEST_SEED`. */
const seed = process.env["COLUMBA_TEST_SEED"] ?? "gaps"

const script = fileURLToPath(new URL("../../support/gapWriter.ts", import.meta.url))

/** A writer in a separate process. `line` returns its next line, null after its end. */
const startWriter = (url: string, device: DeviceId) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [script, url, device], { stdio: ["ignore", "pipe", "inherit"] })
      const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      return {
        line: Effect.promise(async () => {
          const next = await lines.next()
          return next.done === true ? null : next.value
        }),
        signal: (name: NodeJS.Signals) => Effect.sync(() => child.kill(name)),
        kill: Effect.promise(() => {
          child.kill("SIGKILL")
          return exited
        })
      }
    }),
    (writer) => writer.kill
  )

const openLedger = Effect.gen(function*() {
  const url = yield* freshDatabase
  const context = yield* Layer.build(layerPostgresAt(url))
  const id = freshDevice()
  const devices = Context.get(context, DeviceRepository)
  yield* devices.insert({ id, name: "kasir", gateway: "default" as never, upstreamId: id as never })
  return { url, id, context, devices, log: Context.get(context, EventLog), ledger: Context.get(context, GapRepository) }
})

type Ledger = Effect.Success<typeof openLedger>

/** The state of the device in its rows and in its events, which must agree. */
const readLedger = Effect.fnUntraced(function*({ id, ledger, log }: Ledger) {
  const gaps = []
  for (let cursor: string | undefined;;) {
    const page = yield* ledger.page({ device: id, limit: 1000, cursor })
    gaps.push(...page.items)
    if (page.next === null) break
    cursor = page.next
  }
  const said = { opened: new Set<string>(), closed: new Set<string>(), recovered: new Map<string, number>() }
  for (let after = 0;;) {
    const { events, through } = yield* log.read({ after, limit: 1000, device: id })
    if (events.length === 0) break
    after = through
    for (const { data, kind } of events) {
      const { body, gapId } = JSON.parse(data) as { readonly body?: string; readonly gapId?: string }
      if (kind === "gap.opened") said.opened.add(gapId!)
      else if (kind === "gap.closed") said.closed.add(gapId!)
      else said.recovered.set(body!, (said.recovered.get(body!) ?? 0) + 1)
    }
  }
  const watermark = (yield* ledger.watermarks([id])).get(id)?.through ?? null
  return { gaps, said, watermark }
})

it.live(
  "a writer that is killed anywhere leaves each gap as its events state, with all of its rows or none",
  () =>
    Effect.gen(function*() {
      const opened = yield* openLedger
      const random = seeded(seed)
      for (let kill = 0; kill < kills; kill++) {
        const writer = yield* startWriter(opened.url, opened.id)
        for (let lines = 0; lines < 3 + random.next() * 5; lines++) yield* writer.line
        const since = performance.now()
        yield* writer.line
        // Anywhere within a gap, however fast the machine is.
        yield* Effect.sleep(random.next() * (performance.now() - since))
        yield* writer.kill
      }
      // A statement of the last writer that is still running has ended once the next claim has the log's lock.
      yield* opened.devices.claim("reader", [opened.id])
      const { gaps, said, watermark } = yield* readLedger(opened)
      const closed = gaps.filter(({ status }) => status === "closed")
      assert.isAtLeast(closed.length, kills * 3)
      assert.isAtMost(gaps.length - closed.length, kills, "one per killed writer")
      assert.deepStrictEqual(new Set(gaps.map(({ id }) => id)), said.opened)
      assert.deepStrictEqual(new Set(closed.map(({ id }) => id)), said.closed)
      assert.deepStrictEqual(
        said.recovered,
        new Map<string, number>(closed.map(({ id, recovered }) => [id, recovered]))
      )
      assert.strictEqual(watermark, closed.map(({ endedAt }) => endedAt).sort().at(-1))
      console.log(
        `seed ${seed}; ${closed.length} gaps closed, ${gaps.length - closed.length} left open by ${kills} kills`
      )
    }).pipe(Effect.scoped),
  startsMax
)

it.live(
  "an owner that was suspended while another claimed its device changes nothing when it wakes",
  () =>
    Effect.gen(function*() {
      const opened = yield* openLedger
      const writer = yield* startWriter(opened.url, opened.id)
      for (let lines = 0; lines < 5; lines++) yield* writer.line
      yield* writer.signal("SIGSTOP")
      const claims = yield* opened.devices.claim("another", [opened.id])
      const before = yield* readLedger(opened)
      yield* writer.signal("SIGCONT")
      const lines: Array<string> = []
      yield* Effect.repeat(writer.line, { until: (line) => line === null || (lines.push(line), false) })
      assert.include(lines, "fenced")
      assert.deepStrictEqual(yield* readLedger(opened), before)
      assert.isTrue(claims.has(opened.id))
    }).pipe(Effect.scoped),
  startsMax
)

it.live(
  "a restored database lacks a known time, and accepts later decisions about its gaps",
  () =>
    Effect.gen(function*() {
      const { context, devices, id, ledger, log, url } = yield* openLedger
      const admin = yield* makeDatabaseAdmin(url)
      const owner = "this process"
      const { epoch } = (yield* devices.claim(owner, [id])).get(id)!
      const fence = { deviceId: id, epoch }
      const forgotten: Array<Forgotten> = []
      yield* Heartbeat.make({
        owner,
        interval: Duration.seconds(1),
        running: yield* RunningTime.make(),
        closing: () => false,
        onForgotten: (interval) => Effect.sync(() => forgotten.push(interval))
      }).pipe(Effect.provideContext(context))
      const seen = (so: (aliveAt: string | null) => boolean) =>
        untilSo(
          "such a heartbeat is recorded",
          ledger.heartbeat(owner).pipe(
            Effect.map(({ aliveAt }) => aliveAt),
            Effect.orElseSucceed(() => null)
          ),
          (aliveAt) => aliveAt !== null && so(aliveAt)
        )
      const claimedAt = yield* seen(() => true)
      const kept = yield* seen((aliveAt) => aliveAt !== claimedAt)
      yield* admin.copy
      const lost = yield* seen((aliveAt) => aliveAt !== kept)
      const gap = opened()
      yield* log.append([gapOpened(id, gap, Date.now())], { fence })
      yield* admin.restore
      yield* seen((aliveAt) => aliveAt !== lost && aliveAt !== kept)
      assert.lengthOf(forgotten, 1)
      assert.strictEqual(forgotten[0]!.from, kept)
      assert(forgotten[0]!.to > lost!)
      // The gap that the restored database does not have returns with its end.
      yield* log.append([], { fence, effects: [gapEnded(id, gap, "2026-11-22T10:00:09Z")] })
      assert.deepInclude((yield* ledger.page({ device: id, limit: 1 })).items[0], {
        id: gap.gapId,
        openedAt: gap.openedAt,
        endedAt: "2026-11-22T10:00:09.000Z"
      })
    }).pipe(Effect.scoped),
  startsMax
)
