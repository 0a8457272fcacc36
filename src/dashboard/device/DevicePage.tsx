/** One device: its state and the reason, its history, its gaps, and the messages it sends and receives now. */
import { AsyncResult } from "effect/reactivity"
import { useMemo, useState } from "react"
import type { Device } from "../../domain/Device.ts"
import type { ReadableEvent } from "../../domain/Event.ts"
import type { Explanation } from "../../domain/Explanation.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { AddSchedule } from "../schedules/AddSchedule.tsx"
import { DueList, ScheduleList } from "../schedules/Schedules.tsx"
import { mayAtom } from "../session.ts"
import { useAtomRefresh, useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Button, ConfirmButton, count, Empty, Facts, Failure, Field, Loaded, Panel } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { StateBadge } from "../ui/StateBadge.tsx"
import { Ago, Clock } from "../ui/time.tsx"
import { Words } from "../ui/Words.tsx"
import { connectionAtom, deviceAtom, deviceLogAtom, explanationNowAtom, gapsAtom, messagesAtom } from "./deviceAtoms.ts"
import { describeEvent } from "./DeviceLog.ts"
import type { Transition } from "./DeviceLog.ts"
import { GapAxis } from "./GapAxis.tsx"
import { Messages } from "./Messages.tsx"
import { PacingOf } from "./Pacing.tsx"
import { SendBox } from "./SendBox.tsx"

const Rename = ({ device, done }: { readonly device: Device; readonly done: () => void }) => {
  const [name, setName] = useState(device.name)
  const rename = useCommand((client) => client.devices.edit({ id: device.id, name: name.trim() }), done)
  return (
    <Form
      className="rename"
      submit="Save"
      onSubmit={rename.run}
      pending={rename.pending}
      failure={rename.failure}
      beside={<Button kind="quiet" onClick={done}>Leave it</Button>}
    >
      <Field label="Name" value={name} onChange={setName} required autoFocus />
    </Form>
  )
}

const Actions = ({ changed, device }: { readonly device: Device; readonly changed: () => void }) => {
  const { id, state } = device
  const release = useCommand((client) => client.devices.release({ id }), changed)
  const reconnect = useCommand((client) => client.devices.reconnect({ id }), changed)
  const sync = useCommand((client) => client.devices.status({ id }), changed)
  const logOut = useCommand((client) => client.devices.disconnect({ id }), changed)
  const deactivate = useCommand((client) => client.devices.deactivate({ id }), changed)
  const reactivate = useCommand((client) => client.devices.reactivate({ id }), changed)
  const failures = [release, reconnect, sync, logOut, deactivate, reactivate].map(({ failure }) => failure)
  const linked = device.jid !== null && state._tag !== "LoggedOut" && state._tag !== "AwaitingLogin"
  return (
    <div className="actions">
      {!device.active
        ? <Button kind="primary" onClick={reactivate.run} pending={reactivate.pending}>Reactivate</Button>
        : (
          <>
            {state._tag === "Quarantined"
              ? <Button kind="primary" onClick={release.run} pending={release.pending}>Release</Button>
              : null}
            {linked ? null : <a className="button primary" href={hrefs.login(id)}>Log in</a>}
            <Button onClick={reconnect.run} pending={reconnect.pending}>Reconnect</Button>
            <Button onClick={sync.run} pending={sync.pending}>Ask the gateway</Button>
            {linked
              ? (
                <ConfirmButton ask="Unlink the phone?" onClick={logOut.run} pending={logOut.pending}>
                  Log out
                </ConfirmButton>
              )
              : null}
            <ConfirmButton ask="Stop it?" onClick={deactivate.run} pending={deactivate.pending}>
              Deactivate
            </ConfirmButton>
          </>
        )}
      <Failure message={failures.find((failure) => failure !== null) ?? null} />
    </div>
  )
}

