/** Recurring sends and scheduled messages, as lists with their actions. */
import { AsyncResult } from "effect/reactivity"
import type { DeviceId } from "../../domain/Ids.ts"
import type { Message } from "../../domain/Message.ts"
import type { Schedule, ScheduleEndReason } from "../../domain/Schedule.ts"
import { fleetAtom } from "../fleet/fleetAtoms.ts"
import { mayAtom } from "../session.ts"
import { useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Button, ConfirmButton, count, Empty, Failure, Loaded } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { Ago, Clock } from "../ui/time.tsx"
import { dueAtom, dueShown, schedulesAtom, schedulesShown, timeOf, useSchedulesRefresh } from "./scheduleAtoms.ts"
import type { Of } from "./scheduleAtoms.ts"

const endings: Readonly<Record<ScheduleEndReason, string>> = {
  until: "its last time has passed",
  never: "its expression names no more times",
  "device-deactivated": "its device was deactivated",
  erased: "its chat was erased"
}

const describeContent = ({ message }: Pick<Schedule, "message">): string => {
  if (message === null) return "(erased)"
  const { contact, location, poll, text } = message
  return text ?? poll?.question ?? contact?.name ?? location?.name ??
    (location === undefined ? "" : `${location.latitude}, ${location.longitude}`)
}

const DeviceLink = ({ id }: { readonly id: DeviceId }) => {
  const fleet = AsyncResult.value(useAtomValue(fleetAtom))
  const row = fleet._tag === "Some" ? fleet.value.byId.get(id) : undefined
  return <a className="break" href={hrefs.device(id)}>{row?.name ?? id}</a>
}

const When = ({ schedule: { ended, next, paused } }: { readonly schedule: Schedule }) => {
  if (ended !== null) return <span className="tone-off">ended: {endings[ended.reason]}</span>
  if (paused) return <span className="tone-wait">paused</span>
  return next === null ? <span className="tone-off">being planned</span> : (
    <span className="tone-good">
      next <Ago at={next.at} />, <Clock at={next.at} />
    </span>
  )
}

const ScheduleActions = ({ changed, schedule }: { readonly schedule: Schedule; readonly changed: () => void }) => {
  const { ended, id, next, paused } = schedule
  const pause = useCommand((client) => client.schedules.edit({ id, paused: !paused }), changed)
  const remove = useCommand((client) => client.schedules.remove({ id }), changed)
  const skip = useCommand(
    (client) => client.messages.cancel({ id: next!.messageId }),
    changed
  )
  const of = describeContent(schedule)
  return (
    <div className="entry-actions">
      {next === null ?
        null :
        (
          <Button kind="quiet" onClick={skip.run} pending={skip.pending} label={`Skip the next: ${of}`}>
            Skip the next
          </Button>
        )}
      {ended !== null ?
        null :
        (
          <Button onClick={pause.run} pending={pause.pending} label={`${paused ? "Resume" : "Pause"}: ${of}`}>
            {paused ? "Resume" : "Pause"}
          </Button>
        )}
      <ConfirmButton ask="Delete it?" onClick={remove.run} pending={remove.pending} label={`Delete: ${of}`}>
        Delete
      </ConfirmButton>
      <Failure message={skip.failure ?? pause.failure ?? remove.failure} />
    </div>
  )
}

const ScheduleEntry = (
  { changed, named, schedule }: { readonly schedule: Schedule; readonly named: boolean; readonly changed: () => void }
) => {
  const { send } = useAtomValue(mayAtom)
  const { cron, deviceId, message, skipped, until, zone } = schedule
  return (
    <li className="entry">
      <div className="entry-main">
        <h3 className="break">{describeContent(schedule)}</h3>
        <p className="break">
          {named ? <DeviceLink id={deviceId} /> : null}
          {named ? " " : ""}to {message?.to ?? "–"}
        </p>
        <p className="note break">
          <code>{cron}</code> {zone}
          {until === null ? null : (
            <>
              {" "}until <Clock at={until} />
            </>
          )}
          {skipped === 0 ? "" : ` · ${count(skipped)} left out while nothing ran`}
        </p>
      </div>
      <p className="entry-state">
        <When schedule={schedule} />
      </p>
      {send ? <ScheduleActions schedule={schedule} changed={changed} /> : null}
    </li>
  )
}

export const ScheduleList = ({ of }: { readonly of: Of }) => {
  const changed = useSchedulesRefresh(of)
  return (
    <Loaded result={useAtomValue(schedulesAtom(of))}>
      {({ items, next }) => (
        <>
          {items.length === 0 ?
            <Empty>No recurring sends.</Empty> :
            (
              <ul className="entries tall" tabIndex={0} aria-label="Recurring sends">
                {items.map((schedule) => (
                  <ScheduleEntry key={schedule.id} schedule={schedule} named={of === null} changed={changed} />
                ))}
              </ul>
            )}
          {next === null ? null : <p className="note">The {count(schedulesShown)} oldest are shown; there are more.</p>}
        </>
      )}
    </Loaded>
  )
}

const DueEntry = (
  { changed, message, named }: { readonly message: Message; readonly named: boolean; readonly changed: () => void }
) => {
  const { send } = useAtomValue(mayAtom)
  const { body, chat, deviceId, id, type } = message
  const cancel = useCommand((client) => client.messages.cancel({ id }), changed)
  return (
    <li className="entry">
      <div className="entry-main">
        <p className="break">{body ?? <em>{type}</em>}</p>
        <p className="note break">
          {named ? <DeviceLink id={deviceId} /> : null}
          {named ? " " : ""}to {chat}
        </p>
        <Failure message={cancel.failure} />
      </div>
      <p className="entry-state">
        <Ago at={timeOf(message)} />, <Clock at={timeOf(message)} />
      </p>
      {send
        ? (
          <div className="entry-actions">
            <Button onClick={cancel.run} pending={cancel.pending} label={`Cancel: ${body ?? type}`}>Cancel</Button>
          </div>
        )
        : null}
    </li>
  )
}

/** Messages to be sent at a set time: once, or as the next occurrence of a recurring send. */
export const DueList = ({ of }: { readonly of: Of }) => {
  const changed = useSchedulesRefresh(of)
  return (
    <Loaded result={useAtomValue(dueAtom(of))}>
      {({ items, more }) => (
        <>
          {items.length === 0 ?
            <Empty>No scheduled messages.</Empty> :
            (
              <ul className="entries tall" tabIndex={0} aria-label="Due, the next first">
                {items.map((message) => (
                  <DueEntry key={message.id} message={message} named={of === null} changed={changed} />
                ))}
              </ul>
            )}
          {more
            ? <p className="note">Of the {count(dueShown)} that were accepted last; there are more.</p>
            : null}
        </>
      )}
    </Loaded>
  )
}
