/**
 * The file of a message. Nothing is requested from the gateway until a person presses, and no content of a stranger
 * becomes markup of the page: pictures are drawn, without movement, sounds and films are played by the browser, and
 * everything can be saved.
 */
import { Data, Effect } from "effect"
import { useEffect, useRef, useState } from "react"
import { detectType, headBytes } from "../../domain/OutgoingFile.ts"
import type { Message } from "../../domain/Message.ts"
import { sessionAtom } from "../session.ts"
import { useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Button, count, Failure } from "../ui/parts.tsx"
import { downloadFile, downloadTimeout, savedBytesMax } from "./transfers.ts"
import type { MessageFile } from "./transfers.ts"

const pictures: ReadonlySet<string> = new Set(["image", "sticker"])
const sounds: ReadonlySet<string> = new Set(["audio", "voice"])
const films: ReadonlySet<string> = new Set(["video", "video_note"])
const files: ReadonlySet<string> = new Set([...pictures, ...sounds, ...films, "document"])

/** The gateway has no file for a message without a WhatsApp id. */
export const hasFile = ({ type, waId }: Message): boolean => waId !== null && files.has(type)

/** Maximum width and height, so that a picture of any size costs little once it is shown. */
const sideMax = 480

/** A shown picture is held as a whole for a moment. */
const shownBytesMax = 25_000_000

/** A sound or film is held as long as it is on the page: more than WhatsApp's limit for sounds, and for most films. */
const playedBytesMax = 64_000_000

class NotShown extends Data.TaggedError("NotShown")<{ readonly message: string }> {}

const draw = ({ content }: MessageFile): Effect.Effect<ImageBitmap, NotShown> =>
  Effect.tryPromise({
    try: () => readSmall(content),
    catch: () => new NotShown({ message: "This browser cannot show this picture; save it instead." })
  })

const readSmall = async (content: Blob): Promise<ImageBitmap> => {
  const whole = await createImageBitmap(content)
  const scale = Math.min(1, sideMax / Math.max(whole.width, whole.height))
  const size = (side: number): number => Math.max(1, Math.round(side * scale))
  const small = await createImageBitmap(whole, {
    resizeWidth: size(whole.width),
    resizeHeight: size(whole.height),
    resizeQuality: "medium"
  })
  whole.close()
  return small
}

const Picture = ({ label, picture }: { readonly picture: ImageBitmap; readonly label: string }) => {
  const canvas = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    canvas.current?.getContext("2d")?.drawImage(picture, 0, 0)
  }, [picture])
  return (
    <canvas
      className="picture"
      ref={canvas}
      width={picture.width}
      height={picture.height}
      role="img"
      aria-label={label}
    />
  )
}

interface Recording {
  readonly content: Blob
  /** Detected from the first bytes. WhatsApp's voice notes have this form, and other sounds hardly ever. */
  readonly isVoiceNote: boolean
}

/** The bytes decide its type, whatever type is claimed; the browser refuses the rest. */
const readRecording = ({ content }: MessageFile) =>
  Effect.promise(async (): Promise<Recording> => {
    const type = detectType(new Uint8Array(await content.slice(0, headBytes).arrayBuffer()))
    const known = type !== null && /^(audio|video)\//.test(type) ? type : ""
    return { content: content.slice(0, content.size, known), isVoiceNote: type === "audio/ogg" }
  })

const Player = ({ film, label, recording }: {
  readonly film: boolean
  readonly label: string
  readonly recording: Recording
}) => {
  const [url, setUrl] = useState<string | null>(null)
  const [refused, setRefused] = useState(false)
  useEffect(() => {
    const made = URL.createObjectURL(recording.content)
    setUrl(made)
    return () => URL.revokeObjectURL(made)
  }, [recording])
  const props = { controls: true, "aria-label": label, onError: () => setRefused(true) }
  if (refused) return <Failure message="This browser cannot play this file; save it instead." />
  if (url === null) return null
  return film
    ? <video className="player" src={url} {...props} />
    : (
      <>
        {recording.isVoiceNote ? <em>voice note</em> : null}
        <audio className="player" src={url} {...props} />
      </>
    )
}

/** As a file that the browser does not open. */
const save = ({ content, name }: MessageFile, fallback: string): void => {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }))
  link.download = name ?? fallback
  link.click()
  // The browser has taken it over by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}

const describeFile = ({ content, name }: MessageFile): string => {
  const size = content.size < 1_000_000
    ? `${count(Math.ceil(content.size / 1000))} kB`
    : `${count(Math.round(content.size / 100_000) / 10)} MB`
  return `${name ?? "without a name"} · ${size}${content.type === "" ? "" : ` · ${content.type}`}`
}

export const Media = ({ message }: { readonly message: Message }) => {
  const { chat, id, type } = message
  const session = useAtomValue(sessionAtom)
  const [picture, setPicture] = useState<ImageBitmap | null>(null)
  const [recording, setRecording] = useState<Recording | null>(null)
  const [saved, setSaved] = useState<string | null>(null)
  const of = `${type} ${message.direction === "in" ? "from" : "to"} ${chat}`
  const show = useCommand(
    () => Effect.flatMap(downloadFile(session, id, shownBytesMax), draw),
    setPicture,
    downloadTimeout
  )
  const play = useCommand(
    () => Effect.flatMap(downloadFile(session, id, playedBytesMax), readRecording),
    setRecording,
    downloadTimeout
  )
  const keep = useCommand(() => downloadFile(session, id, savedBytesMax), (file) => {
    save(file, `${type}-${id}`)
    setSaved(describeFile(file))
  }, downloadTimeout)
  return (
    <div className="message-more">
      {picture === null ? null : <Picture picture={picture} label={of} />}
      {recording === null ? null : <Player recording={recording} film={films.has(type)} label={of} />}
      {pictures.has(type) && picture === null
        ? <Button kind="quiet" onClick={show.run} pending={show.pending} label={`Show the ${of}`}>Show</Button>
        : null}
      {(sounds.has(type) || films.has(type)) && recording === null
        ? <Button kind="quiet" onClick={play.run} pending={play.pending} label={`Play the ${of}`}>Play</Button>
        : null}
      <Button kind="quiet" onClick={keep.run} pending={keep.pending} label={`Save the ${of}`}>Save</Button>
      {saved === null ? null : <span className="note break">Saved: {saved}</span>}
      <Failure message={show.failure ?? play.failure ?? keep.failure} />
    </div>
  )
}
