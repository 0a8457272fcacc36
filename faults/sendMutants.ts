/** Programs that break a promise about messages that are sent, or handled, on purpose. */
import type { Mutant } from "./mutants.ts"
import { dieThere } from "./planted.ts"

export const sendMutants: ReadonlyArray<Mutant> = [
  {
    name: "sends-again",
    title: "messages that were being sent when the process ended are sent again",
    file: "src/layers/postgres/SqlSendRepository.ts",
    changes: [
      [
        "    update sends s set state = 'unknown', reason = 'process-ended', untold = true, updated_at = ${now},\n" +
        "      detail = 'the process that was sending it ended before the gateway''s answer was recorded'\n",
        "    update sends s set state = 'pending', updated_at = ${now}\n"
      ],
      [
        "  union all select 'untold', ${sendColumns} from lost s\n",
        "  union all select 'due', ${sendColumns} from lost s\n"
      ]
    ],
    rows: ["sends-die", "sends-kill", "sends-stop"],
    condemned: ["resent"],
    smoke: false
  },
  {
    name: "reset-is-refusal",
    title: "a message counts as not sent when its connection has broken",
    file: "src/layers/gateways/SendRest.ts",
    changes: [["  return !whole || hasNotBegun(error)\n", "  return whole || hasNotBegun(error)\n"]],
    rows: ["sends-reset"],
    condemned: ["resent"],
    smoke: false
  },
  {
    name: "forgets-outcomes",
    title: "an outcome that could not be recorded at once is not recorded",
    file: "src/actors/sending/SendQueue.ts",
    changes: [[
      "        return yield* recorded\n",
      "        return yield* Effect.timeoutOption(recorded, \"200 millis\")\n"
    ]],
    rows: ["sends-database"],
    condemned: ["resent", "stuck", "unaccounted"],
    smoke: false
  },
  {
    name: "notes-apart",
    title: "a message is recorded as handled in a separate transaction, before the writes of its handler",
    file: "src/layers/postgres/SqlMessageInbox.ts",
    changes: [
      [
        "      sql.withTransaction(Effect.gen(function*() {\n        // First",
        "      Effect.suspend(() => Effect.gen(function*() {\n        // First"
      ],
      [
        "        yield* commit\n        return true",
        "        yield* Effect.sleep(\"50 millis\")\n        yield* commit\n        return true"
      ]
    ],
    rows: ["handler-kill", "handler-database"],
    condemned: ["lost"],
    smoke: false
  },
  {
    name: "acknowledges-first",
    title: "a message is acknowledged before it is handled",
    file: "src/layers/rabbitmq/RabbitSource.ts",
    changes: [
      [
        "      const settled = Effect.flatMap(take(event), (handled) => {\n",
        "      channel.ack(message)\n      yield* Effect.sleep(\"50 millis\")\n      const settled = Effect.flatMap(take(event), (handled) => {\n"
      ],
      ["      if (next === \"ack\") channel.ack(message)\n      else channel", "      if (next !== \"ack\") channel"]
    ],
    rows: ["handler-kill"],
    condemned: ["lost"],
    smoke: false
  },
  {
    name: "forgets-handled",
    title: "a message that comes again is not checked for whether it was handled",
    file: "src/layers/postgres/SqlMessageInbox.ts",
    changes: [
      ["        if (noted.length === 0) return false\n", ""],
      [
        "        ).pipe(Effect.map((rows) => rows.length > 0), answered(\"look whether a message",
        "        ).pipe(Effect.as(false), answered(\"look whether a message"
      ]
    ],
    rows: ["handler-broker", "dead-letters-retried"],
    condemned: ["repeated"],
    smoke: false
  },
  {
    name: "dead-letter-taken-first",
    title: "a dead letter is removed before it is in its queue again",
    file: "src/layers/rabbitmq/RabbitDeadLetters.ts",
    changes: [
      [
        "          yield* how(channel, message)\n",
        `          channel.ack(message)
          yield* attempt(() => channel.checkQueue(deadQueue))
          ${dieThere}          yield* how(channel, message)
`
      ],
      ["              channel.ack(message)\n              taken++", "              taken++"]
    ],
    rows: ["dead-letters-retried"],
    condemned: ["lost"],
    smoke: false
  }
]
