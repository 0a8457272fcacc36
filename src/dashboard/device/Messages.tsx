/** The newest messages of a device, each with its status. */
import { useState } from "react"
import type { Message, MessageStatus } from "../../domain/Message.ts"
import { hasFile, Media } from "../messages/Media.tsx"
import { canActOn, MessageActions } from "../messages/MessageActions.tsx"
import { mayAtom } from "../session.ts"
import { useAtomRefresh, useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Button, Empty } from "../ui/parts.tsx"
import { messagesAtom } from "./deviceAtoms.ts"
import { Waits } from "./Pacing.tsx"
import { Clock } from "../ui/time.tsx"

/** A sign for each status; the text is there for people who do not see it. */
const ticks: Readonly<Record<MessageStatus, readonly [path: string, tone: string]>> = {
  scheduled: ["M8 2a6 6 0 1 1 0 12a6 6 0 1 1 0-12M8 5v3l2 2", "off"],
  pending: ["M8 2a6 6 0 1 1 0 12a6 6 0 1 1 0-12M8 5v3l2 2", "off"],
  sent: ["M3 8.5l3.4 3.4L13 5", "off"],
  delivered: ["M1 8.5l3.2 3.2L10.4 5M7 10.4l1.4 1.3L15 5", "off"],
  read: ["M1 8.5l3.2 3.2L10.4 5M7 10.4l1.4 1.3L15 5", "busy"],
  played: ["M1 8.5l3.2 3.2L10.4 5M7 10.4l1.4 1.3L15 5M1.5 14.5h13", "busy"],
  failed: ["M8 2.5v7M8 12v1.5", "bad"],
  unknown: ["M5.5 6a2.5 2.5 0 1 1 3.4 2.3c-.6.3-.9.7-.9 1.4M8 12v1", "wait"],
  cancelled: ["M3 3l10 10", "off"],
  expired: ["M3 3l10 10M13 3L3 13", "bad"]
}

const Tick = ({ status }: { readonly status: MessageStatus }) => {
  const [path, tone] = ticks[status]
  return (
    <span className={`tick tone-${tone}`} title={status}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <path d={path} />
      </svg>
      <span className="unseen">{status}</span>
    </span>
  )
}

const CancelButton = ({ deviceId, id }: Pick<Message, "deviceId" | "id">) => {
  const cancel = useCommand((client) => client.messages.cancel({ id }), useAtomRefresh(messagesAtom(deviceId)))
  return (
    <>
      <Button kind="quiet" onClick={cancel.run} pending={cancel.pending}>Cancel</Button>
      {cancel.failure === null ? null : <span className="tone-bad" role="alert">{cancel.failure}</span>}
    </>
  )
}

const waits: ReadonlySet<MessageStatus> = new Set(["scheduled", "pending"])

/** Display names of types whose own name is no plain word. */
const typeWords: Readonly<Record<string, string>> = { voice: "voice note", video_note: "video note" }

/** The type is not shown for texts. */
const Body = ({ message: { body, type } }: { readonly message: Message }) => (
  <span className="message-body break">
    {type === "text" && body !== null ? null : <em>{typeWords[type] ?? type}{body === null ? "" : " "}</em>}
    {body}
  </span>
)

const Entry = ({ message, sends }: { readonly message: Message; readonly sends: ReadonlySet<string> }) => {
  const { send } = useAtomValue(mayAtom)
  const [open, setOpen] = useState(false)
  const changed = useAtomRefresh(messagesAtom(message.deviceId))
  const { chat, direction, id, sending, status } = message
  const detail = sending?.detail ?? null
  const wait = sending?.waitsFor
  return (
    <li className={`message ${direction}`}>
      <span className="message-time">
        <Clock at={message.occurredAt} />
      </span>
      <span className="message-chat break">{direction === "in" ? "from" : "to"} {chat}</span>
      <Body message={message} />
      <span className="message-end">
        {direction === "out" ? <Tick status={status} /> : null}
        {send && direction === "out" && sending !== undefined && waits.has(status)
          ? <CancelButton id={id} deviceId={message.deviceId} />
          : null}
        {send && canActOn(message, sends)
          ? (
            <Button
              kind="quiet"
              onClick={() => setOpen(!open)}
              label={open ? "Close the actions" : "More: react, edit, revoke"}
            >
              {open ? "Close" : "More"}
            </Button>
          )
          : null}
      </span>
      {hasFile(message) ? <Media message={message} /> : null}
      {open ? <MessageActions message={message} sends={sends} changed={changed} /> : null}
      {wait === undefined ? null : (
        <span className="message-detail note">
          waits for <Waits wait={wait} />
        </span>
      )}
      {detail === null ? null : <span className="message-detail note break">{detail}</span>}
    </li>
  )
}

interface MessagesProps {
  readonly messages: ReadonlyArray<Message>
  /** The contents that the device's gateway can send. */
  readonly sends: ReadonlySet<string>
}

export const Messages = ({ messages, sends }: MessagesProps) =>
  messages.length === 0 ?
    <Empty>No message yet.</Empty> :
    (
      <ul className="messages" tabIndex={0} aria-label="Messages, newest first">
        {messages.map((message) => <Entry key={message.id} message={message} sends={sends} />)}
      </ul>
    )
