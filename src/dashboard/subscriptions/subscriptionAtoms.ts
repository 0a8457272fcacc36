/** One subscription and its attempts. */
import { Effect } from "effect"
import { Atom } from "effect/reactivity"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import type { SubscriptionId } from "../../domain/Subscription.ts"
import { client } from "../session.ts"

const askEvery = "3 seconds"
const attemptsShown = 100

export const subscriptionAtom = Atom.family((id: SubscriptionId) =>
  client.atom(
    Effect.flatMap(ColumbaClient, ({ subscriptions }) =>
      Effect.all({
        subscription: subscriptions.get({ id }),
        attempts: subscriptions.deliveries({ id, limit: attemptsShown })
      }, { concurrency: 2 }))
  ).pipe(Atom.withRefresh(askEvery))
)