const Why = ({ explanation }: { readonly explanation: Explanation }) => (
  <div className="why-panel">
    <p className="lead">
      <Words text={explanation.why} />.
    </p>
    <p>
      <Words text={explanation.next} />
      {explanation.nextAt === null ? "" : (
        <>
          : <Ago at={explanation.nextAt} />
        </>
      )}.
    </p>
    {explanation.howToFix === null ? null : (
      <p className="fix">
        <strong>What helps:</strong> <Words text={explanation.howToFix} />.
      </p>
    )}
  </div>
)

const Connection = ({ id }: { readonly id: DeviceId }) => {
  const { readFleet } = useAtomValue(mayAtom)
  return (
    <Loaded result={useAtomValue(connectionAtom(id))} lines={4}>
      {({ hosted, node }) =>
        hosted === null ?
          <p className="note">{node} does not run this device, so it does not know its connection.</p> :
          (
            <Facts
              facts={[
                ["Frames received", <span className="num" key="f">{count(hosted.framesReceived)}</span>],
                ["Last frame", hosted.lastFrameAt === null ? "–" : <Ago key="l" at={hosted.lastFrameAt} />],
                ...(hosted.lastWebhookAt === null
                  ? []
                  : [["Last webhook", <Ago key="w" at={hosted.lastWebhookAt} />] as const]),
                ["Attempts", count(hosted.attempts)],
                ["Restarts", count(hosted.restarts)],
                ["Run by", readFleet ? <a key="n" href={hrefs.nodes}>{node}</a> : node],
                ...(hosted.paused ? [["Reading", "paused: the log is over its bound"] as const] : []),
                ...(hosted.lastFailure === null ? [] : [["Last failure", hosted.lastFailure.detail] as const])
              ]}
            />
          )}
    </Loaded>
  )
}

const TransitionEntry = ({ transition }: { readonly transition: Transition }) => {
  const { failure, from, rule, state, steps = [] } = transition.data
  return (
    <li>
      <Clock at={transition.recordedAt} />
      <StateBadge state={state._tag} />
      <span className="timeline-words break">
        {from === state._tag ? "" : `from ${from} `}by <code>{rule}</code>
        {steps.map((step, index) => (
          <span className="evidence" key={index}>
            <Clock at={step.at} /> {step.state._tag} by <code>{step.rule}</code>
          </span>
        ))}
        {failure === null ? null : <span className="evidence">{failure.class}, {failure.code}: {failure.detail}</span>}
        {state._tag === "Quarantined"
          ? state.evidence.map((one) => <span className="evidence" key={one}>{one}</span>)
          : null}
        {state._tag === "Deaf" ? <span className="evidence">{state.evidence}</span> : null}
      </span>
    </li>
  )
}

const EventEntry = ({ event }: { readonly event: ReadableEvent }) => (
  <li>
    <span className="num seq">{event.seq}</span>
    <Clock at={event.recordedAt} />
    <code>{event.kind}</code>
    <span className="event-words">{describeEvent(event)}</span>
  </li>
)

const Log = ({ id }: { readonly id: DeviceId }) => {
  const result = useAtomValue(deviceLogAtom(id))
  return (
    <>
      <Panel title="Timeline" className="area-timeline">
        <Loaded result={result} lines={6}>
          {({ transitions }) =>
            transitions.length === 0 ?
              <Empty>No transition in the part of the log that was read.</Empty> :
              (
                <ol className="timeline" tabIndex={0} aria-label="Transitions, newest first">
                  {transitions.map((transition) => <TransitionEntry key={transition.seq} transition={transition} />)}
                </ol>
              )}
        </Loaded>
      </Panel>
      <Panel title="Events, live" className="area-events">
        <Loaded result={result} lines={8}>
          {({ events }) =>
            events.length === 0 ?
              <Empty>No events yet. New events appear here.</Empty> :
              (
                <ol className="tail" tabIndex={0} aria-label="Events, newest first">
                  {events.map((event) => <EventEntry key={event.seq} event={event} />)}
                </ol>
              )}
        </Loaded>
      </Panel>
    </>
  )
}

