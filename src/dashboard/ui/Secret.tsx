/** A secret that is shown this once: to be selected with one press, and copied where the browser lets pages do so. */
import { useState } from "react"
import { Button, Notice } from "./parts.tsx"

interface SecretProps {
  readonly secret: string
  /** What it is, and that it is not shown again. */
  readonly words: string
  /** Forgets it. */
  readonly done: () => void
}

/** Browsers let only pages of this machine, or that came encrypted, write to the clipboard. */
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
