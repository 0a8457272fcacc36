/**
 * The endpoint of a subscription: a real HTTP server behind a proxy. It has accepted a delivery that it answered with 2xx, and its
 * ledger is the list of accepted ones, in order. Every signature is checked.
 */
import { createHmac } from "node:crypto"
import { Effect } from "effect"
import type { Scope } from "effect"
import { seeded } from "../../src/simulator/Seeded.ts"
import type { Delivered } from "../../test/support/Ledger.ts"
import * as Subscriber from "../../test/support/subscriber.ts"
import type { Received } from "../../test/support/subscriber.ts"

export interface Endpoint {
  readonly port: number
  readonly entries: Effect.Effect<ReadonlyArray<Delivered>>
  /** Deliveries that were not signed with the secret. */
  readonly forged: (secret: string) => Effect.Effect<ReadonlyArray<string>>
  /** Answers with this status from now on: by chance, or always. */
  readonly fail: (status: number, chance: number) => Effect.Effect<void>
  readonly heal: Effect.Effect<void>
}

export const make = (seed: string): Effect.Effect<Endpoint, never, Scope.Scope> =>
  Effect.map(Subscriber.start(), (subscriber) => {
    const random = seeded(`${seed}/endpoint`)
    return {
      port: subscriber.port,
      entries: Effect.sync(() => subscriber.received.filter(isTaken).map(toDelivered)),
      forged: (secret) =>
        Effect.sync(() => subscriber.received.flatMap((one) => isSigned(one, secret) ? [] : [`${one.seq} ${one.id}`])),
      fail: (status, chance) =>
        Effect.sync(() => {
          subscriber.answer = (received, response) =>
            Subscriber.status(random.chance(chance) ? status : 204)(received, response)
        }),
      heal: Effect.sync(() => {
        subscriber.answer = Subscriber.status(204)
      })
    }
  })

const isTaken = ({ status }: Received): boolean => status !== null && status >= 200 && status < 300

const toDelivered = ({ deviceId, id, kind, seq }: Received): Delivered => ({
  messageId: id,
  seq,
  kind,
  deviceId,
  redelivered: false
})

/** The time is ignored: rows set the clock. */
const isSigned = ({ headers, text }: Received, secret: string): boolean => {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64")
  const signed = `${String(headers["webhook-id"])}.${String(headers["webhook-timestamp"])}.${text}`
  const wanted = `v1,${createHmac("sha256", key).update(signed).digest("base64")}`
  return String(headers["webhook-signature"]).split(" ").includes(wanted)
}
