/** A form for another key. It offers no scope that the key of this page lacks. */
import { Effect, Redacted } from "effect"
import { useState } from "react"
import type { Scope } from "../../domain/ApiKey.ts"
import { fleetAtom } from "../fleet/fleetAtoms.ts"
import { sessionAtom } from "../session.ts"
import { useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Checks, Choice, Field, Panel } from "../ui/parts.tsx"
import { findDevices } from "./keyAtoms.ts"

const scopeWords: Readonly<Record<Scope, string>> = {
  read: "devices, messages, events, files",
  send: "messages, and what is done to them",
  manage: "devices, gateways, subscriptions, logins",
  admin: "keys, and who has changed what"
}

const day = 86_400_000

const expiries = [
  ["never", "until it is revoked", null],
  ["1", "for a day", day],
  ["30", "for 30 days", 30 * day],
  ["90", "for 90 days", 90 * day],
  ["365", "for a year", 365 * day]
] as const
type Expiry = (typeof expiries)[number][0]

const rates = ["1", "5", "20", "50", "200", "500", "1000"] as const
type Rate = (typeof rates)[number] | ""

export interface MadeKey {
  readonly name: string
  readonly key: string
}

export const AddKey = ({ made }: { readonly made: (key: MadeKey) => void }) => {
  const held = useAtomValue(sessionAtom)?.caller.scopes ?? []
  const fleet = useAtomValue(fleetAtom)
  const [name, setName] = useState("")
  const [scopes, setScopes] = useState<ReadonlyArray<Scope>>(["read"])
  const [expiry, setExpiry] = useState<Expiry>("90")
  const [rate, setRate] = useState<Rate>("")
  const [devices, setDevices] = useState("")
  const add = useCommand(
    (client) =>
      Effect.gen(function*() {
        const limited = yield* findDevices(fleet, devices)
        const lasts = expiries.find(([one]) => one === expiry)?.[2] ?? null
        return yield* client.keys.create({
          name: name.trim(),
          scopes,
          ...(limited.length === 0 ? {} : { devices: limited }),
          ...(lasts === null ? {} : { expiresAt: new Date(Date.now() + lasts).toISOString() }),
          ...(rate === "" ? {} : { requestsPerSecond: Number(rate) })
        })
      }),
    ({ key, name }) => {
      made({ name, key: Redacted.value(key) })
      setName("")
      setDevices("")
    }
  )
  return (
    <Panel title="Add a key">
      <Form
        submit="Add the key"
        onSubmit={add.run}
        pending={add.pending}
        failure={add.failure}
        disabled={scopes.length === 0}
      >
        <Field
          label="Name"
          value={name}
          onChange={setName}
          required
          placeholder="shop"
          hint="The name of the caller: letters, digits, dots, - and _."
        />
        <Checks
          label="It may"
          options={held.map((scope) => [scope, scope, scopeWords[scope]] as const)}
          chosen={scopes}
          onChange={setScopes}
        />
        <Choice
          label="It is accepted"
          value={expiry}
          options={expiries.map(([one, word]) => [one, word] as const)}
          onChange={setExpiry}
        />
        <details>
          <summary>Limits</summary>
          <Field
            label="Only these devices"
            value={devices}
            onChange={setDevices}
            rows={3}
            hint="One name or id per line. Such a key cannot use operations on the whole fleet."
          />
          <Choice
            label="Requests per second"
            value={rate}
            options={[["", "as the server has it"], ...rates.map((one) => [one, one] as const)]}
            onChange={setRate}
          />
        </details>
      </Form>
    </Panel>
  )
}
