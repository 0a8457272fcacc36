/**
 * Three processes share one fleet. They are killed, stopped and started again under load, and their database restarts. The
 * gateway is the witness of the sockets: a device has two only while it is handed over, never three, and no committed event
 * is lost; the ledger of gaps names the events that were not received.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { freshVhost } from "../support/broker.ts"
import { assertSound, report } from "../support/Checker.ts"
import { freshDatabaseOn } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import * as PostgresServer from "../support/servers/PostgresServer.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import { until } from "../support/until.ts"
import * as ClusterRig from "./support/ClusterRig.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"

const devices = 300
/** The default. */
const lease = Duration.seconds(20)

/** Events per second: as many as a busy machine handles in addition to three processes. */
const rate = 150

/** A hand-over ends when the next socket is open and the gateway has answered the end of the first, or after this time. */
const overlapMax = 25_000

/** Stopping and starting the server on a loaded machine adds up to some seconds; a third of the lease is allowed. */
const outage = "1 second"

/** Outages up to this time, in milliseconds, close no socket. */
const bridgedMax = Duration.toMillis(lease) / 3

/** A loaded machine. The figure itself is printed. */
const slack = 20_000

const timed = (effect: Effect.Effect<void>) =>
  Effect.map(Effect.timed(effect), ([duration]) => Math.round(Duration.toMillis(duration)))

