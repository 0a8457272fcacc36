/** What needs a person, in words, with the button that helps. The worst is on top. */
import { AsyncResult } from "effect/reactivity"
import { useState } from "react"
import type { ReactNode } from "react"
import { knownNodesAtom } from "../nodes/nodeAtoms.ts"
import { deadLetterCountAtom } from "../dead/deadLetterAtoms.ts"
import type { Subscription } from "../../domain/Subscription.ts"
import { mayAtom } from "../session.ts"
import { useAtomSet, useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Button, count, Failure, Panel } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { StateBadge } from "../ui/StateBadge.tsx"
import { Ago } from "../ui/time.tsx"
import { Words } from "../ui/Words.tsx"
import type { DeviceRow, FleetView } from "../../client/FleetModel.ts"
import { explanationAtom, figuresAtom, filterAtom, serverAtom, subscriptionsAtom } from "./fleetAtoms.ts"

/** Each costs a request to the server; the rest are one press away. */
const devicesShown = 4

const Item = ({ action, children, sign }: {
  readonly sign: ReactNode
  readonly children: ReactNode
  readonly action?: ReactNode
}) => (
  <li className="attention-item">
    <div className="attention-sign">{sign}</div>
    <div className="attention-words">{children}</div>
    <div className="attention-action">{action}</div>
  </li>
)

const Alarm = ({ word }: { readonly word: string }) => (
  <span className="state tone-bad">
    <svg className="sign tone-bad" viewBox="0 0 12 12" aria-hidden="true">
      <path d="M6 1l5.2 9.6H.8zM6 4.4v2.8M6 8.6v.6" />
    </svg>
    {word}
  </span>
)

const ReleaseButton = ({ row }: { readonly row: DeviceRow }) => {
  const release = useCommand((client) => client.devices.release({ id: row.id }))
  return (
    <>
      <Button onClick={release.run} pending={release.pending} label={`Release ${row.name}`}>Release</Button>
      <Failure message={release.failure} />
    </>
  )
}

const NeedyDevice = ({ row }: { readonly row: DeviceRow }) => {
  const { manage } = useAtomValue(mayAtom)
  const explained = AsyncResult.value(useAtomValue(explanationAtom(row.id)))
  const words = explained._tag === "Some" && explained.value.state === row.state._tag ? explained.value : null
  const tag = row.state._tag
  const action = !manage
    ? null
    : tag === "Quarantined"
    ? <ReleaseButton row={row} />
    : tag === "AwaitingLogin" || tag === "LoggedOut"
    ? <a className="button" href={hrefs.login(row.id)} aria-label={`Log in ${row.name}`}>Log in</a>
    : null
  return (
    <Item sign={<StateBadge state={tag} />} action={action}>
      <p>
        <a href={hrefs.device(row.id)}>{row.name}</a>{" "}
        <span className="why">
          <Words text={words?.why ?? " "} />
        </span>
      </p>
      <p className="fix">
        <Words text={words?.howToFix ?? " "} />
      </p>
    </Item>
  )
}

const EnableButton = ({ subscription }: { readonly subscription: Subscription }) => {
  const enable = useCommand((client) => client.subscriptions.enable({ id: subscription.id }))
  return (
    <>
      <Button
        onClick={enable.run}
        pending={enable.pending}
        label={`Try ${subscription.name ?? subscription.url} again`}
      >
        {subscription.state === "disabled" ? "Enable" : "Try now"}
      </Button>
      <Failure message={enable.failure} />
    </>
  )
}

const describeTrouble = ({ disabled, health, state }: Subscription): string | null => {
  if (state === "disabled") {
    return disabled?.reason === "gone"
      ? "was disabled: its endpoint answered that it is gone"
      : "was disabled: its endpoint took nothing for three days"
  }
  if (state === "active" && health.failing !== null) {
    const { attempts, attemptsMax, detail, outcome, status } = health.failing
    return `takes nothing (${detail ?? status ?? outcome}): ${attempts} of ${attemptsMax} attempts failed`
  }
  return null
}

