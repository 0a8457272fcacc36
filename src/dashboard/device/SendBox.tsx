/** Sends a message. A press that is repeated, or whose answer was lost, sends no second one. */
import { useState } from "react"
import type { DeviceId } from "../../domain/Ids.ts"
import { useCommand } from "../ui/commands.ts"
import { Button, Failure, Field, Notice, Segments } from "../ui/parts.tsx"

/** What can be typed. Files are sent over the API and from the command line. */
type Kind = "text" | "location" | "contact" | "poll"

const kinds: ReadonlyArray<readonly [Kind, string]> = [
  ["text", "Text"],
  ["location", "Location"],
  ["contact", "Contact"],
  ["poll", "Poll"]
]

const none = { text: "", latitude: "", longitude: "", place: "", name: "", phone: "", question: "", options: "" }
type Draft = typeof none

const contentOf = (kind: Kind, draft: Draft) => {
  switch (kind) {
    case "text":
      return { text: draft.text }
    case "location":
      return {
        location: {
          latitude: Number(draft.latitude.replace(",", ".")),
          longitude: Number(draft.longitude.replace(",", ".")),
          ...(draft.place === "" ? {} : { name: draft.place })
        }
      }
    case "contact":
      return { contact: { name: draft.name, phone: draft.phone.replace(/[\s().-]/g, "") } }
    case "poll":
      return {
        poll: {
          question: draft.question,
          options: draft.options.split("\n").map((one) => one.trim()).filter((one) => one !== "")
        }
      }
  }
}

export const SendBox = ({ id }: { readonly id: DeviceId }) => {
  const [kind, setKind] = useState<Kind>("text")
  const [to, setTo] = useState("")
  const [at, setAt] = useState("")
  const [draft, setDraft] = useState(none)
  const [key, setKey] = useState(() => crypto.randomUUID())
  const [accepted, setAccepted] = useState<string | null>(null)
  const set = (field: keyof Draft) => (value: string) => {
    setDraft({ ...draft, [field]: value })
    setKey(crypto.randomUUID())
  }
  const send = useCommand(
    (client) =>
      client.messages.send({
        id,
        to: to.trim(),
        idempotencyKey: key,
        ...contentOf(kind, draft),
        ...(at === "" ? {} : { scheduledAt: new Date(at).toISOString() })
      }),
    ({ status }) => {
      setAccepted(
        status === "scheduled" ? "It is stored, and sent when its time has come." : "It is stored, and on its way."
      )
      setDraft(none)
      setKey(crypto.randomUUID())
    }
  )
  return (
    <form
      className="form send"
      onSubmit={(event) => {
        event.preventDefault()
        setAccepted(null)
        send.run()
      }}
    >
      <Segments label="Kind of message" value={kind} options={kinds} onChange={setKind} />
      <Field
        label="To"
        value={to}
        onChange={setTo}
        required
        hint="A number with its country's code, or the address of a chat."
      />
      {kind === "text" ? <Field label="Text" value={draft.text} onChange={set("text")} required rows={3} /> : null}
      {kind === "location"
        ? (
          <div className="pair">
            <Field label="Latitude" value={draft.latitude} onChange={set("latitude")} required />
            <Field label="Longitude" value={draft.longitude} onChange={set("longitude")} required />
            <Field label="Name of the place" value={draft.place} onChange={set("place")} />
          </div>
        )
        : null}
      {kind === "contact"
        ? (
          <div className="pair">
            <Field label="Name of the contact" value={draft.name} onChange={set("name")} required />
            <Field label="Number of the contact" type="tel" value={draft.phone} onChange={set("phone")} required />
          </div>
        )
        : null}
      {kind === "poll"
        ? (
          <>
            <Field label="Question" value={draft.question} onChange={set("question")} required />
            <Field label="Options, one a line" value={draft.options} onChange={set("options")} required rows={3} />
          </>
        )
        : null}
      <details>
        <summary>Send it later</summary>
        <Field label="Time" type="datetime-local" value={at} onChange={setAt} />
      </details>
      <Failure message={send.failure} />
      {accepted === null ? null : <Notice tone="good">{accepted}</Notice>}
      <Button submit kind="primary" pending={send.pending}>Send</Button>
    </form>
  )
}
