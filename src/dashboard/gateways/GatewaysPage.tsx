/** The list of gateways, whether each answers, and a form for another one. */
import { Redacted } from "effect"
import { AsyncResult } from "effect/reactivity"
import { useState } from "react"
import type { Gateway, GatewayDialect } from "../../domain/Gateway.ts"
import { GatewayName } from "../../domain/Ids.ts"
import { fleetAtom, figuresAtom } from "../fleet/fleetAtoms.ts"
import { mayAtom } from "../session.ts"
import { useAtomRefresh, useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Button, Choice, ConfirmButton, count, Empty, Failure, Field, Loaded, Notice, Panel } from "../ui/parts.tsx"
import { Ago } from "../ui/time.tsx"
import { AddDevice } from "./AddDevice.tsx"
import { gatewaysAtom } from "./gatewayAtoms.ts"

const dialects: ReadonlyArray<readonly [GatewayDialect, string]> = [
  ["gowa", "GOWA"],
  ["waha", "WAHA"],
  ["bridge", "bridge"]
]

const secret = (text: string) => Redacted.make(text)

const AddGateway = () => {
  const refresh = useAtomRefresh(gatewaysAtom)
  const [name, setName] = useState("")
  const [url, setUrl] = useState("")
  const [dialect, setDialect] = useState<GatewayDialect>("gowa")
  const [user, setUser] = useState("")
  const [password, setPassword] = useState("")
  const [apiKey, setApiKey] = useState("")
  const [webhookSecret, setWebhookSecret] = useState("")
  const [added, setAdded] = useState<string | null>(null)
  const keyed = dialect === "waha"
  const add = useCommand(
    (client) =>
      client.gateways.create({
        name: GatewayName.make(name),
        url: secret(url.trim()),
        dialect,
        ...(keyed || user === "" ? {} : { user }),
        ...(keyed || password === "" ? {} : { password: secret(password) }),
        ...(!keyed || apiKey === "" ? {} : { apiKey: secret(apiKey) }),
        ...(webhookSecret === "" || dialect === "bridge" ? {} : { webhookSecret: secret(webhookSecret) })
      }),
    (gateway) => {
      for (const clear of [setName, setUrl, setUser, setPassword, setApiKey, setWebhookSecret]) clear("")
      setAdded(gateway.name)
      refresh()
    }
  )
  return (
    <Panel title={added === null ? "Add a gateway" : `Add a device of ${added}`}>
      {added === null ? null : (
        <>
          <Notice tone="good">The gateway {added} was added.</Notice>
          <AddDevice key={added} gateway={added} />
          <Button kind="quiet" onClick={() => setAdded(null)}>Add another gateway instead</Button>
        </>
      )}
      {added !== null ?
        null :
        (
          <Form submit="Add the gateway" onSubmit={add.run} pending={add.pending} failure={add.failure}>
            <Field
              label="Name"
              value={name}
              onChange={setName}
              required
              placeholder="main"
              hint="Lower-case letters, digits, - and _."
            />
            <Field label="URL" value={url} onChange={setUrl} required placeholder="https://gateway.example" />
            <Choice label="It speaks" value={dialect} options={dialects} onChange={setDialect} />
            {keyed
              ? (
                <Field
                  label="API key"
                  type="password"
                  value={apiKey}
                  onChange={setApiKey}
                  autoComplete="new-password"
                />
              )
              : (
                <>
                  <Field label="User" value={user} onChange={setUser} />
                  <Field
                    label="Password"
                    type="password"
                    value={password}
                    onChange={setPassword}
                    autoComplete="new-password"
                  />
                </>
              )}
            {dialect === "bridge" ? null : (
              <details>
                <summary>Webhook secret</summary>
                <Field
                  label="Webhook secret"
                  type="password"
                  value={webhookSecret}
                  onChange={setWebhookSecret}
                  autoComplete="new-password"
                  hint="Only if you have set a secret for webhooks at the gateway. Otherwise Columba creates one."
                />
              </details>
            )}
          </Form>
        )}
    </Panel>
  )
}

const sources: Readonly<Record<Gateway["source"], string>> = {
  api: "",
  environment: "set by the environment",
  simulator: "built-in simulator"
}

const GatewayRow = ({ devices, gateway }: { readonly gateway: Gateway; readonly devices: number }) => {
  const { manageFleet } = useAtomValue(mayAtom)
  const refresh = useAtomRefresh(gatewaysAtom)
  const figures = AsyncResult.value(useAtomValue(figuresAtom))
  const incidents = figures._tag === "Some" ? figures.value.overview?.incidents ?? [] : []
  const incident = incidents.find((one) => one.gateway === gateway.name)
  const edit = useCommand((client) => client.gateways.edit({ name: gateway.name, active: !gateway.active }), refresh)
  const remove = useCommand((client) => client.gateways.remove({ name: gateway.name }), refresh)
  return (
    <li className="entry">
      <div className="entry-main">
        <h3>{gateway.name}</h3>
        <p className="break">
          {gateway.dialect} at {gateway.url} <span className="note">{sources[gateway.source]}</span>
        </p>
        <p className="note">
          {count(devices)} devices
          {gateway.secrets.length === 0 ? "" : ` · has ${gateway.secrets.join(", ")}`}
        </p>
        <Failure message={edit.failure ?? remove.failure} />
      </div>
      <p className="entry-state">
        {!gateway.active
          ? <span className="tone-off">deactivated</span>
          : incident === undefined
          ? <span className="tone-good">in use</span>
          : (
            <span className="tone-bad">
              down since <Ago at={incident.since} />: {incident.reason}
            </span>
          )}
      </p>
      {!manageFleet ? null : (
        <div className="entry-actions">
          {gateway.active
            ? (
              <ConfirmButton
                ask="Stop its devices?"
                onClick={edit.run}
                pending={edit.pending}
                label={`Deactivate ${gateway.name}`}
              >
                Deactivate
              </ConfirmButton>
            )
            : <Button onClick={edit.run} pending={edit.pending} label={`Activate ${gateway.name}`}>Activate</Button>}
          {gateway.source !== "api" || devices > 0 ?
            null :
            (
              <ConfirmButton
                ask="Remove it?"
                onClick={remove.run}
                pending={remove.pending}
                label={`Remove ${gateway.name}`}
              >
                Remove
              </ConfirmButton>
            )}
        </div>
      )}
    </li>
  )
}

export const GatewaysPage = () => {
  const { manageFleet } = useAtomValue(mayAtom)
  const result = useAtomValue(gatewaysAtom)
  const fleet = AsyncResult.value(useAtomValue(fleetAtom))
  const rows = fleet._tag === "Some" ? fleet.value.rows : []
  return (
    <main className="page columns">
      <h1 className="unseen">Gateways</h1>
      <Panel title="Gateways">
        <Loaded result={result}>
          {({ items }) =>
            items.length === 0 ? <Empty>No gateways. Devices need one.</Empty> : (
              <ul className="entries">
                {items.map((gateway) => (
                  <GatewayRow
                    key={gateway.name}
                    gateway={gateway}
                    devices={rows.filter((row) => row.gateway === gateway.name && row.state._tag !== "Inactive").length}
                  />
                ))}
              </ul>
            )}
        </Loaded>
      </Panel>
      {manageFleet
        ? (
          <div>
            <AddGateway />
            <Panel title="Add a device">
              <AddDevice />
            </Panel>
          </div>
        )
        : null}
    </main>
  )
}
