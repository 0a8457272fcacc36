/** Small parts of all pages: buttons that show their progress, notices, fields, panels. */
import { Cause } from "effect"
import { AsyncResult } from "effect/reactivity"
import { useEffect, useId, useRef, useState } from "react"
import type { ReactNode } from "react"
import { describeCause } from "./commands.ts"

interface ButtonProps {
  readonly children: ReactNode
  readonly onClick?: () => void
  readonly kind?: "plain" | "primary" | "danger" | "quiet"
  readonly pending?: boolean
  readonly disabled?: boolean
  readonly submit?: boolean
  /** Needed if the label alone does not name the object. */
  readonly label?: string
}

/** While its command runs it keeps its size and accepts no second press; it keeps the keyboard's focus. */
export const Button = (
  { children, disabled = false, kind = "plain", label, onClick, pending = false, submit = false }: ButtonProps
) => (
  <button
    type={submit ? "submit" : "button"}
    className={`button ${kind}`}
    aria-label={label}
    aria-busy={pending}
    aria-disabled={pending}
    disabled={disabled}
    onClick={(event) => {
      if (pending) event.preventDefault()
      else onClick?.()
    }}
  >
    {children}
  </button>
)

/** How long the second press is awaited. */
const doubtMillis = 4000

/** For actions that cannot be undone: the first press asks, the second one does it. */
export const ConfirmButton = (
  { ask, children, onClick, ...rest }: ButtonProps & { readonly ask: string; readonly onClick: () => void }
) => {
  const [asking, setAsking] = useState(false)
  useEffect(() => {
    if (!asking) return
    const timer = setTimeout(() => setAsking(false), doubtMillis)
    return () => clearTimeout(timer)
  }, [asking])
  return (
    <Button
      {...rest}
      kind={asking ? "danger" : rest.kind ?? "plain"}
      {...(asking && rest.label !== undefined ? { label: `${ask} ${rest.label}` } : {})}
      onClick={() => {
        if (asking) onClick()
        setAsking(!asking)
      }}
    >
      {asking ? ask : children}
    </Button>
  )
}

export const Notice = (
  { children, tone }: { readonly children: ReactNode; readonly tone: "bad" | "wait" | "good" | "busy" }
) => <div className={`notice tone-${tone}`} role={tone === "bad" ? "alert" : "status"}>{children}</div>

export const Failure = ({ message }: { readonly message: string | null }) =>
  message === null ? null : <Notice tone="bad">{message}</Notice>

interface PanelProps {
  readonly title: string
  readonly children: ReactNode
  /** Next to the title. */
  readonly aside?: ReactNode
  readonly className?: string
}

export const Panel = ({ aside, children, className = "", title }: PanelProps) => {
  const id = useId()
  return (
    <section className={`panel ${className}`} aria-labelledby={id}>
      <header className="panel-head">
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  )
}

interface FieldProps {
  readonly label: string
  readonly value: string
  readonly onChange: (value: string) => void
  readonly type?: "text" | "password" | "search" | "url" | "tel" | "datetime-local"
  readonly hint?: string
  readonly required?: boolean
  readonly autoFocus?: boolean
  readonly autoComplete?: string
  readonly placeholder?: string
  readonly rows?: number
}

export const Field = (
  {
    autoComplete = "off",
    autoFocus = false,
    hint,
    label,
    onChange,
    placeholder,
    required = false,
    rows,
    type = "text",
    value
  }: FieldProps
) => {
  const id = useId()
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (autoFocus) input.current?.focus()
  }, [autoFocus])
  const common = {
    id,
    value,
    required,
    placeholder,
    autoComplete,
    "aria-describedby": hint === undefined ? undefined : `${id}-hint`,
    onChange: (event: { readonly target: { readonly value: string } }) => onChange(event.target.value)
  }
  return (
    <div className="field">
      <label htmlFor={id}>{label}{required ? "" : <span className="optional">optional</span>}</label>
      {rows === undefined
        ? <input {...common} ref={input} type={type} spellCheck={false} />
        : <textarea {...common} rows={rows} />}
      {hint === undefined ? null : <p className="hint" id={`${id}-hint`}>{hint}</p>}
    </div>
  )
}

