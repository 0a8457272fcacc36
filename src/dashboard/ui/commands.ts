/**
 * Runs one call of the client for a button or a form, with the state to show: that it is running, and why it failed.
 */
import { Cause, Effect, Exit, SchemaIssue } from "effect"
import type { Duration } from "effect"
import { useCallback, useContext, useEffect, useRef, useState } from "react"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import { RequestInvalid } from "../../contracts/Failures.ts"
import { client, clientContext } from "../session.ts"
import { RegistryContext } from "./atoms.ts"

type Client = ColumbaClient["Service"]

/** Long enough for a gateway that is slow to answer; a page that waits longer looks broken. */
const commandTimeout = "40 seconds"

/** One sentence for people, from any failure of a call. */
export const describeCause = (cause: Cause.Cause<unknown>): string => {
  const error: unknown = Cause.squash(cause)
  if (typeof error !== "object" || error === null) return String(error)
  const { _tag, cause: reason, message } = error as {
    readonly _tag?: string
    readonly cause?: unknown
    readonly message?: string
  }
  if (_tag === "RpcClientError") {
    return "The server could not be reached. It is not known whether the request was executed."
  }
  if (_tag === "TimeoutError") return "The server did not answer in time. The request may still have been executed."
  // The input was not sent to the server.
  if (SchemaIssue.isIssue(reason)) {
    return RequestInvalid.ofIssue("", reason).issues.map(({ message }) => message).join("; ")
  }
  return message === undefined || message === "" ? (_tag ?? "The request failed; the server gave no reason.") : message
}

export interface Command<Args extends ReadonlyArray<unknown>> {
  readonly run: (...args: Args) => void
  readonly pending: boolean
  readonly failure: string | null
}

/** `done` is called with the answer, if the component is still there. */
export const useCommand = <Args extends ReadonlyArray<unknown>, A, E>(
  call: (client: Client, ...args: Args) => Effect.Effect<A, E>,
  done: (answer: A) => void = () => {},
  timeout: Duration.Input = commandTimeout
): Command<Args> => {
  const registry = useContext(RegistryContext)
  const [state, setState] = useState<{ readonly pending: boolean; readonly failure: string | null }>(idle)
  const latest = useRef({ call, done, timeout })
  const alive = useRef(true)
  latest.current = { call, done, timeout }
  useEffect(() => {
    alive.current = true
    return () => {
      alive.current = false
    }
  }, [])
  const run = useCallback((...args: Args) => {
    const context = clientContext(registry.get(client))
    if (context === null) return
    setState({ pending: true, failure: null })
    const calling = Effect.flatMap(ColumbaClient, (service) => latest.current.call(service, ...args)).pipe(
      Effect.timeout(latest.current.timeout),
      Effect.provideContext(context)
    )
    void Effect.runPromiseExit(calling).then((exit) => {
      if (!alive.current) return
      setState({ pending: false, failure: Exit.isFailure(exit) ? describeCause(exit.cause) : null })
      if (Exit.isSuccess(exit)) latest.current.done(exit.value)
    })
  }, [registry])
  return { run, ...state }
}

const idle = { pending: false, failure: null }
