/** A file to send: its type by its content, the kinds of message that accept it, and why others do not. */
import { useId, useState } from "react"
import { detectType, headBytes, kindRules, MediaKind, refuseFile } from "../../domain/OutgoingFile.ts"
import type { FileFacts } from "../../domain/OutgoingFile.ts"
import { Field, Notice, Segments } from "../ui/parts.tsx"

const words: Readonly<Record<MediaKind, string>> = {
  image: "Picture",
  document: "Document",
  audio: "Sound",
  voice: "Voice note",
  video: "Film",
  sticker: "Sticker"
}

const megabytes = (bytes: number): string => `${Math.max(bytes / 1_000_000, 0.1).toFixed(bytes < 1_000_000 ? 1 : 0)} MB`

export interface ChosenFile {
  readonly content: File
  readonly facts: FileFacts
  readonly kind: MediaKind
  readonly caption: string
}

const captioned: ReadonlySet<MediaKind> = new Set(["image", "document", "video"])

/** The first kind that accepts it; any file can be a document, if it is small enough. */
const preferred: ReadonlyArray<MediaKind> = ["image", "video", "voice", "audio", "document", "sticker"]

export const readChosen = async (content: File, kinds: ReadonlyArray<MediaKind>): Promise<ChosenFile> => {
  const head = new Uint8Array(await content.slice(0, headBytes).arrayBuffer())
  const facts = { size: content.size, mimeType: detectType(head) }
  const offered = preferred.filter((kind) => kinds.includes(kind))
  const kind = offered.find((one) => refuseFile(one, facts) === null) ?? offered[0] ?? "document"
  return { content, facts, kind, caption: "" }
}

/** Why it cannot be sent as the chosen kind; null if it can. */
export const refuseChosen = ({ facts, kind }: ChosenFile): string | null => refuseFile(kind, facts)?.detail ?? null

/** The file's part of a request once it is uploaded. */
export const fileContent = <Id extends string>({ caption, content, kind }: ChosenFile, file: Id) => ({
  [kind]: {
    file,
    ...(captioned.has(kind) && caption !== "" ? { caption } : {}),
    ...(kind === "document" ? { fileName: content.name } : {})
  }
})

interface FileFieldProps {
  readonly chosen: ChosenFile | null
  readonly onChange: (chosen: ChosenFile | null) => void
  /** The kinds that the gateway accepts. */
  readonly kinds: ReadonlyArray<MediaKind>
  /** The transferred share, from 0 to 1; null while nothing is transferred. */
  readonly progress: number | null
}

export const FileField = ({ chosen, kinds, onChange, progress }: FileFieldProps) => {
  const id = useId()
  const [unreadable, setUnreadable] = useState(false)
  const refusal = chosen === null ? null : refuseChosen(chosen)
  return (
    <>
      <div className="field">
        <label htmlFor={id}>File</label>
        <input
          id={id}
          type="file"
          required
          aria-describedby={`${id}-hint`}
          onChange={({ target }) => {
            const [file] = target.files ?? []
            setUnreadable(false)
            if (file === undefined) return onChange(null)
            readChosen(file, kinds).then(onChange, () => setUnreadable(true))
          }}
        />
        <p className="hint" id={`${id}-hint`}>
          At most:{" "}
          {kinds.map((kind) => `${words[kind].toLowerCase()} ${megabytes(kindRules[kind].bytesMax)}`).join(", ")}.
        </p>
      </div>
      {unreadable ? <Notice tone="bad">This browser cannot read the file.</Notice> : null}
      {chosen === null ? null : (
        <>
          <Segments
            label="Send it as"
            value={chosen.kind}
            options={kinds.map((kind) => [kind, words[kind]])}
            onChange={(kind) => onChange({ ...chosen, kind })}
          />
          {refusal === null ? null : <Notice tone="bad">It cannot be sent as this: {refusal}.</Notice>}
          {captioned.has(chosen.kind)
            ? <Field label="Caption" value={chosen.caption} onChange={(caption) => onChange({ ...chosen, caption })} />
            : null}
        </>
      )}
      {progress === null ? null : (
        <div className="field">
          <label htmlFor={`${id}-progress`}>{progress < 1 ? "Uploading" : "Uploaded"}</label>
          <progress id={`${id}-progress`} value={progress} />
        </div>
      )}
    </>
  )
}