const Head = ({ device }: { readonly device: Device }) => {
  const { manage } = useAtomValue(mayAtom)
  const changed = useAtomRefresh(deviceAtom(device.id))
  const [renaming, setRenaming] = useState(false)
  return (
    <header className="device-head">
      <p className="crumb">
        <a href={hrefs.fleet}>Fleet</a>
      </p>
      <div className="device-title">
        {renaming
          ? (
            <Rename
              device={device}
              done={() => {
                setRenaming(false)
                changed()
              }}
            />
          )
          : (
            <>
              <h1 className="break">{device.name}</h1>
              {manage ? <Button kind="quiet" onClick={() => setRenaming(true)}>Rename</Button> : null}
            </>
          )}
        <StateBadge state={device.state._tag} />
      </div>
      <p className="device-ids num break">
        {device.phone ?? "no number yet"} · {device.gateway} · {device.id}
        {device.upstreamId === (device.id as string) ? "" : ` · slot ${device.upstreamId}`}
      </p>
      {manage ? <Actions device={device} changed={changed} /> : null}
    </header>
  )
}

/** Rendered only on demand: most people come to send one message. */
const ScheduleForm = ({ id }: { readonly id: DeviceId }) => {
  const [open, setOpen] = useState(false)
  return (
    <>
      <div className="actions">
        <Button kind="quiet" onClick={() => setOpen(!open)}>{open ? "Close the form" : "Add a recurring send"}</Button>
      </div>
      {open ? <AddSchedule device={id} /> : null}
    </>
  )
}

const nothing: ReadonlyArray<string> = []

const Parts = ({ id }: { readonly id: DeviceId }) => {
  const { send } = useAtomValue(mayAtom)
  const device = useAtomValue(deviceAtom(id))
  const explanation = useAtomValue(explanationNowAtom(id))
  const gaps = useAtomValue(gapsAtom(id))
  const messages = useAtomValue(messagesAtom(id))
  const connection = AsyncResult.value(useAtomValue(connectionAtom(id)))
  const listed = connection._tag === "Some" ? connection.value.sends : nothing
  const sends = useMemo(() => new Set(listed), [listed])
  return (
    <main className="page device">
      <Loaded result={device} lines={4}>{(value) => <Head device={value} />}</Loaded>
      <Panel title="Why" className="area-why">
        <Loaded result={explanation} lines={4}>
          {(value) => <Why explanation={value} />}
        </Loaded>
      </Panel>
      <Panel title="Connection" className="area-connection">
        <Connection id={id} />
      </Panel>
      <Panel title="Gaps" className="area-gaps">
        <Loaded result={gaps} lines={4}>{({ items }) => <GapAxis gaps={items} />}</Loaded>
      </Panel>
      <Panel title="Messages" className="area-messages">
        <Loaded result={messages} lines={8}>
          {({ items }) => <Messages messages={items} sends={sends} />}
        </Loaded>
      </Panel>
      {send
        ? (
          <Panel title="Send" className="area-send">
            <SendBox id={id} sends={sends} />
          </Panel>
        )
        : null}
      <Panel title="Scheduled and recurring" className="area-schedules">
        <DueList of={id} />
        <ScheduleList of={id} />
        {send ? <ScheduleForm id={id} /> : null}
      </Panel>
      <Panel title="Pacing" className="area-pacing">
        <Loaded result={device} lines={4}>
          {(value) => (
            <Loaded result={explanation} lines={4}>
              {({ sending }) => <PacingOf device={value} sending={sending} />}
            </Loaded>
          )}
        </Loaded>
      </Panel>
      <Log id={id} />
    </main>
  )
}

export const DevicePage = ({ id }: { readonly id: DeviceId }) => {
  const device = useAtomValue(deviceAtom(id))
  // The page's parts are read again as the log moves, so it is followed from the beginning.
  useAtomValue(deviceLogAtom(id))
  if (!AsyncResult.isFailure(device) || AsyncResult.value(device)._tag === "Some") return <Parts id={id} />
  return (
    <main className="page narrow">
      <Loaded result={device}>{() => null}</Loaded>
      <p>
        <a href={hrefs.fleet}>To the fleet</a>
      </p>
    </main>
  )
}