describe("nodes that share a fleet", () => {
  it.live("lose no device and hold none twice when nodes are killed, stopped and restarted and their database restarts", () =>
    Effect.gen(function*() {
      const database = yield* PostgresServer.make
      const rig = yield* ClusterRig.make({
        databaseUrl: yield* freshDatabaseOn(database.url),
        rabbitUrl: yield* freshVhost,
        devices,
        nodes: 3,
        seed: "cluster",
        lease: `${Duration.toSeconds(lease)} seconds`
      })
      const [one, two, three] = rig.nodes as [ClusterRig.ClusterNode, ClusterRig.ClusterNode, ClusterRig.ClusterNode]
      yield* rig.online
      yield* rig.shared
      const spread = [yield* rig.spread]
      rig.simulator.emit({ rate })
      yield* rig.emitted(1000)

      // Each node answers for all devices.
      for (const node of rig.nodes) yield* findHeldBy(one, rig.devices, node.name)

      // A node is killed: its devices are back with the others once its lease has ended.
      yield* rig.witness(one)
      yield* three.kill
      yield* until("the gateway has seen it", Effect.sync(() => rig.sockets.connected() < devices))
      const killed = yield* timed(rig.online)
      assert.isBelow(killed, Duration.toMillis(lease) + slack)
      spread.push(yield* rig.spread)

      // It is started again, and gets a share back.
      yield* three.start
      yield* rig.shared
      spread.push(yield* rig.spread)

      // A node is stopped in order: its devices are with the others in seconds.
      yield* rig.witness(two)
      const stopping = performance.now()
      const { code, millis } = yield* two.terminate
      assert.strictEqual(code, 0)
      yield* rig.online
      const stopped = Math.round(performance.now() - stopping)
      assert.isBelow(stopped, Duration.toMillis(lease) + slack)
      spread.push(yield* rig.spread)
      yield* two.start
      yield* rig.shared

      // The database restarts: no device loses its socket. A busy machine may take longer than that is promised for.
      yield* rig.witness(three)
      const restart = Effect.gen(function*() {
        const before = rig.sockets.closed()
        const away = yield* timed(Effect.gen(function*() {
          yield* database.stop("fast")
          yield* Effect.sleep(outage)
          yield* database.start
        }))
        yield* rig.emitted(rig.simulator.ledger.count + 10 * rate)
        return { away, closed: rig.sockets.closed() - before }
      })
      const { away, closed } = yield* Effect.repeat(restart, {
        while: ({ away }) => Effect.as(rig.shared, away > bridgedMax),
        times: 4
      })
      assert.isAtMost(away, bridgedMax)
      assert.strictEqual(closed, 0, `no socket closes while the database is away for ${away} ms`)

      rig.simulator.emitter.stop()
      yield* rig.online
      yield* rig.settled
      const { exits, gapVerdict, gaps, verdict } = yield* rig.finish
      const overlaps = rig.sockets.overlaps()
      console.log(
        `back ${killed} ms after kill -9, ${stopped} ms after SIGTERM (which took ${Math.round(millis)} ms); ` +
          `database away for ${away} ms; spread ${spread.map((counts) => counts.join("/")).join(", ")}; ` +
          `${overlaps.devices.size} devices with two sockets, for at most ${Math.round(overlaps.longest)} ms; ` +
          `${
            report(verdict)
          }; ${gaps.length} gaps, ${gapVerdict.recovered} events recovered, ${gapVerdict.missing} missing`
      )
      assert.deepStrictEqual(exits.map((exit) => exit.code), [0, 0, 0])
      assert.isBelow(overlaps.longest, overlapMax)
      assert.isAtMost(overlaps.most, 2)
      assertSound(verdict)
      assert.deepStrictEqual([gapVerdict.unnamed, gapVerdict.untrue], [[], []])
    }))

  it.live("release devices before others claim them if cut off from the database, and write nothing after a suspension", () =>
    Effect.gen(function*() {
      const database = yield* PostgresServer.make
      const url = new URL(yield* freshDatabaseOn(database.url))
      const proxy = yield* FaultProxy.make({ host: "127.0.0.1", port: Number(url.port) })
      const proxied = new URL(url)
      proxied.port = String(proxy.port)
      const few = 90
      const rig = yield* ClusterRig.make({
        databaseUrl: url.href,
        lastDatabaseUrl: proxied.href,
        rabbitUrl: yield* freshVhost,
        devices: few,
        nodes: 3,
        seed: "cut off",
        lease: "12 seconds"
      })
      const [one, two, three] = rig.nodes as [ClusterRig.ClusterNode, ClusterRig.ClusterNode, ClusterRig.ClusterNode]
      const runningBy = (nodes: ReadonlyArray<ClusterRig.ClusterNode>) =>
        Effect.map(
          Effect.forEach(nodes, (node) => node.metric(`columba_devices{state="Online"}`)),
          (counts) => counts.reduce((sum, count) => sum + count) === few
        )
      yield* rig.shared
      rig.simulator.emit({ rate: 50 })
      yield* rig.still

      const held = yield* findHeldBy(one, rig.devices, three.name)
      // Its packets to the database get no answer any more.
      const heal = [
        proxy.add("upstream", { type: "timeout", millis: 0 }),
        proxy.add("downstream", {
          type: "timeout",
          millis: 0
        })
      ]
      const cutAt = performance.now()
      const cut = yield* timed(until("it has closed its sockets", Effect.sync(() => rig.sockets.connected() < few)))
      const takenOver = cut + (yield* timed(until("the others run all", runningBy([one, two]))))
      // The others may hand some of their own over to each other meanwhile.
      const both = held.filter((id) => rig.sockets.overlaps(cutAt).devices.has(rig.upstreamOf.get(id)!))
      assert.deepStrictEqual(both, [], "it closed them before the others opened theirs")
      for (const remove of heal) remove()
      yield* rig.shared
      yield* rig.still
      const afterCut = rig.sockets.overlaps(cutAt)

      // Suspended, it holds its sockets and does not answer; the others take over when its lease ends.
      const [frozen] = yield* findHeldBy(one, rig.devices, three.name)
      yield* three.freeze
      const answer = yield* Effect.promise(() => fetch(`${one.url}/api/v1/devices/${frozen}/status`))
      const { _tag } = (yield* Effect.promise(() => answer.json())) as { readonly _tag: string }
      assert.deepStrictEqual([answer.status, _tag], [503, "DeviceUnreachable"])
      yield* until("the others run all", runningBy([one, two]))
      yield* three.thaw
      const dual = yield* timed(until(
        "each device has one socket",
        Effect.sync(() => [...rig.simulator.devices.values()].every(({ sockets }) => sockets.size === 1))
      ))
      yield* rig.shared
      rig.simulator.emitter.stop()
      yield* rig.settled
      const { exits, gapVerdict, verdict } = yield* rig.finish
      console.log(
        `closed its sockets ${cut} ms after it was cut off, taken over after ${takenOver} ms; ` +
          `two sockets for ${dual} ms after a thaw; ${report(verdict)}`
      )
      assert.isBelow(afterCut.longest, overlapMax)
      assert.isAtMost(afterCut.most, 2)
      assert.deepStrictEqual(exits.map((exit) => exit.code), [0, 0, 0])
      // What it decided during the suspension is not recorded: no device is stopped without a start after its last stop.
      for (const [device, rules] of yield* rig.rules) {
        const turns = rules.filter((rule) => rule === "started" || rule === "moved" || rule === "fleet-stopped")
        const twice = turns.findIndex((rule, index) => rule !== "started" && turns[index - 1] !== "started")
        assert.strictEqual(twice, -1, `${device}: ${turns.join(", ")}`)
      }
      assertSound(verdict)
      assert.deepStrictEqual([gapVerdict.unnamed, gapVerdict.untrue], [[], []])
    }))

  it.live("let all devices go when the database stays away, and connect them again when it is back, though their clocks differ; strangers are refused", () =>
    Effect.gen(function*() {
      const database = yield* PostgresServer.make
      const databaseUrl = yield* freshDatabaseOn(database.url)
      const few = 60
      const rig = yield* ClusterRig.make({
        databaseUrl,
        rabbitUrl: yield* freshVhost,
        devices: few,
        nodes: 2,
        seed: "long outage",
        lease: "6 seconds",
        lastClockAhead: 300
      })
      yield* rig.shared

      // One that is no node, and one with the name of the first node.
      const [one] = rig.nodes as [ClusterRig.ClusterNode]
      const env = { DATABASE_URL: databaseUrl, WHATSAPP_API_URL: "http://127.0.0.1:9" }
      const alone = yield* ColumbaProcess.make({ directory: yield* freshDirectory, env })
      assert.notStrictEqual((yield* alone.runToEnd).code, 0)
      assert.match(yield* alone.log, /another process runs the devices of this database: 'columba devices /)
      const twin = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: {
          ...env,
          COLUMBA_CLUSTER: "on",
          COLUMBA_SECRET_KEY: ClusterRig.secretKey,
          COLUMBA_NODE_PORT: one.name.split(":")[1] ?? ""
        }
      })
      assert.notStrictEqual((yield* twin.runToEnd).code, 0)
      assert.include(yield* twin.log, `this node cannot be ${one.name}`)

      rig.simulator.emit({ rate: 50 })
      yield* rig.emitted(200)
      yield* rig.still
      const endedAt = performance.now()
      yield* database.stop("fast")
      const dropped = yield* timed(until("all sockets are closed", Effect.sync(() => rig.sockets.connected() === 0)))
      yield* database.start
      const back = yield* timed(rig.online)
      const overlaps = rig.sockets.overlaps(endedAt)
      yield* rig.shared
      rig.simulator.emitter.stop()
      yield* rig.settled
      const { exits, gapVerdict, verdict } = yield* rig.finish
      console.log(
        `closed all sockets after ${dropped} ms without a database, back ${back} ms after it; ${report(verdict)}`
      )
      assert.strictEqual(overlaps.devices.size, 0)
      assert.deepStrictEqual(exits.map((exit) => exit.code), [0, 0])
      assertSound(verdict)
      assert.deepStrictEqual([gapVerdict.unnamed, gapVerdict.untrue], [[], []])
    }))
})

const findHeldBy = Effect.fnUntraced(function*(
  asked: ClusterRig.ClusterNode,
  devices: ReadonlyArray<string>,
  node: string
) {
  const held: Array<string> = []
  for (const id of devices) {
    const connection = yield* asked.get<{ readonly node: string; readonly hosted: object | null }>(
      `/api/v1/devices/${id}/connection`
    )
    if (connection.node === node && connection.hosted !== null) held.push(id)
  }
  assert.isNotEmpty(held, `${node} runs devices`)
  return held
})
