/** The frame of all pages: the navigation, whether the server answers, the caller, and the theme. */
import { Cause, Effect, Exit } from "effect"
import { AsyncResult } from "effect/reactivity"
import { useEffect, useState } from "react"
import { DeviceId } from "../domain/Ids.ts"
import { SubscriptionId } from "../domain/Subscription.ts"
import { DeadLettersPage } from "./dead/DeadLettersPage.tsx"
import { DevicePage } from "./device/DevicePage.tsx"
import { FleetPage } from "./fleet/FleetPage.tsx"
import { figuresAtom } from "./fleet/fleetAtoms.ts"
import { GatewaysPage } from "./gateways/GatewaysPage.tsx"
import { KeysPage } from "./keys/KeysPage.tsx"
import { LoginPage } from "./login/LoginPage.tsx"
import { keyWantedAtom, mayAtom, sessionAtom, signIn } from "./session.ts"
import { describeSignIn, SignIn } from "./SignIn.tsx"
import { knownNodesAtom } from "./nodes/nodeAtoms.ts"
import { NodesPage } from "./nodes/NodesPage.tsx"
import { SchedulesPage } from "./schedules/SchedulesPage.tsx"
import { SubscriptionPage } from "./subscriptions/SubscriptionPage.tsx"
import { SubscriptionsPage } from "./subscriptions/SubscriptionsPage.tsx"
import { useAtom, useAtomSet, useAtomValue } from "./ui/atoms.ts"
import { Button, Failure, Skeleton } from "./ui/parts.tsx"
import { PageBoundary } from "./ui/PageBoundary.tsx"
import { hrefs, routeAtom } from "./ui/route.ts"
import type { Route } from "./ui/route.ts"
import { ThemeSwitch } from "./ui/ThemeSwitch.tsx"
import { Ago } from "./ui/time.tsx"

const Page = ({ route }: { readonly route: Route }) => {
  switch (route.page) {
    case "fleet":
      return <FleetPage />
    case "gateways":
      return <GatewaysPage />
    case "dead":
      return <DeadLettersPage />
    case "schedules":
      return <SchedulesPage />
    case "keys":
      return <KeysPage />
    case "nodes":
      return <NodesPage />
    case "subscriptions":
      return <SubscriptionsPage />
    case "subscription":
      return isSubscription(route.id)
        ? <SubscriptionPage key={route.id} id={SubscriptionId.make(route.id)} />
        : <Nowhere />
    case "device":
      return isDevice(route.id) ? <DevicePage key={route.id} id={DeviceId.make(route.id)} /> : <Nowhere />
    case "login":
      return isDevice(route.id) ? <LoginPage key={route.id} id={DeviceId.make(route.id)} /> : <Nowhere />
  }
}

const isDevice = (text: string): boolean => /^dev_[0-9A-Z]{26}$/.test(text)
const isSubscription = (text: string): boolean => /^sub_[0-9A-Z]{26}$/.test(text)

const Nowhere = () => (
  <main className="page narrow">
    <h1>There is no such page</h1>
    <p>
      <a href={hrefs.fleet}>To the fleet</a>
    </p>
  </main>
)

const Connection = () => {
  const figures = AsyncResult.value(useAtomValue(figuresAtom))
  const since = figures._tag === "Some" ? figures.value.lostSince : null
  return (
    <>
      <span className={`connection ${since === null ? "tone-good" : "tone-bad"}`} role="status">
        {figures._tag === "None" ? "connecting" : since === null ? "live" : "no connection"}
      </span>
      {since === null ? null : (
        <div className="banner tone-bad" role="alert">
          The server has not answered since{" "}
          <Ago at={new Date(since).toISOString()} />. What is shown is as it was then. It is asked again every few
          seconds.
        </div>
      )}
    </>
  )
}