export const Attention = ({ view }: { readonly view: FleetView }) => {
  const [all, setAll] = useState(false)
  const { manage } = useAtomValue(mayAtom)
  const setFilter = useAtomSet(filterAtom)
  const figures = AsyncResult.value(useAtomValue(figuresAtom))
  const server = AsyncResult.value(useAtomValue(serverAtom))
  const listed = AsyncResult.value(useAtomValue(subscriptionsAtom))
  const dead = AsyncResult.getOrElse(useAtomValue(deadLetterCountAtom), () => 0)
  const nodes = useAtomValue(knownNodesAtom).filter(({ alive }) => !alive)
  const overview = figures._tag === "Some" ? figures.value.overview : null
  const incidents = overview?.incidents ?? []
  const sinks = (overview?.sinks ?? []).filter(({ expired, failure }) => failure !== null || expired > 0)
  const checks = server._tag === "Some" ? server.value.checks.filter(({ ready }) => !ready) : []
  const subscriptions = (listed._tag === "Some" ? listed.value.items : []).flatMap((subscription) => {
    const trouble = describeTrouble(subscription)
    return trouble === null ? [] : [{ subscription, trouble }]
  })
  const devices = all ? view.needy.slice(0, 50) : view.needy.slice(0, devicesShown)
  const hidden = view.needy.length - devices.length
  const total = incidents.length + nodes.length + sinks.length + checks.length + subscriptions.length +
    (dead === 0 ? 0 : 1) +
    view.needy.length
  return (
    <Panel
      title="Needs you"
      className="attention"
      aside={<span className={`tally ${total === 0 ? "tone-good" : "tone-bad"}`}>{count(total)}</span>}
    >
      {total === 0 ? <p className="calm">Nothing. Interrupted connections recover automatically.</p> : (
        <ul>
          {incidents.map(({ gateway, nextProbeAt, reason, since, waiting }) => (
            <Item key={`i-${gateway}`} sign={<Alarm word="Gateway down" />}>
              <p>
                <strong>{gateway}</strong>{" "}
                <span className="why">
                  has been down since <Ago at={since} />: {reason}.
                  {waiting === null ? "" : ` ${count(waiting)} devices wait for it.`}
                </span>
              </p>
              <p className="fix">
                Bring it back; it is probed again <Ago at={nextProbeAt} />, and its devices return by themselves.
              </p>
            </Item>
          ))}
          {checks.map(({ detail, name }) => (
            <Item key={`c-${name}`} sign={<Alarm word="Not ready" />}>
              <p>
                <strong>{name}</strong> <span className="why">{detail}</span>
              </p>
            </Item>
          ))}
          {nodes.map(({ aliveAt, devices: left, name }) => (
            <Item
              key={`n-${name}`}
              sign={<Alarm word="Node" />}
              action={<a className="button" href={hrefs.nodes}>Nodes</a>}
            >
              <p>
                <strong>{name}</strong>{" "}
                <span className="why">
                  has ended or cannot write since <Ago at={aliveAt} />. {count(left)} devices wait for another node.
                </span>
              </p>
              <p className="fix">Other nodes take them over once its lease has expired. Restart it.</p>
            </Item>
          ))}
          {sinks.map(({ expired, failure, lag, sink }) => (
            <Item key={`s-${sink}`} sign={<Alarm word="Sink" />}>
              <p>
                <strong>{sink}</strong>{" "}
                <span className="why">
                  {failure === null ? `${count(expired)} events expired before they were delivered` : failure.message}
                </span>
              </p>
              <p className="fix">{count(lag)} events wait in the log.</p>
            </Item>
          ))}
          {subscriptions.map(({ subscription, trouble }) => (
            <Item
              key={subscription.id}
              sign={<Alarm word="Subscription" />}
              action={manage ? <EnableButton subscription={subscription} /> : null}
            >
              <p>
                <a href={hrefs.subscription(subscription.id)}>{subscription.name ?? subscription.url}</a>{" "}
                <span className="why">{trouble}</span>
              </p>
            </Item>
          ))}
          {dead === 0 ? null : (
            <Item
              sign={<Alarm word="Dead letters" />}
              action={<a className="button" href={hrefs.dead}>Look at them</a>}
            >
              <p>
                <strong>{count(dead)}</strong> <span className="why">incoming messages could not be handled</span>
              </p>
              <p className="fix">Fix the cause, then retry them.</p>
            </Item>
          )}
          {devices.map((row) => <NeedyDevice key={row.id} row={row} />)}
        </ul>
      )}
      {hidden <= 0 && !all ? null : (
        <div className="more">
          <Button kind="quiet" onClick={() => setAll(!all)}>{all ? "Fewer" : `${count(hidden)} more`}</Button>
          <Button kind="quiet" onClick={() => setFilter({ search: "", gateway: "", state: "needy" })}>
            Show them in the list
          </Button>
        </div>
      )}
    </Panel>
  )
}
