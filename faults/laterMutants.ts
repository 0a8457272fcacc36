/**
 * Programs that break a promise on purpose, which the long rows must detect. They are not part of every test run;
 * `npm run faults -- --mutants <name>` shows whether its rows detect one.
 */
import type { Mutant } from "./mutants.ts"

const makeReconnectRows = ["dropped", "unresolved", "refused", "limited", "hang", "errors", "slow", "exit"]

export const later: ReadonlyArray<Mutant> = [
  {
    name: "nothing-known-again",
    title: "a repeat of an event is not recognised",
    file: "src/layers/postgres/migrations/appendFunction.ts",
    changes: [[
      "          case when v_refused[u.g] then null else u.key::uuid end as key,",
      "          null::uuid as key,"
    ]],
    rows: ["duplicates", "die-after-commit"],
    condemned: ["doubled", "invented"],
    smoke: false
  },
  {
    name: "new-id-each-time",
    title: "an event that is published again has another id",
    file: "src/layers/rabbitmq/ConfirmChannel.ts",
    changes: [["    return { messageId: event.id, type", "    return { messageId: crypto.randomUUID(), type"]],
    rows: ["die-after-confirm"],
    condemned: ["split"],
    smoke: false
  },
  {
    name: "defect-everywhere",
    title: "a defect that a frame causes is not contained",
    file: "src/actors/device/DeviceCell.ts",
    changes: [
      [
        "      cell.post({ _tag: \"Crashed\", detail: describeDefect(defect) })\n    }\n  }\n\n  onEnd",
        "      throw defect\n    }\n  }\n\n  onEnd"
      ],
      [
        "    try {\n      this.#handle(cell, event)\n",
        "    try {\n      if (cell.device.upstreamId === \"slot-1\" && process.getBuiltinModule(\"node:fs\").existsSync(process.env[\"COLUMBA_FAULTS_PLANT\"] ?? \"\")) throw new Error(\"planted\")\n      this.#handle(cell, event)\n"
      ]
    ],
    rows: ["defect"],
    condemned: ["died"],
    smoke: false
  },
  {
    name: "gives-up",
    title: "a lost connection is retried after an hour",
    file: "src/actors/Supervision.ts",
    changes: [
      ["const reconnectDelayBase = Duration.millis(500)", "const reconnectDelayBase = Duration.hours(1)"],
      ["export const reconnectDelayMax = Duration.seconds(30)", "export const reconnectDelayMax = Duration.hours(1)"],
      [
        "  Schedule.exponential(Duration.millis(500), 2),\n  Schedule.spaced(Duration.seconds(15))",
        "  Schedule.exponential(Duration.hours(1), 2),\n  Schedule.spaced(Duration.hours(1))"
      ]
    ],
    rows: makeReconnectRows,
    condemned: ["stuck"],
    smoke: false
  },
  {
    name: "insists",
    title: "refused credentials are retried every second",
    file: "src/actors/Supervision.ts",
    changes: [[
      "export const authProbeDelay = Duration.minutes(5)",
      "export const authProbeDelay = Duration.seconds(1)"
    ]],
    rows: ["credentials", "waha-credentials"],
    condemned: ["attempts"],
    smoke: false
  },
  {
    name: "never-tires",
    title: "a device that flaps is reconnected at once, each time",
    file: "src/actors/Supervision.ts",
    changes: [
      ["const reconnectDelayBase = Duration.millis(500)", "const reconnectDelayBase = Duration.millis(50)"],
      ["export const reconnectDelayMax = Duration.seconds(30)", "export const reconnectDelayMax = Duration.millis(50)"],
      ["    transport: { intensity: 10,", "    transport: { intensity: 100_000,"]
    ],
    rows: ["flapping"],
    condemned: ["attempts"],
    smoke: false
  },
  {
    name: "impatient",
    title: "a socket whose pong takes two seconds counts as dead",
    file: "src/layers/gateways/PingWheel.ts",
    changes: [["{ turn: 10_000, slots: 100, missesMax: 2 }", "{ turn: 1_000, slots: 100, missesMax: 1 }"]],
    // At the rate of `trickle` frames still arrive, and those are signs of life.
    rows: ["delayed"],
    condemned: ["missed"],
    smoke: false
  },
  {
    name: "text-is-identity",
    title: "another text under the same id counts as another message",
    file: "src/log/EventKey.ts",
    changes: [[
      "    return deriveMessageKeyParts(draft.deviceId, identity)",
      "    return deriveMessageKeyParts(draft.deviceId, { ...identity, waId: `${identity.waId} ${draft.data.body}` })"
    ]],
    rows: ["poisoned"],
    condemned: ["doubled", "invented", "altered"],
    smoke: false
  },
  {
    name: "believes-names",
    title: "a webhook that another device has signed is accepted for the device that it names",
    file: "src/services/WebhookIngest.ts",
    changes: [["      foreign = true\n      return null\n", "      return peek(name)\n"]],
    rows: ["gowa-wrong-device"],
    condemned: ["invented"],
    smoke: false
  },
  {
    name: "chokes-on-size",
    title: "after a very large frame the socket is no longer read",
    file: "src/layers/gateways/SocketSession.ts",
    changes: [[
      "      this.#listener.onEvent(rejectOversized(data, this.target, now, this.#options.frameBytesMax))\n",
      "      this.#listener.onEvent(rejectOversized(data, this.target, now, this.#options.frameBytesMax))\n      this.#socket.pause()\n"
    ]],
    rows: ["huge"],
    condemned: ["missed", "stuck"],
    smoke: false
  },
  {
    name: "deaf-to-deafness",
    title: "messages that are in the history and were not delivered by the session prove nothing",
    file: "src/actors/gateway/Deafness.ts",
    changes: [[
      "    if (since === null) return\n    // Set at once",
      "    if (since !== 0) return\n    // Set at once"
    ]],
    rows: ["deaf"],
    condemned: ["unnamed"],
    smoke: false
  },
  {
    name: "pages-by-offset",
    title: "rows that are removed between two pages make the reader skip others",
    file: "src/layers/gateways/waha/WahaHistory.ts",
    changes: [["const pageOverlap = 20", "const pageOverlap = 0"], ["const pageLimit = 100", "const pageLimit = 20"]],
    rows: ["waha-taken-back"],
    condemned: ["unrecovered", "untrue"],
    smoke: false
  },
  {
    name: "delivered-when-sent",
    title: "an event counts as delivered whatever the endpoint answers",
    file: "src/actors/delivery/webhooks/Courier.ts",
    changes: [[
      "    const consequence = plan.report(job, result, now(), at)",
      "    const consequence = plan.report(job, { ...result, outcome: \"delivered\" }, now(), at)"
    ]],
    rows: ["endpoint-errors", "endpoint-cut", "endpoint-black-hole"],
    condemned: ["lost"],
    smoke: false
  },
  {
    name: "dead-letters-dropped",
    title: "the broker drops dead letters if their queue is missing",
    file: "src/layers/rabbitmq/Topology.ts",
    changes: [["    \"x-dead-letter-strategy\": \"at-least-once\",\n", ""]],
    rows: ["dead-letters-deleted"],
    condemned: ["unmet"],
    smoke: false
  }
]
