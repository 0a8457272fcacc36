/**
 * The cost of decoding a frame, compared with bare `JSON.parse`, over a mix of simulated traffic. The steps are
 * measured in turns and the best turn of each counts, so that other work on the machine does not change the ratios:
 * `validated` is parsing and the schema alone, `decoded` is all of `decodeFrame`, with ids and hash.
 */
import type { DeviceId, UpstreamId } from "../src/domain/Ids.ts"
import { decodeFrame } from "../src/layers/gateways/bridge/BridgeDecoder.ts"
import { decodeAck, decodeAction, decodeMessage, readEnvelope } from "../src/layers/gateways/eventPayloads.ts"
import { encodeFrame } from "../src/simulator/bridge/frames.ts"
import { scenario } from "../src/simulator/Scenario.ts"
import { report } from "./support/report.ts"
import type { Figure } from "./support/report.ts"

const frameCount = 2000
const turns = 60

const target = {
  deviceId: `dev_${"0".repeat(26)}` as DeviceId,
  upstreamId: "sim-1" as UpstreamId,
  jid: "6281234567890@s.whatsapp.net"
}
const now = Date.UTC(2026, 7, 22)
const play = scenario("bench", "sim-1")
const frames = Array.from({ length: frameCount }, () => {
  const { event, payload } = play.next(now)
  return encodeFrame("sim-1", event, payload)
})
const buffers = frames.map((frame) => Buffer.from(frame))

const validate = (text: string): unknown => {
  const envelope = readEnvelope(JSON.parse(text))
  if (envelope === null) return null
  if (envelope.event === "message") return decodeMessage(envelope.payload)
  if (envelope.event === "message.ack") return decodeAck(envelope.payload)
  return envelope.event.startsWith("message.") ? decodeAction(envelope.payload) : envelope
}

const steps: Readonly<Record<string, (index: number) => unknown>> = {
  text: (index) => buffers[index]!.toString("utf8"),
  parsed: (index) => JSON.parse(frames[index]!),
  validated: (index) => validate(frames[index]!),
  decoded: (index) => decodeFrame(frames[index]!, target, now)
}

const best = new Map<string, number>()
let kept: unknown
for (let turn = 0; turn < turns; turn++) {
  for (const [name, step] of Object.entries(steps)) {
    const began = performance.now()
    for (let index = 0; index < frameCount; index++) kept = step(index)
    const nanos = (performance.now() - began) * 1e6 / frameCount
    best.set(name, Math.min(best.get(name) ?? Infinity, nanos))
  }
}

const bytes = Math.round(buffers.reduce((sum, { length }) => sum + length, 0) / frameCount)
const figure = (name: string, step: string, atMost: number | null): Figure => ({
  name,
  unit: "ns",
  floor: best.get("parsed")!,
  columba: best.get(step)!,
  target: atMost === null ? null : { atMost }
})
if (kept === undefined) throw new Error("Nothing was read")
report({
  benchmark: "decode",
  runs: turns,
  conditions:
    `a mix of simulated traffic, ${bytes} bytes a frame; the bare floor is \`JSON.parse\` of the same frames; ` +
    "the best turn of each step counts",
  figures: [
    figure("reading a frame, checked", "validated", 1.25),
    figure("reading a frame, with ids and hash", "decoded", null)
  ],
  details: Object.fromEntries(best)
})
