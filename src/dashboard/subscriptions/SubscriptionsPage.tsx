/** The servers that get events by HTTP, and a form for another one. */
import { Redacted } from "effect"
import { useState } from "react"
import type { Subscription } from "../../domain/Subscription.ts"
import { subscriptionsAtom } from "../fleet/fleetAtoms.ts"
import { mayAtom } from "../session.ts"
import { useAtomRefresh, useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Choice, count, Empty, Field, Loaded, Panel } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { Secret } from "../ui/Secret.tsx"
import { Ago } from "../ui/time.tsx"

export const SubscriptionState = (
  { subscription: { disabled, health, state } }: { readonly subscription: Subscription }
) => {
  if (state === "disabled") {
    return <span className="tone-bad">disabled{disabled === null ? "" : `: ${disabled.reason}`}</span>
  }
  if (state === "paused") return <span className="tone-off">paused</span>
  if (health.failing !== null) {
    return (
      <span className="tone-bad">
        failing since <Ago at={health.failing.since} />
      </span>
    )
  }
  return health.held.length > 0
    ? <span className="tone-wait">{count(health.held.length)} devices wait</span>
    : <span className="tone-good">active</span>
}

const AddSubscription = () => {
  const refresh = useAtomRefresh(subscriptionsAtom)
  const [url, setUrl] = useState("")
  const [name, setName] = useState("")
  const [kinds, setKinds] = useState("")
  const [from, setFrom] = useState<"now" | "beginning">("now")
  const [secret, setSecret] = useState<string | null>(null)
  const add = useCommand(
    (client) => {
      const wanted = kinds.split(/[\s,]+/).filter((kind) => kind !== "")
      return client.subscriptions.create({
        url: Redacted.make(url.trim()),
        from,
        ...(name.trim() === "" ? {} : { name: name.trim() }),
        ...(wanted.length === 0 ? {} : { kinds: wanted })
      })
    },
    (created) => {
      setSecret(Redacted.value(created.secret))
      setUrl("")
      setName("")
      refresh()
    }
  )
  return (
    <Panel title="Add a subscription">
      {secret === null ? null : (
        <Secret
          key={secret}
          secret={secret}
          words="The subscription was added. This is its signing secret. It is shown only once."
          done={() => setSecret(null)}
        />
      )}
      <Form
        submit="Add the subscription"
        onSubmit={() => {
          setSecret(null)
          add.run()
        }}
        pending={add.pending}
        failure={add.failure}
      >
        <Field label="URL" value={url} onChange={setUrl} required placeholder="https://hooks.example.com/columba" />
        <Field label="Name" value={name} onChange={setName} placeholder="Orders" />
        <Field
          label="Kinds of events"
          value={kinds}
          onChange={setKinds}
          placeholder="message.received, message.ack"
          hint="Empty: all."
        />
        <Choice
          label="It begins"
          value={from}
          onChange={setFrom}
          options={[["now", "with what comes from now on"], ["beginning", "with the oldest event that is kept"]]}
        />
      </Form>
    </Panel>
  )
}

const Entry = ({ subscription }: { readonly subscription: Subscription }) => (
  <li className="entry">
    <div className="entry-main">
      <h3>
        <a href={hrefs.subscription(subscription.id)}>{subscription.name ?? subscription.url}</a>
      </h3>
      <p className="break">{subscription.url}</p>
      <p className="note">
        {subscription.kinds === null ? "all kinds" : subscription.kinds.join(", ")}
        {subscription.devices === null ? "" : ` · of ${count(subscription.devices.length)} devices`}
      </p>
    </div>
    <p className="entry-state">
      <SubscriptionState subscription={subscription} />
    </p>
    <p className="entry-number num">{count(subscription.behind)} behind</p>
  </li>
)

export const SubscriptionsPage = () => {
  const { manage } = useAtomValue(mayAtom)
  return (
    <main className="page columns">
      <h1 className="unseen">Subscriptions</h1>
      <Panel title="Subscriptions">
        <Loaded result={useAtomValue(subscriptionsAtom)}>
          {({ items }) =>
            items.length === 0
              ? <Empty>No subscriptions. A subscription posts events to a URL, signed and in order.</Empty>
              : <ul className="entries">{items.map((one) => <Entry key={one.id} subscription={one} />)}</ul>}
        </Loaded>
      </Panel>
      {manage ? <AddSubscription /> : null}
    </main>
  )
}