/** If the key is revoked or has expired, the page asks for one again. */
const useRefusal = () => {
  const figures = AsyncResult.value(useAtomValue(figuresAtom))
  const [session, setSession] = useAtom(sessionAtom)
  const wantKey = useAtomSet(keyWantedAtom)
  const refused = session !== null && figures._tag === "Some" && figures.value.refused === session
  useEffect(() => {
    if (!refused) return
    wantKey("The server no longer accepts this key.")
    setSession(null)
  }, [refused, setSession, wantKey])
}

const Frame = () => {
  const route = useAtomValue(routeAtom)
  const session = useAtomValue(sessionAtom)
  const { keys, manageFleet, readFleet } = useAtomValue(mayAtom)
  const nodes = useAtomValue(knownNodesAtom)
  const clustered = nodes.length > 1 || nodes.some(({ cluster }) => cluster !== null)
  useRefusal()
  // On a phone the pages do not fit next to each other.
  useEffect(() => {
    document.querySelector(".bar nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" })
  }, [route])
  const here = (page: string): "page" | undefined => route.page.startsWith(page) ? "page" : undefined
  return (
    <>
      <a
        className="skip"
        href="#content"
        onClick={(event) => {
          event.preventDefault()
          const main = document.querySelector("main")
          // It gets the focus by this link alone.
          main?.setAttribute("tabindex", "-1")
          main?.focus()
        }}
      >
        To the content
      </a>
      <header className="bar">
        <a className="brand" href={hrefs.fleet}>Columba</a>
        <nav aria-label="Pages">
          <a href={hrefs.fleet} aria-current={here("fleet")}>Fleet</a>
          {readFleet ? <a href={hrefs.gateways} aria-current={here("gateways")}>Gateways</a> : null}
          <a href={hrefs.schedules} aria-current={here("schedules")}>Schedules</a>
          <a href={hrefs.subscriptions} aria-current={here("subscription")}>Subscriptions</a>
          {manageFleet ? <a href={hrefs.dead} aria-current={here("dead")}>Dead letters</a> : null}
          {keys ? <a href={hrefs.keys} aria-current={here("keys")}>Keys</a> : null}
          {clustered ? <a href={hrefs.nodes} aria-current={here("nodes")}>Nodes</a> : null}
          <a href="/docs">API</a>
        </nav>
        <div className="bar-end">
          <Connection />
          <ThemeSwitch />
          {session?.apiKey === undefined ? null : (
            <>
              <span className="who" title={`scopes: ${session.caller.scopes.join(", ")}`}>{session.caller.name}</span>
              <Button kind="quiet" onClick={() => location.reload()}>Sign out</Button>
            </>
          )}
        </div>
      </header>
      <PageBoundary key={JSON.stringify(route)}>
        <Page route={route} />
      </PageBoundary>
    </>
  )
}

/** First without a key: a server for one machine needs none. */
export const App = () => {
  const [session, setSession] = useAtom(sessionAtom)
  const [wanted, wantKey] = useAtom(keyWantedAtom)
  const [failure, setFailure] = useState<string | null>(null)
  const [tries, setTries] = useState(0)
  useEffect(() => {
    void Effect.runPromiseExit(signIn(undefined)).then((exit) => {
      if (Exit.isSuccess(exit)) return setSession(exit.value)
      const error = Cause.squash(exit.cause) as { readonly _tag?: string }
      if (error._tag === "Unauthorized") wantKey("")
      else setFailure(describeSignIn(exit.cause))
    })
  }, [tries, setSession, wantKey])
  if (session !== null) return <Frame />
  if (wanted !== null) return <SignIn />
  return (
    <main className="page sign-in">
      <div className="panel form">
        <h1>Columba</h1>
        {failure === null ? <Skeleton lines={3} /> : (
          <>
            <Failure message={failure} />
            <Button
              kind="primary"
              onClick={() => {
                setFailure(null)
                setTries(tries + 1)
              }}
            >
              Try again
            </Button>
          </>
        )}
      </div>
    </main>
  )
}
