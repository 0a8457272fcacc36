/** A secret that is shown only once: selected with one press, and copied if the browser allows that. */
import { useState } from "react"
import { Button, Notice } from "./parts.tsx"

interface SecretProps {
  readonly secret: string
  /** The name of the secret, and that it is not shown again. */
  readonly words: string
  /** Forgets it. */
  readonly done: () => void
}

/** Browsers let only pages of this machine, or pages served over TLS, write to the clipboard. */
const canCopy = (): boolean => "clipboard" in navigator && isSecureContext

export const Secret = ({ done, secret, words }: SecretProps) => {
  const [copied, setCopied] = useState<"not yet" | "copied" | "refused">("not yet")
  const copy = () => navigator.clipboard.writeText(secret).then(() => setCopied("copied"), () => setCopied("refused"))
  return (
    <Notice tone="good">
      <p>{words}</p>
      <p>
        <code className="secret">{secret}</code>
      </p>
      <div className="actions">
        {canCopy() ? <Button onClick={() => void copy()}>{copied === "copied" ? "Copied" : "Copy"}</Button> : null}
        <Button kind="quiet" onClick={done}>I have kept it</Button>
      </div>
      {copied === "refused" ? <p>The browser did not allow it: select the text instead.</p> : null}
    </Notice>
  )
}
