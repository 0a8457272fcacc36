/** A form around some fields: one button submits it, and what the server said against it stands above that button. */
import type { ReactNode } from "react"
import { Button, Failure } from "./parts.tsx"

interface FormProps {
  readonly children: ReactNode
  readonly onSubmit: () => void
  /** The words of the button that submits. */
  readonly submit: string
  readonly pending?: boolean
  readonly failure?: string | null
  readonly disabled?: boolean
  readonly kind?: "plain" | "primary"
  /** Names the form where no heading does. */
  readonly label?: string
  readonly className?: string
  /** Buttons beside the one that submits. */
  readonly beside?: ReactNode
}

export const Form = (
  {
    beside,
    children,
    className = "form",
    disabled = false,
    failure = null,
    kind = "primary",
    label,
    onSubmit,
    pending = false,
    submit
  }: FormProps
) => {
  const button = <Button submit kind={kind} pending={pending} disabled={disabled}>{submit}</Button>
  return (
    <form
      className={className}
      aria-label={label}
      onSubmit={(event) => {
        event.preventDefault()
        onSubmit()
      }}
    >
      {children}
      <Failure message={failure} />
      {beside === undefined ? button : <div className="actions">{button}{beside}</div>}
    </form>
  )
}
