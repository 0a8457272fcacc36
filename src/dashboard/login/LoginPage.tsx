/**
 * Links a phone to a device: the live code with the time it has left, its replacement without a press, and the success
 * as it happens. Several people may watch one login; when the last one leaves, it ends.
 */
import { Data, Effect, Redacted, Schedule, Stream } from "effect"
import { AsyncResult, Atom } from "effect/reactivity"
import { useMemo, useState } from "react"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import type { LoginStep } from "../../domain/Login.ts"
import { fleetAtom } from "../fleet/fleetAtoms.ts"
import { client, mayAtom } from "../session.ts"
import { useAtomRefresh, useAtomValue } from "../ui/atoms.ts"
import { describeCause, useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Button, Failure, Field, Notice, Panel, Segments, Skeleton } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { useNow } from "../ui/time.tsx"

class Asked extends Data.Class<{
  readonly id: DeviceId
  readonly method: "qr" | "code"
  readonly phone: string
}> {}

/** After a change of the method, the left login takes a moment to end. A login of another person does not end. */
const othersEnd = Schedule.spaced("500 millis").pipe(
  Schedule.upTo({ times: 8 }),
  Schedule.while(({ input }) => (input as { readonly _tag?: string })._tag === "LoginInProgress")
)

const stepAtom = Atom.family(({ id, method, phone }: Asked) =>
  client.atom(
    Stream.unwrap(Effect.map(ColumbaClient, ({ login }) =>
      login({ id, method, ...(method === "qr" ? {} : { phone: Redacted.make(phone) }) }))).pipe(
        Stream.retry(othersEnd)
      )
  ).pipe(Atom.setIdleTTL(0))
)

const Countdown = ({ expiresAt }: { readonly expiresAt: string }) => {
  const left = Math.max(0, Math.round((Date.parse(expiresAt) - useNow()) / 1000))
  return (
    <p className="countdown num" role="timer">
      {left > 0 ? `A new code appears within ${left} s` : "A new code is being requested"}
    </p>
  )
}

const Instructions = ({ code }: { readonly code: boolean }) => (
  <ol className="steps">
    <li>Open WhatsApp on the phone.</li>
    <li>Settings, then Linked devices, then Link a device.</li>
    <li>{code ? "Link with phone number instead, and enter the code." : "Point the camera at the code."}</li>
  </ol>
)

const Passkey = ({ id, step }: { readonly id: DeviceId; readonly step: Extract<LoginStep, { _tag: "Passkey" }> }) => {
  const confirm = useCommand((service) => service.devices.confirmPasskey({ id }))
  return (
    <>
      {step.code === null ? null : (
        <>
          <p>The phone shows a code. Is it this one?</p>
          <output className="pairing-code">{Redacted.value(step.code)}</output>
          <Button kind="primary" onClick={confirm.run} pending={confirm.pending}>It is the same code</Button>
        </>
      )}
      {step.challenge === null ? null : (
        <Notice tone="wait">
          WhatsApp asks for the account's passkey. A passkey answers to WhatsApp's own pages alone, so it cannot be used
          from here: a program answers it over the API (POST /devices/{"{id}"}/login/passkey).
        </Notice>
      )}
      <Failure message={confirm.failure} />
    </>
  )
}

const Step = ({ id, retry, step }: { readonly id: DeviceId; readonly step: LoginStep; readonly retry: () => void }) => {
  switch (step._tag) {
    case "Starting":
      return (
        <div className="code-place">
          <Skeleton lines={4} />
          <p>Requesting a code from the gateway.</p>
        </div>
      )
    case "Qr":
      return (
        <div className="code-place">
          <img
            className="qr"
            src={Redacted.value(step.image)}
            width={264}
            height={264}
            alt="QR code that links the phone; the other way is the pairing code"
          />
          <Countdown expiresAt={step.expiresAt} />
        </div>
      )
    case "Code":
      return (
        <div className="code-place">
          <output className="pairing-code" aria-label="Pairing code">{Redacted.value(step.code)}</output>
          <Countdown expiresAt={step.expiresAt} />
        </div>
      )
    case "Passkey":
      return (
        <div className="code-place">
          <Passkey id={id} step={step} />
        </div>
      )
    case "Linking":
      return (
        <div className="code-place">
          <Notice tone="busy">The phone has accepted. The account is connecting.</Notice>
        </div>
      )
    case "LoggedIn":
      return <Linked id={id} words={step.phone === null ? "Linked." : `Linked as ${step.phone}.`} />
    case "Failed":
    case "Expired":
      return (
        <div className="code-place">
          <Notice tone="bad">{step._tag === "Failed" ? step.message : "None of the codes was used."}</Notice>
          <Button kind="primary" onClick={retry}>Try again</Button>
        </div>
      )
  }
}

const Linked = ({ id, words }: { readonly id: DeviceId; readonly words: string }) => (
  <div className="code-place">
    <Notice tone="good">{words}</Notice>
    <a className="button primary" href={hrefs.device(id)}>Open the device</a>
  </div>
)

const Following = ({ asked, online }: { readonly asked: Asked; readonly online: boolean }) => {
  const atom = stepAtom(asked)
  const result = useAtomValue(atom)
  const retry = useAtomRefresh(atom)
  const step = AsyncResult.value(result)
  return (
    <div className="login-step" aria-live="polite">
      {AsyncResult.isFailure(result) && online
        ? <Linked id={asked.id} words="This device is linked already." />
        : AsyncResult.isFailure(result)
        ? (
          <div className="code-place">
            <Failure message={describeCause(result.cause)} />
            <Button kind="primary" onClick={retry}>Try again</Button>
          </div>
        )
        : <Step id={asked.id} step={step._tag === "Some" ? step.value : { _tag: "Starting" }} retry={retry} />}
    </div>
  )
}

export const LoginPage = ({ id }: { readonly id: DeviceId }) => {
  const { manage } = useAtomValue(mayAtom)
  const fleet = AsyncResult.value(useAtomValue(fleetAtom))
  const row = fleet._tag === "Some" ? fleet.value.byId.get(id) : undefined
  const [method, setMethod] = useState<"qr" | "code">("qr")
  const [phone, setPhone] = useState("")
  const [typed, setTyped] = useState("")
  const asked = useMemo(() => new Asked({ id, method, phone }), [id, method, phone])
  return (
    <main className="page narrow">
      <p className="crumb">
        <a href={hrefs.device(id)}>{row?.name ?? "The device"}</a>
      </p>
      <h1>Link the phone</h1>
      {!manage ? <Notice tone="wait">This key may not log devices in: it needs the scope manage.</Notice> : (
        <Panel
          title={method === "qr" ? "Scan the code" : "Type the code"}
          aside={
            <Segments
              label="Way of linking"
              value={method}
              options={[["qr", "QR code"], ["code", "Pairing code"]]}
              onChange={setMethod}
            />
          }
        >
          <div className="login">
            {method === "code" && phone === ""
              ? (
                <Form className="form code-place" submit="Get the code" onSubmit={() => setPhone(typed)}>
                  <Field
                    label="Number of the phone"
                    type="tel"
                    required
                    value={typed}
                    onChange={setTyped}
                    placeholder="+62 812 9876 5432"
                    hint="With the country code."
                  />
                </Form>
              )
              : <Following key={`${method} ${phone}`} asked={asked} online={row?.state._tag === "Online"} />}
            <div>
              <Instructions code={method === "code"} />
              {method === "code" && phone !== ""
                ? <Button kind="quiet" onClick={() => setPhone("")}>Another number</Button>
                : null}
            </div>
          </div>
        </Panel>
      )}
    </main>
  )
}
