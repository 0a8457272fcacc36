/**
 * Programs that break a promise on purpose, as in the fault suite (`faults/mutants.ts`), for simulated worlds: a seed must
 * be found that condemns each. Mutations of the Postgres sources in the fault suite are made in the memory stores here.
 */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { Effect } from "effect"
import * as esbuild from "esbuild"
import { mutants as suite } from "../../faults/mutants.ts"
import { changed } from "../../faults/planted.ts"
import type { Change } from "../../faults/planted.ts"
import { root } from "../../scripts/stamp.ts"
import { freshDirectory } from "../support/directory.ts"
import type { Charge } from "./judge.ts"
import { makePlan } from "./Plan.ts"
import type { Plan } from "./Plan.ts"

export interface Mutant extends Change {
  readonly title: string
  /** One of these must be found. */
  readonly condemned: ReadonlyArray<Charge>
  /** Selects the plans of worlds that can find it within a reasonable time. */
  readonly aim?: (plan: Plan) => boolean
  /** Found within few worlds, so that every test run can check it. */
  readonly isQuick: boolean
}

const ofSuite = (name: string, condemned: ReadonlyArray<Charge>, isQuick: boolean): Mutant => {
  const { changes, file, title } = suite.find((mutant) => mutant.name === name)!
  return { name, title, file, changes, condemned, isQuick }
}

const minute = 60_000
const hour = 60 * minute

export const mutants: ReadonlyArray<Mutant> = [
  ofSuite("confirm-not-awaited", ["lost"], true),
  ofSuite("watermark-before-rows", ["untrue", "unrecovered", "premature"], true),
  // Each process of the simulated world wraps its writes in the same place.
  {
    ...ofSuite("deduplicated-before-commit", ["unnamed", "untrue", "unrecovered"], true),
    file: "test/simulation/databaseClients.ts"
  },
  {
    name: "watermark-reader",
    title: "rows become visible out of the order of their numbers, and readers go by the highest number",
    file: "src/layers/memory/MemoryLogStore.ts",
    changes: [[
      "            if (!matches(options, event)) continue\n",
      `            if (event.seq % 3 === 0 && Date.parse(event.recordedAt) > now() - 10) continue
            if (!matches(options, event)) continue
`
    ]],
    condemned: ["lost", "broken"],
    isQuick: false
  },
  {
    name: "acknowledged-before-durable",
    title: "a commit counts before it is on disk: a crash of the database forgets the last second",
    file: "test/simulation/SimulatedDatabase.ts",
    changes: [
      [
        "    for (const statement of [...this.#inFlight]) statement.cut()\n",
        "    for (const statement of [...this.#inFlight]) statement.cut()\n    if (onDisk !== null) this.restore(onDisk)\n"
      ],
      [
        "      const perform = (): Exit.Exit<A, E> => {\n",
        `      const perform = (): Exit.Exit<A, E> => {
        if (onDisk === null || this.#time.now - onDisk.at > 1000) onDisk = this.snapshot()
`
      ],
      ["interface Statement {", "let onDisk: Snapshot | null = null\n\ninterface Statement {"]
    ],
    condemned: ["vanished", "unexpected", "broken", "hole"],
    isQuick: false
  },
  {
    name: "claim-counts-at-once",
    title:
      "a process counts as the owner before it has recorded anything, so a repeated claim shortens the gap of a kill",
    file: "src/layers/memory/MemoryRepositories.ts",
    changes: [["const aliveUntil = row.aliveUntil ??\n", "const aliveUntil = null ??\n"]],
    condemned: ["unnamed"],
    // A process is killed while its answers are lost, and the claim of the next one too.
    aim: ({ database, eventPause, gateways, nodes, pauses }) =>
      nodes === 1 && (pauses.get("kill") ?? hour) <= minute * 4 && database.failure > 0.01 && eventPause <= minute &&
      gateways.some(({ shape }) => shape.liveEvents === "session"),
    isQuick: false
  },
  {
    name: "cursor-before-taken",
    title: "the cursor of a subscription passes events that its endpoint has not accepted",
    file: "src/actors/delivery/webhooks/DeliveryWindow.ts",
    changes: [[
      "    return this.#entries[0]?.before ?? this.#through\n",
      "    return this.#through\n"
    ]],
    condemned: ["untaken"],
    isQuick: false
  },
  {
    name: "retention-passes-cursors",
    title: "retention deletes what a reader has yet to confirm",
    file: "src/layers/memory/MemoryDatabase.ts",
    changes: [[
      "Math.min(this.head - 1, ...rows.flatMap((row) => row.keep === null ? [row.seq] : []))",
      "this.head - 1"
    ]],
    condemned: ["forgotten", "lost"],
    // The broker is away for longer than events are kept.
    aim: ({ pauses, retention }) => retention === hour && (pauses.get("broker-cut") ?? hour) <= 15 * minute,
    isQuick: false
  },
  {
    name: "fence-not-checked",
    title: "decisions of an earlier owner of a device are committed as well",
    file: "src/layers/memory/MemoryDatabase.ts",
    changes: [[
      "return fence === null || this.devices.get(fence.deviceId)?.epoch === fence.epoch || this.#isRepeated(group, floor)",
      "return fence !== undefined || this.#isRepeated(group, floor)"
    ]],
    condemned: ["stale"],
    isQuick: false
  },
  {
    name: "older-log-unnoticed",
    title: "readers are not informed that an older copy of the database has replaced the log",
    file: "src/log/LogTail.ts",
    changes: [["    if (lowest >= asked.head && !replaced) {\n", "    if (lowest >= 0 || !replaced) {\n"]],
    condemned: ["lost", "broken", "vanished", "untaken", "unnamed", "stuck"],
    isQuick: false
  },
  {
    name: "claimed-back-at-once",
    title: "a process claims a device back that another one has claimed since",
    file: "src/actors/fleet/LostDevices.ts",
    changes: [["    has: (id) => lost.has(id) || refused.has(id),\n", "    has: () => false,\n"]],
    condemned: ["stuck", "unnamed", "unrecovered", "error"],
    isQuick: false
  }
]

