/** The content of a message as a person types it: the fields of each kind, and the content they make. */
import { Field } from "../ui/parts.tsx"

export type TypedKind = "text" | "location" | "contact" | "poll"

export const typedKinds: ReadonlyArray<readonly [TypedKind, string]> = [
  ["text", "Text"],
  ["location", "Location"],
  ["contact", "Contact"],
  ["poll", "Poll"]
]

export const noDraft = {
  text: "",
  latitude: "",
  longitude: "",
  place: "",
  name: "",
  phone: "",
  question: "",
  options: ""
}
export type Draft = typeof noDraft

export const contentOf = (kind: TypedKind, draft: Draft) => {
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

interface ContentFieldsProps {
  readonly kind: TypedKind
  readonly draft: Draft
  readonly onChange: (draft: Draft) => void
}

export const ContentFields = ({ draft, kind, onChange }: ContentFieldsProps) => {
  const set = (field: keyof Draft) => (value: string) => onChange({ ...draft, [field]: value })
  switch (kind) {
    case "text":
      return <Field label="Text" value={draft.text} onChange={set("text")} required rows={3} />
    case "location":
      return (
        <div className="pair">
          <Field label="Latitude" value={draft.latitude} onChange={set("latitude")} required />
          <Field label="Longitude" value={draft.longitude} onChange={set("longitude")} required />
          <Field label="Name of the place" value={draft.place} onChange={set("place")} />
        </div>
      )
    case "contact":
      return (
        <div className="pair">
          <Field label="Name of the contact" value={draft.name} onChange={set("name")} required />
          <Field label="Number of the contact" type="tel" value={draft.phone} onChange={set("phone")} required />
        </div>
      )
    case "poll":
      return (
        <>
          <Field label="Question" value={draft.question} onChange={set("question")} required />
          <Field label="Options, one a line" value={draft.options} onChange={set("options")} required rows={3} />
        </>
      )
  }
}
