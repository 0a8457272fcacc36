/** Actions on a message that WhatsApp already has: a reaction, another text, its revocation. */
import { useState } from "react"
import type { Message } from "../../domain/Message.ts"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Button, ConfirmButton, Failure, Field, Notice } from "../ui/parts.tsx"
import { useNow } from "../ui/time.tsx"

/** WhatsApp accepts no edits afterwards. */
const editableMillis = 15 * 60_000

const emojis = ["👍", "❤️", "😂", "😮", "😢", "🙏"] as const

const actions: ReadonlySet<string> = new Set(["reaction", "edit", "revoke"])

export const canActOn = ({ type, waId }: Message, sends: ReadonlySet<string>): boolean =>
  waId !== null && !actions.has(type) && [...actions].some((action) => sends.has(action))

interface Props {
  readonly message: Message
  /** The contents that the gateway of its device can send. */
  readonly sends: ReadonlySet<string>
  /** Another message is about to be sent. */
  readonly changed: () => void
}

const Edit = ({ done, message }: { readonly message: Message; readonly done: (said: string) => void }) => {
  const [text, setText] = useState(message.body ?? "")
  const [key, setKey] = useState(() => crypto.randomUUID())
  const edit = useCommand(
    (client) => client.messages.edit({ id: message.id, text, idempotencyKey: key }),
    () => done("The edit is stored and will be sent.")
  )
  return (
    <Form
      label="Edit the message"
      submit="Save the edit"
      onSubmit={edit.run}
      pending={edit.pending}
      failure={edit.failure}
    >
      <Field
        label="New text"
        value={text}
        onChange={(changed) => {
          setText(changed)
          setKey(crypto.randomUUID())
        }}
        required
        autoFocus
        rows={2}
      />
    </Form>
  )
}

export const MessageActions = ({ changed, message, sends }: Props) => {
  const { chat, direction, id, occurredAt, type } = message
  const [editing, setEditing] = useState(false)
  const [said, setSaid] = useState<string | null>(null)
  const now = useNow()
  const own = direction === "out"
  const accepted = (words: string): void => {
    setSaid(words)
    changed()
  }
  const react = useCommand(
    (client, emoji: string) => client.messages.react({ id, emoji, idempotencyKey: crypto.randomUUID() }),
    ({ body }) =>
      accepted(
        body === null || body === ""
          ? "The removal of the reaction is stored and will be sent."
          : "The reaction is stored and will be sent."
      )
  )
  const revoke = useCommand(
    (client) => client.messages.revoke({ id, idempotencyKey: crypto.randomUUID() }),
    () => accepted("The revocation is stored and will be sent.")
  )
  return (
    <div className="message-more">
      {sends.has("reaction")
        ? (
          <span className="reactions" role="group" aria-label="React">
            {emojis.map((emoji) => (
              <Button
                key={emoji}
                kind="quiet"
                onClick={() => react.run(emoji)}
                pending={react.pending}
              >
                {emoji}
              </Button>
            ))}
            <Button kind="quiet" onClick={() => react.run("")} pending={react.pending}>No reaction</Button>
          </span>
        )
        : null}
      {own && type === "text" && sends.has("edit") && now - Date.parse(occurredAt) < editableMillis
        ? <Button onClick={() => setEditing(!editing)}>{editing ? "Leave its text" : "Edit"}</Button>
        : null}
      {sends.has("revoke") && (own || chat.endsWith("@g.us"))
        ? (
          <ConfirmButton ask="Delete it for everyone?" onClick={revoke.run} pending={revoke.pending}>
            Revoke
          </ConfirmButton>
        )
        : null}
      {editing
        ? (
          <Edit
            message={message}
            done={(words) => {
              setEditing(false)
              accepted(words)
            }}
          />
        )
        : null}
      {said === null ? null : <Notice tone="good">{said}</Notice>}
      <Failure message={react.failure ?? revoke.failure} />
    </div>
  )
}