interface ChoiceProps<Value extends string> {
  readonly label: string
  readonly value: Value
  readonly options: ReadonlyArray<readonly [value: Value, word: string]>
  readonly onChange: (value: Value) => void
  readonly hideLabel?: boolean
}

export const Choice = <Value extends string>(
  { hideLabel = false, label, onChange, options, value }: ChoiceProps<Value>
) => {
  const id = useId()
  return (
    <div className="field">
      <label htmlFor={id} className={hideLabel ? "unseen" : ""}>{label}</label>
      <select
        id={id}
        value={value}
        onChange={(event) => {
          const chosen = options.find(([one]) => one === event.target.value)
          if (chosen !== undefined) onChange(chosen[0])
        }}
      >
        {options.map(([one, word]) => <option key={one} value={one}>{word}</option>)}
      </select>
    </div>
  )
}

interface ChecksProps<Value extends string> {
  readonly label: string
  readonly options: ReadonlyArray<readonly [value: Value, word: string, hint: string]>
  readonly chosen: ReadonlyArray<Value>
  readonly onChange: (chosen: ReadonlyArray<Value>) => void
}

/** A choice of any number of options. */
export const Checks = <Value extends string>({ chosen, label, onChange, options }: ChecksProps<Value>) => (
  <fieldset className="checks">
    <legend>{label}</legend>
    {options.map(([one, word, hint]) => (
      <label key={one}>
        <input
          type="checkbox"
          checked={chosen.includes(one)}
          onChange={({ target }) =>
            onChange(
              options.map(([value]) => value).filter((value) => value === one ? target.checked : chosen.includes(value))
            )}
        />
        <span>
          {word} <span className="hint">{hint}</span>
        </span>
      </label>
    ))}
  </fieldset>
)

/** A choice of one option. */
export const Segments = <Value extends string>({ label, onChange, options, value }: ChoiceProps<Value>) => (
  <div className="segments" role="group" aria-label={label}>
    {options.map(([one, word]) => (
      <button
        key={one}
        type="button"
        aria-pressed={one === value}
        onClick={() => onChange(one)}
      >
        {word}
      </button>
    ))}
  </div>
)

export type Fact = readonly [name: string, value: ReactNode]

export const Facts = ({ facts }: { readonly facts: ReadonlyArray<Fact> }) => (
  <dl className="facts">
    {facts.map(([name, value]) => (
      <div key={name}>
        <dt>{name}</dt>
        <dd className="break">{value}</dd>
      </div>
    ))}
  </dl>
)

export const Empty = ({ children }: { readonly children: ReactNode }) => <div className="empty">{children}</div>

/** About as many grey lines as the content will have, so that nothing moves when it arrives. */
export const Skeleton = ({ lines }: { readonly lines: number }) => (
  <div className="skeleton" role="status" aria-label="Loading">
    {Array.from({ length: lines }, (_, line) => <span key={line} />)}
  </div>
)

interface LoadedProps<A, E> {
  readonly result: AsyncResult.AsyncResult<A, E>
  readonly lines?: number
  readonly children: (value: A) => ReactNode
}

/** The value, otherwise that it is loading, otherwise why it could not be read. An old value is still shown. */
export const Loaded = <A, E>({ children, lines = 3, result }: LoadedProps<A, E>) => {
  const value = AsyncResult.value(result)
  if (AsyncResult.isFailure(result) && !Cause.hasInterruptsOnly(result.cause)) {
    return (
      <>
        <Failure message={describeCause(result.cause)} />
        {value._tag === "Some" ? children(value.value) : null}
      </>
    )
  }
  return value._tag === "Some" ? children(value.value) : <Skeleton lines={lines} />
}

export const numbers = new Intl.NumberFormat("en")
export const count = (value: number): string => numbers.format(value)
