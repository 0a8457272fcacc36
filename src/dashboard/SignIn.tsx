/** Asks for an API key, if the server requires one. A password manager may store it; this page does not. */
import { useState } from "react"
import { Cause, Effect, Exit } from "effect"
import { keyWantedAtom, sessionAtom, signIn } from "./session.ts"
import { useAtomSet, useAtomValue } from "./ui/atoms.ts"
import { describeCause } from "./ui/commands.ts"
import { Form } from "./ui/Form.tsx"
import { Field } from "./ui/parts.tsx"

export const SignIn = () => {
  const wanted = useAtomValue(keyWantedAtom)
  const setSession = useAtomSet(sessionAtom)
  const [key, setKey] = useState("")
  const [pending, setPending] = useState(false)
  const [failure, setFailure] = useState<string | null>(wanted === "" ? null : wanted)
  const signInWithKey = async () => {
    setPending(true)
    const exit = await Effect.runPromiseExit(signIn(key.trim()))
    setPending(false)
    if (Exit.isSuccess(exit)) return setSession(exit.value)
    setFailure(describeSignIn(exit.cause))
  }
  return (
    <main className="page sign-in">
      <Form
        className="panel form"
        submit="Sign in"
        onSubmit={() => void signInWithKey()}
        pending={pending}
        failure={failure}
      >
        <h1>Columba</h1>
        <p>This server asks for an API key.</p>
        <Field
          label="API key"
          type="password"
          required
          autoFocus
          value={key}
          onChange={setKey}
          autoComplete="current-password"
          hint="It stays in the memory of this page until you close or reload it."
        />
      </Form>
    </main>
  )
}

/** A valid key may still lack the permission to read. */
export const describeSignIn = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause) as { readonly _tag?: string }
  if (error._tag === "Unauthorized") return "This server does not know this key."
  if (error._tag === "Forbidden") return "This key may not read: the dashboard needs the scope read."
  return describeCause(cause)
}
