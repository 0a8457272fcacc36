/** How fast a device may send, what a new account may send already, and what the next message waits for. */
import { useState } from "react"
import type { Device } from "../../domain/Device.ts"
import type { Explanation } from "../../domain/Explanation.ts"
import { capAt, formatPacing, isOff, pacingExpected, parsePacing } from "../../domain/Pacing.ts"
import type { Pacing } from "../../domain/Pacing.ts"
import type { SendWait } from "../../domain/Send.ts"
import { mayAtom } from "../session.ts"
import { useAtomRefresh, useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Button, count, Facts, Field } from "../ui/parts.tsx"
import type { Fact } from "../ui/parts.tsx"
import { Ago, Clock, useNow } from "../ui/time.tsx"
import { deviceAtom, explanationNowAtom } from "./deviceAtoms.ts"

const waitWords: Readonly<Record<SendWait["reason"], string>> = {
  scheduled: "its time",
  device: "the device to be online",
  gateway: "the gateway's answer",
  rate: "its turn by the rate",
  "daily-cap": "the cap of the day",
  "quiet-hours": "the end of the quiet hours",
  recipient: "the rest of its chat"
}

/** What an unsent message waits for. */
export const Waits = ({ wait: { reason, until } }: { readonly wait: SendWait }) => (
  <>
    {waitWords[reason]}
    {until === null ? null : (
      <>
        , <Ago at={until} />
      </>
    )}
  </>
)

const DailyCap = ({ createdAt, pacing }: { readonly pacing: Pacing; readonly createdAt: string }) => {
  const now = useNow()
  const { perDay = 0, rampDays, rampFrom } = pacing
  const { cap, next } = capAt(pacing, Date.parse(rampFrom ?? createdAt), now)
  if (cap === perDay) return <>{count(perDay)} in any 24 hours</>
  return (
    <>
      {count(cap)} in any 24 hours, warming up to {count(perDay)} in {rampDays} days; more from{" "}
      <Clock at={new Date(next).toISOString()} />
    </>
  )
}

const rules = (pacing: Pacing, createdAt: string): ReadonlyArray<Fact> => {
  const { burst, jitterSeconds, perDay, quiet, rate, recipientSeconds } = pacing
  return [
    ...(isOff(pacing) ? [["Rate", "as fast as the gateway answers"] as const] : []),
    ...(rate === undefined ? [] : [["Rate", burst === undefined ? rate : `${rate}, ${burst} at once`] as const]),
    ...(jitterSeconds === undefined ? [] : [["Jitter", `up to ${jitterSeconds} s after each`] as const]),
    ...(perDay === undefined
      ? []
      : [["Per day", <DailyCap key="d" pacing={pacing} createdAt={createdAt} />] as const]),
    ...(recipientSeconds === undefined ? [] : [["To one chat", `every ${recipientSeconds} s`] as const]),
    ...(quiet === undefined ? [] : [["Quiet", `${quiet.from} to ${quiet.to} in ${quiet.zone}`] as const])
  ]
}

const EditPacing = ({ device, done }: { readonly device: Device; readonly done: () => void }) => {
  const [line, setLine] = useState(device.pacing === null ? "" : formatPacing(device.pacing))
  const [refused, setRefused] = useState<string | null>(null)
  const save = useCommand(
    (client, pacing: string | null) => client.devices.edit({ id: device.id, pacing }),
    done
  )
  return (
    <Form
      label="Pacing"
      submit="Save"
      onSubmit={() => {
        const wrong = parsePacing(line) === null
        setRefused(wrong ? `Expected ${pacingExpected}.` : null)
        if (!wrong) save.run(line)
      }}
      pending={save.pending}
      failure={refused ?? save.failure}
      beside={
        <>
          {device.pacing === null
            ? null
            : <Button onClick={() => save.run(null)} pending={save.pending}>Use the server's default</Button>}
          <Button kind="quiet" onClick={done}>Leave it</Button>
        </>
      }
    >
      <Field
        label="In one line"
        value={line}
        onChange={setLine}
        required
        autoFocus
        placeholder="20/min, jitter 2s, 500/day, ramp 14d"
        hint={`${pacingExpected}.`}
      />
    </Form>
  )
}

/** The server knows the effective pacing; a process that cannot compute it returns only the device's own. */
export const PacingOf = (
  { device, sending }: { readonly device: Device; readonly sending: Explanation["sending"] }
) => {
  const { manage } = useAtomValue(mayAtom)
  const [editing, setEditing] = useState(false)
  const refreshDevice = useAtomRefresh(deviceAtom(device.id))
  const refreshSending = useAtomRefresh(explanationNowAtom(device.id))
  const pacing = sending === null ? device.pacing : parsePacing(sending.pacing)
  const facts: ReadonlyArray<Fact> = [
    ["Set by", device.pacing === null ? "the server, for all devices" : "this device"],
    ...(pacing === null ? [] : rules(pacing, device.createdAt)),
    ...(sending === null ? [] : [["Messages waiting", count(sending.waiting)] as const]),
    ...(sending === null || sending.waitsFor === null
      ? []
      : [["The next for", <Waits key="w" wait={sending.waitsFor} />] as const])
  ]
  return (
    <>
      <Facts facts={facts} />
      {!manage ? null : editing
        ? (
          <EditPacing
            device={device}
            done={() => {
              setEditing(false)
              refreshDevice()
              refreshSending()
            }}
          />
        )
        : (
          <div className="actions">
            <Button kind="quiet" onClick={() => setEditing(true)}>Change the pacing</Button>
          </div>
        )}
    </>
  )
}
