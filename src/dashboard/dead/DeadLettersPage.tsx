/** Incoming messages that could not be handled: the reason, their content, and what to do with them. */
import { useState } from "react"
import type { DeadLetter } from "../../domain/DeadLetter.ts"
import { describeEvent } from "../device/DeviceLog.ts"
import { mayAtom } from "../session.ts"
import { useAtomRefresh, useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Button, ConfirmButton, count, Empty, Failure, Loaded, Notice, Panel } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { Ago, Clock } from "../ui/time.tsx"
import { deadLetterCountAtom, deadLettersAtom, deadLettersTimeout, eventAtom } from "./deadLetterAtoms.ts"

/** The reasons of brokers; there may be others. */
const reasons: Readonly<Record<string, string>> = {
  rejected: "its consumer rejected it",
  attempts: "every attempt to handle it failed",
  delivery_limit: "processes died with it",
  expired: "it was not handled in the time that the queue gives",
  maxlen: "the queue was full",
  unknown: "put there manually"
}

const useDeadLettersRefresh = () => {
  const list = useAtomRefresh(deadLettersAtom)
  const total = useAtomRefresh(deadLetterCountAtom)
  return () => {
    list()
    total()
  }
}

const Said = ({ seq }: { readonly seq: number }) => (
  <Loaded result={useAtomValue(eventAtom(seq))} lines={4}>
    {(event) =>
      event === null ?
        <p className="note">Its event is no longer in the log.</p> :
        (
          <>
            <p className="break">{describeEvent(event)}</p>
            <pre className="raw" tabIndex={0} role="region" aria-label={`Event ${seq}`}>
              {JSON.stringify(event.data, null, 2)}
            </pre>
          </>
        )}
  </Loaded>
)

const Letter = ({ letter }: { readonly letter: DeadLetter }) => {
  const { deviceId, diedAt, failures, id, kind, queue, reason, seq } = letter
  const [open, setOpen] = useState(false)
  const refresh = useDeadLettersRefresh()
  const retry = useCommand((client) => client.deadLetters.retry({ ids: [id] }), refresh, deadLettersTimeout)
  const drop = useCommand((client) => client.deadLetters.drop({ ids: [id] }), refresh, deadLettersTimeout)
  const last = failures.at(-1)
  return (
    <li className="entry">
      <div className="entry-main">
        <h3 className="break">{last?.message ?? reasons[reason] ?? reason}</h3>
        <p className="break">
          {kind ?? "no event"}
          {seq === null ? "" : ` ${seq}`}
          {deviceId === null ? null : (
            <>
              {" "}of <a href={hrefs.device(deviceId)}>{deviceId}</a>
            </>
          )}
          {queue === null ? "" : ` · from ${queue}`}
        </p>
        <p className="note break">
          {reasons[reason] ?? reason}
          {last === undefined ? "" : `: ${count(last.attempts)} of ${last.handler}`}
          {diedAt === null ? null : (
            <>
              , <Ago at={diedAt} />
            </>
          )}
        </p>
        {open
          ? (
            <div className="letter">
              <p className="note break">{id}</p>
              {failures.map((failure) => (
                <p className="break" key={`${failure.handler} ${failure.at}`}>
                  <Clock at={failure.at} /> <code>{failure.handler}</code>, attempt {failure.attempts}:{" "}
                  {failure.message}
                </p>
              ))}
              {seq === null ? null : <Said seq={seq} />}
            </div>
          )
          : null}
        <Failure message={retry.failure ?? drop.failure} />
      </div>
      <div className="entry-actions">
        <Button kind="quiet" onClick={() => setOpen(!open)} label={`${open ? "Close" : "Look at it"}: ${id}`}>
          {open ? "Close" : "Look at it"}
        </Button>
        <Button onClick={retry.run} pending={retry.pending} label={`Retry ${id}`}>Retry</Button>
        <ConfirmButton ask="Drop it?" onClick={drop.run} pending={drop.pending} label={`Drop ${id}`}>
          Drop
        </ConfirmButton>
      </div>
    </li>
  )
}

const RetryAll = ({ total }: { readonly total: number }) => {
  const refresh = useDeadLettersRefresh()
  const [retried, setRetried] = useState<number | null>(null)
  const retry = useCommand(
    (client) => client.deadLetters.retry({}),
    ({ ids }) => {
      setRetried(ids.length)
      refresh()
    },
    deadLettersTimeout
  )
  return (
    <>
      {total === 0 ? null : (
        <p>
          Once the cause is put right: <Button onClick={retry.run} pending={retry.pending}>Retry all</Button>
        </p>
      )}
      {retried === null ? null : <Notice tone="good">{count(retried)} are handled again.</Notice>}
      <Failure message={retry.failure} />
    </>
  )
}

const List = () => (
  <Loaded result={useAtomValue(deadLettersAtom)}>
    {({ items, total }) => (
      <>
        <RetryAll total={total} />
        {items.length === 0
          ? <Empty>No dead letters. Incoming messages that cannot be handled after several attempts appear here.</Empty>
          : <ul className="entries">{items.map((letter) => <Letter key={letter.id} letter={letter} />)}</ul>}
        {total <= items.length ? null : <p className="note">{count(total - items.length)} more come after these.</p>}
      </>
    )}
  </Loaded>
)

export const DeadLettersPage = () => {
  const { manageFleet } = useAtomValue(mayAtom)
  return (
    <main className="page narrow">
      <h1>Dead letters</h1>
      <Panel title="Incoming messages that could not be handled, the oldest first">
        {manageFleet
          ? <List />
          : <p>This key may not see them: they belong to all devices and need the scope manage.</p>}
      </Panel>
    </main>
  )
}
