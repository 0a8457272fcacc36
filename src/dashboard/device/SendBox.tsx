/** Sends a message. A repeated press, or one whose answer was lost, sends no second message. */
import { Effect } from "effect"
import { useState } from "react"
import type { DeviceId } from "../../domain/Ids.ts"
import { MediaKind } from "../../domain/OutgoingFile.ts"
import { ContentFields, contentOf, noDraft, typedKinds } from "../messages/Draft.tsx"
import type { TypedKind } from "../messages/Draft.tsx"
import { fileContent, FileField, refuseChosen } from "../messages/FileField.tsx"
import type { ChosenFile } from "../messages/FileField.tsx"
import { uploadFile, uploadTimeout } from "../messages/transfers.ts"
import { sessionAtom } from "../session.ts"
import { useAtomRefresh, useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Form } from "../ui/Form.tsx"
import { Field, Notice, Segments } from "../ui/parts.tsx"
import { messagesAtom } from "./deviceAtoms.ts"

type Kind = TypedKind | "file"

interface SendBoxProps {
  readonly id: DeviceId
  /** The contents that its gateway can send; empty if that is not known. */
  readonly sends: ReadonlySet<string>
}

export const SendBox = ({ id, sends }: SendBoxProps) => {
  const session = useAtomValue(sessionAtom)
  // Accepting a message makes no event, so the list is read again.
  const listed = useAtomRefresh(messagesAtom(id))
  const [kind, setKind] = useState<Kind>("text")
  const [to, setTo] = useState("")
  const [at, setAt] = useState("")
  const [draft, setDraft] = useState(noDraft)
  const [file, setFile] = useState<ChosenFile | null>(null)
  const [progress, setProgress] = useState<number | null>(null)
  const [key, setKey] = useState(() => crypto.randomUUID())
  const [accepted, setAccepted] = useState<{ readonly words: string; readonly count: number } | null>(null)
  const offered = (one: string): boolean => sends.size === 0 || sends.has(one)
  const files = MediaKind.literals.filter(offered)
  const kinds: ReadonlyArray<readonly [Kind, string]> = [
    ...typedKinds.filter(([one]) => offered(one)),
    ...(files.length === 0 ? [] : [["file", "File"] as const])
  ]
  /** A changed form is another message. */
  const renew = () => setKey(crypto.randomUUID())
  const upload = (chosen: ChosenFile) =>
    uploadFile(session, id, chosen.content, setProgress).pipe(
      Effect.map(({ id: uploaded }) => fileContent(chosen, uploaded)),
      Effect.ensuring(Effect.sync(() => setProgress(null)))
    )
  const send = useCommand(
    (client) =>
      Effect.gen(function*() {
        const content = kind !== "file" ? contentOf(kind, draft) : file === null ? {} : yield* upload(file)
        return yield* client.messages.send({
          id,
          to: to.trim(),
          idempotencyKey: key,
          ...content,
          ...(at === "" ? {} : { scheduledAt: new Date(at).toISOString() })
        })
      }),
    ({ status }) => {
      setAccepted({
        words: status === "scheduled"
          ? "The message is stored and will be sent at its time."
          : "The message is stored and will be sent.",
        count: (accepted?.count ?? 0) + 1
      })
      setDraft(noDraft)
      setFile(null)
      renew()
      listed()
    },
    uploadTimeout
  )
  const sendable = kind !== "file" || (file !== null && refuseChosen(file) === null)
  return (
    <Form
      className="form send"
      submit="Send"
      onSubmit={send.run}
      pending={send.pending}
      failure={send.failure}
      disabled={!sendable}
    >
      <Segments
        label="Kind of message"
        value={kind}
        options={kinds}
        onChange={(value) => {
          setKind(value)
          renew()
        }}
      />
      <Field
        label="To"
        value={to}
        onChange={(value) => {
          setTo(value)
          renew()
        }}
        required
        hint="A number with its country's code, or the address of a chat."
      />
      {kind === "file"
        ? (
          <FileField
            // A field for files cannot be emptied, so it is replaced once the file was sent.
            key={accepted?.count ?? 0}
            chosen={file}
            onChange={(value) => {
              setFile(value)
              renew()
            }}
            kinds={files}
            progress={progress}
          />
        )
        : (
          <ContentFields
            kind={kind}
            draft={draft}
            onChange={(value) => {
              setDraft(value)
              renew()
            }}
          />
        )}
      <details>
        <summary>Send it later</summary>
        <Field
          label="Time"
          type="datetime-local"
          value={at}
          onChange={(value) => {
            setAt(value)
            renew()
          }}
        />
      </details>
      {accepted === null || send.pending || send.failure !== null
        ? null
        : <Notice tone="good">{accepted.words}</Notice>}
    </Form>
  )
}
