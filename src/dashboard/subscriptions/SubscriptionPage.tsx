/** One subscription: the state of its deliveries, its log of attempts, and its actions. */
import { useState } from "react"
import { Position } from "../../domain/Ids.ts"
import type { Delivery, Subscription, SubscriptionId } from "../../domain/Subscription.ts"
import { subscriptionsAtom } from "../fleet/fleetAtoms.ts"
import { mayAtom } from "../session.ts"
import { useAtomRefresh, useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Button, ConfirmButton, count, Empty, Facts, Failure, Field, Loaded, Notice, Panel } from "../ui/parts.tsx"
import { go, hrefs } from "../ui/route.ts"
import { Ago, Clock } from "../ui/time.tsx"
import { subscriptionAtom } from "./subscriptionAtoms.ts"
import { SubscriptionState } from "./SubscriptionsPage.tsx"

const Replay = ({ changed, id }: { readonly id: SubscriptionId; readonly changed: () => void }) => {
  const [after, setAfter] = useState("0")
  const replay = useCommand(
    (client) => client.subscriptions.replay({ id, after: Position.make(after.trim()) }),
    changed
  )
  return (
    <Form submit="Replay" kind="plain" onSubmit={replay.run} pending={replay.pending} failure={replay.failure}>
      <Field
        label="Replay everything after"
        value={after}
        onChange={setAfter}
        required
        hint="A number of the log or a position; 0 is the oldest event that is kept."
      />
    </Form>
  )
}

const Actions = ({ changed, subscription }: { readonly subscription: Subscription; readonly changed: () => void }) => {
  const { id, state } = subscription
  const pause = useCommand((client) => client.subscriptions.edit({ id, paused: state !== "paused" }), changed)
  const enable = useCommand((client) => client.subscriptions.enable({ id }), changed)
  const test = useCommand((client) => client.subscriptions.test({ id }), (result) => {
    setTested(
      `${result.outcome}${result.status === null ? "" : ` (${result.status})`} in ${result.millis} ms${
        result.detail === null ? "" : `: ${result.detail}`
      }`
    )
    changed()
  })
  const listed = useAtomRefresh(subscriptionsAtom)
  const remove = useCommand((client) => client.subscriptions.remove({ id }), () => {
    listed()
    go(hrefs.subscriptions)
  })
  const [tested, setTested] = useState<string | null>(null)
  const failing = state === "disabled" || subscription.health.failing !== null
  return (
    <>
      <div className="actions">
        {failing
          ? (
            <Button kind="primary" onClick={enable.run} pending={enable.pending}>
              {state === "disabled" ? "Enable" : "Try now"}
            </Button>
          )
          : null}
        <Button onClick={test.run} pending={test.pending}>Send a test</Button>
        {state === "disabled"
          ? null
          : <Button onClick={pause.run} pending={pause.pending}>{state === "paused" ? "Resume" : "Pause"}</Button>}
        <ConfirmButton ask="Remove it?" onClick={remove.run} pending={remove.pending}>Remove</ConfirmButton>
      </div>
      {tested === null
        ? null
        : <Notice tone={tested.startsWith("delivered") ? "good" : "bad"}>The test was {tested}.</Notice>}
      <Failure message={pause.failure ?? enable.failure ?? test.failure ?? remove.failure} />
      <Replay id={id} changed={changed} />
    </>
  )
}

const Attempt = ({ delivery }: { readonly delivery: Delivery }) => (
  <tr>
    <td>
      <Clock at={delivery.at} />
    </td>
    <td className={delivery.outcome === "delivered" ? "tone-good" : "tone-bad"}>
      {delivery.outcome}
      {delivery.abandoned ? ", given up" : ""}
    </td>
    <td className="num">{delivery.status ?? "–"}</td>
    <td className="num right">{count(delivery.millis)} ms</td>
    <td className="num right">{delivery.attempt}</td>
    <td className="num right">{delivery.seq}</td>
    <td>
      <code>{delivery.kind}</code>
    </td>
    <td>
      <a href={hrefs.device(delivery.deviceId)}>{delivery.deviceId.slice(0, 12)}…</a>
    </td>
    <td className="wide">{delivery.detail}</td>
  </tr>
)

const SubscriptionFacts = ({ subscription }: { readonly subscription: Subscription }) => {
  const { behind, headers, health, kinds } = subscription
  return (
    <Facts
      facts={[
        ["State", <SubscriptionState key="s" subscription={subscription} />],
        ["Behind", <span className="num" key="b">{count(behind)} events</span>],
        ["Last delivered", health.lastDeliveredAt === null ? "never" : <Ago key="l" at={health.lastDeliveredAt} />],
        ["Kinds", kinds === null ? "all" : kinds.join(", ")],
        ["Headers", headers.length === 0 ? "none" : headers.join(", ")],
        ["Given up", <span className="num" key="g">{count(health.abandoned)}</span>],
        ...(health.expired === 0
          ? []
          : [["Expired", <span className="num tone-bad" key="e">{count(health.expired)}</span>] as const])
      ]}
    />
  )
}

export const SubscriptionPage = ({ id }: { readonly id: SubscriptionId }) => {
  const { manage } = useAtomValue(mayAtom)
  const atom = subscriptionAtom(id)
  const changed = useAtomRefresh(atom)
  return (
    <main className="page wide-columns">
      <Loaded result={useAtomValue(atom)} lines={8}>
        {({ attempts, subscription }) => (
          <>
            <header className="device-head">
              <p className="crumb">
                <a href={hrefs.subscriptions}>Subscriptions</a>
              </p>
              <h1 className="break">{subscription.name ?? subscription.url}</h1>
              <p className="device-ids break">{subscription.url}</p>
            </header>
            <div>
              <Panel title="Deliveries">
                <SubscriptionFacts subscription={subscription} />
              </Panel>
              {manage
                ? (
                  <Panel title="Do">
                    <Actions subscription={subscription} changed={changed} />
                  </Panel>
                )
                : null}
            </div>
            <Panel title="Attempts, newest first">
              {attempts.items.length === 0 ?
                <Empty>None yet.</Empty> :
                (
                  <div className="table-place" tabIndex={0} role="region" aria-label="Attempts">
                    <table>
                      <thead>
                        <tr>
                          <th>At</th>
                          <th>Outcome</th>
                          <th>Status</th>
                          <th className="right">Took</th>
                          <th className="right">Attempt</th>
                          <th className="right">Event</th>
                          <th>Kind</th>
                          <th>Device</th>
                          <th>Detail</th>
                        </tr>
                      </thead>
                      <tbody>
                        {attempts.items.map((one) => (
                          <Attempt key={`${one.eventId} ${one.at} ${one.attempt}`} delivery={one} />
                        ))}
                      </tbody>
                    </table>
                  </div>
                )}
            </Panel>
          </>
        )}
      </Loaded>
    </main>
  )
}
