/** API keys: who may call, what for and until when; never the keys themselves. Next to them, who has changed what. */
import { AsyncResult } from "effect/reactivity"
import { Redacted } from "effect"
import { useState } from "react"
import type { ApiKey } from "../../domain/ApiKey.ts"
import { fleetAtom } from "../fleet/fleetAtoms.ts"
import { mayAtom, sessionAtom } from "../session.ts"
import { useAtom, useAtomRefresh, useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Button, Choice, ConfirmButton, count, Empty, Failure, Loaded, Panel } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { Secret } from "../ui/Secret.tsx"
import { Ago, useNow } from "../ui/time.tsx"
import { AddKey } from "./AddKey.tsx"
import type { MadeKey } from "./AddKey.tsx"
import { keysAtom } from "./keyAtoms.ts"
import { Trail } from "./Trail.tsx"

/** The key's text contains the id of its row. */
const isOwn = (apiKey: string | undefined, { id }: ApiKey): boolean =>
  apiKey?.startsWith(`columba_${id.slice("key_".length)}_`) === true

const overlaps = [
  ["86400", "for a day"],
  ["3600", "for an hour"],
  ["604800", "for a week"],
  ["0", "not any more"]
] as const
type Overlap = (typeof overlaps)[number][0]

const Rotate = ({ apiKey, made }: { readonly apiKey: ApiKey; readonly made: (key: MadeKey) => void }) => {
  const { id, name } = apiKey
  const [session, setSession] = useAtom(sessionAtom)
  const [overlap, setOverlap] = useState<Overlap>("86400")
  const rotate = useCommand((client) => client.keys.rotate({ id, keepSeconds: Number(overlap) }), ({ key }) => {
    const text = Redacted.value(key)
    // If the page's own key was replaced, the page continues with the new one.
    if (session !== null && isOwn(session.apiKey, apiKey)) setSession({ ...session, apiKey: text })
    made({ name, key: text })
  })
  return (
    <Form
      label={`Rotate ${name}`}
      submit="Create the new key"
      onSubmit={rotate.run}
      pending={rotate.pending}
      failure={rotate.failure}
    >
      <Choice label="The old key is valid" value={overlap} options={overlaps} onChange={setOverlap} />
    </Form>
  )
}

const soonMillis = 7 * 86_400_000

const Expiry = ({ at }: { readonly at: string | null }) => {
  const left = at === null ? Number.POSITIVE_INFINITY : Date.parse(at) - useNow()
  if (at === null) return <span className="tone-off">until it is revoked</span>
  return (
    <span className={left <= 0 ? "tone-bad" : left < soonMillis ? "tone-wait" : "tone-good"}>
      {left <= 0 ? "expired" : "expires"} <Ago at={at} />
    </span>
  )
}

/** More are counted. */
const devicesNamed = 3

const Devices = ({ ids }: { readonly ids: NonNullable<ApiKey["devices"]> }) => {
  const fleet = AsyncResult.value(useAtomValue(fleetAtom))
  const nameOf = (id: (typeof ids)[number]): string =>
    (fleet._tag === "Some" ? fleet.value.byId.get(id)?.name : undefined) ?? id
  return (
    <>
      only {ids.slice(0, devicesNamed).map((id, index) => (
        <span key={id}>
          {index === 0 ? "" : ", "}
          <a href={hrefs.device(id)}>{nameOf(id)}</a>
        </span>
      ))}
      {ids.length > devicesNamed ? ` and ${count(ids.length - devicesNamed)} more` : ""}
    </>
  )
}

const Entry = ({ apiKey, made }: { readonly apiKey: ApiKey; readonly made: (key: MadeKey) => void }) => {
  const { createdAt, createdBy, devices, expiresAt, id, name, previousUntil, requestsPerSecond, rotatedAt, scopes } =
    apiKey
  const session = useAtomValue(sessionAtom)
  const refresh = useAtomRefresh(keysAtom)
  const [rotating, setRotating] = useState(false)
  const now = useNow()
  const revoke = useCommand((client) => client.keys.revoke({ id }), refresh)
  const own = isOwn(session?.apiKey, apiKey)
  const overlapping = previousUntil !== null && Date.parse(previousUntil) > now
  return (
    <li className="entry">
      <div className="entry-main">
        <h3 className="break">{name}{own ? <span className="note">· this page's key</span> : null}</h3>
        <p className="break">
          {scopes.join(", ")} · {devices === null ? "all devices" : <Devices ids={devices} />}
          {requestsPerSecond === null ? "" : ` · ${count(requestsPerSecond)} requests per second`}
        </p>
        <p className="note break">
          {id} · made by {createdBy} <Ago at={createdAt} />
          {rotatedAt === null ? null : (
            <>
              {" "}· rotated <Ago at={rotatedAt} />
            </>
          )}
        </p>
        {overlapping
          ? (
            <p className="tone-wait">
              The old key is valid too; that ends <Ago at={previousUntil} />.
            </p>
          )
          : null}
        {rotating
          ? (
            <Rotate
              apiKey={apiKey}
              made={(key) => {
                setRotating(false)
                refresh()
                made(key)
              }}
            />
          )
          : null}
        <Failure message={revoke.failure} />
      </div>
      <p className="entry-state">
        <Expiry at={expiresAt} />
      </p>
      <div className="entry-actions">
        <Button onClick={() => setRotating(!rotating)} label={rotating ? `Leave it: ${name}` : `Rotate ${name}`}>
          {rotating ? "Leave it" : "Rotate"}
        </Button>
        <ConfirmButton
          ask={own ? "Revoke your own key?" : "Revoke it?"}
          onClick={revoke.run}
          pending={revoke.pending}
          label={`Revoke ${name}`}
        >
          Revoke
        </ConfirmButton>
      </div>
    </li>
  )
}

const Keys = () => {
  const refresh = useAtomRefresh(keysAtom)
  // Outside of the list, which may fail and be shown again: the key could not be shown a second time.
  const [shown, setShown] = useState<MadeKey | null>(null)
  return (
    <main className="page columns">
      <h1 className="unseen">API keys</h1>
      <div>
        <Panel title="API keys">
          {shown === null ? null : (
            <Secret
              key={shown.key}
              secret={shown.key}
              words={`This is the key of ${shown.name}. It is shown only once.`}
              done={() => setShown(null)}
            />
          )}
          <Loaded result={useAtomValue(keysAtom)}>
            {({ items }) =>
              items.length === 0
                ? <Empty>Only keys of the environment (COLUMBA_API_KEYS), which are changed there.</Empty>
                : (
                  <ul className="entries">
                    {items.map((one) => <Entry key={one.id} apiKey={one} made={setShown} />)}
                  </ul>
                )}
          </Loaded>
        </Panel>
        <Trail />
      </div>
      <AddKey
        made={(key) => {
          setShown(key)
          refresh()
        }}
      />
    </main>
  )
}

export const KeysPage = () =>
  useAtomValue(mayAtom).keys ? <Keys /> : (
    <main className="page narrow">
      <h1>API keys</h1>
      <Panel title="Not for this key">
        <p>
          This page needs a key with the scope admin and no list of devices. A server without keys has none to show.
        </p>
      </Panel>
    </main>
  )