/** The path of the runner in one file, with the mutant's sources. It is removed with the scope. */
const build = Effect.fnUntraced(function*(mutant: Mutant) {
  const directory = yield* freshDirectory
  const outfile = join(directory, "simulate.mjs")
  const contents = changed(mutant)
  const file = join(root, mutant.file)
  yield* Effect.promise(() =>
    esbuild.build({
      absWorkingDir: root,
      entryPoints: ["test/simulation/run.ts"],
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node22",
      logLevel: "warning",
      outfile,
      banner: {
        js:
          "import{createRequire as columbaCreateRequire}from\"node:module\";const require=columbaCreateRequire(import.meta.url);"
      },
      external: ["./runMutants.ts"],
      plugins: [{
        name: mutant.name,
        setup: (build) =>
          build.onLoad({ filter: /\.ts$/ }, ({ path }) => path === file ? { contents, loader: "ts" } : undefined)
      }]
    })
  )
  return outfile
})

const run = (file: string, options: ReadonlyArray<string>) =>
  Effect.callback<{ readonly stdout: string; readonly stderr: string }>((resume) => {
    const child = execFile(
      process.execPath,
      [file, ...options],
      (_failure, stdout, stderr) => resume(Effect.succeed({ stdout, stderr }))
    )
    return Effect.sync(() => child.kill())
  })

export interface Condemnation {
  readonly mutant: Mutant
  /** The runner's output for the seed that condemns it; null if none of the seeds does. */
  readonly found: string | null
  readonly seconds: number
}

/** The first seeds of worlds that can find it, this many. */
const seedsFor = ({ aim = () => true }: Mutant, count: number): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (let seed = 0; found.length < count; seed++) if (aim(makePlan(String(seed)))) found.push(String(seed))
  return found
}

/** Looks for a seed that condemns it, among this many. */
export const condemn = (mutant: Mutant, seeds: number, hours: number): Effect.Effect<Condemnation> =>
  Effect.scoped(Effect.gen(function*() {
    const runner = yield* build(mutant)
    const started = performance.now()
    const { stderr, stdout } = yield* run(runner, [
      // The program itself may be broken in another way by one of the seeds before.
      ...["--among", seedsFor(mutant, seeds).join(), "--hours", String(hours), "--until", mutant.condemned.join()]
    ])
    if (stderr !== "") return yield* Effect.die(new Error(stderr))
    const names = mutant.condemned.map((charge) => charge.toUpperCase()).join("|")
    const isFound = new RegExp(`^ {2}(${names}):`, "m").test(stdout)
    return { mutant, found: isFound ? stdout : null, seconds: (performance.now() - started) / 1000 }
  }))
