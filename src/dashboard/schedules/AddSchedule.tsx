/** A form for a message that is sent at recurring times. */
import { useState } from "react"
import type { DeviceId } from "../../domain/Ids.ts"
import { ContentFields, contentOf, noDraft, typedKinds } from "../messages/Draft.tsx"
import type { TypedKind } from "../messages/Draft.tsx"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Field, Notice, Segments } from "../ui/parts.tsx"
import { formatMoment } from "../ui/time.tsx"
import { useSchedulesRefresh } from "./scheduleAtoms.ts"

const zoneHere = Intl.DateTimeFormat().resolvedOptions().timeZone

export const AddSchedule = ({ device }: { readonly device: DeviceId }) => {
  const refresh = useSchedulesRefresh(device)
  const [kind, setKind] = useState<TypedKind>("text")
  const [draft, setDraft] = useState(noDraft)
  const [to, setTo] = useState("")
  const [cron, setCron] = useState("")
  const [zone, setZone] = useState(zoneHere)
  const [until, setUntil] = useState("")
  const [added, setAdded] = useState<string | null>(null)
  const add = useCommand(
    (client) =>
      client.schedules.create({
        device,
        message: { to: to.trim(), ...contentOf(kind, draft) },
        cron: cron.trim(),
        zone: zone.trim(),
        ...(until === "" ? {} : { until: new Date(until).toISOString() })
      }),
    ({ next }) => {
      setAdded(next === null ? "It was added." : `It was added; the first is sent at ${formatMoment(next.at)}.`)
      setDraft(noDraft)
      refresh()
    }
  )
  return (
    <Form
      label="Add a recurring send"
      submit="Add the recurring send"
      onSubmit={() => {
        setAdded(null)
        add.run()
      }}
      pending={add.pending}
      failure={add.failure}
    >
      <Segments label="Kind of recurring message" value={kind} options={typedKinds} onChange={setKind} />
      <Field label="To" value={to} onChange={setTo} required hint="A number with its country's code, or a chat." />
      <ContentFields kind={kind} draft={draft} onChange={setDraft} />
      <Field
        label="When"
        value={cron}
        onChange={setCron}
        required
        placeholder="30 8 * * 1-6"
        hint="Minute, hour, day of the month, month, day of the week: this is 8:30 from Monday to Saturday."
      />
      <Field label="Time zone" value={zone} onChange={setZone} required hint="For example Asia/Jakarta." />
      <details>
        <summary>Until a time</summary>
        <Field label="Not after" type="datetime-local" value={until} onChange={setUntil} />
      </details>
      {added === null ? null : <Notice tone="good">{added}</Notice>}
    </Form>
  )
}
