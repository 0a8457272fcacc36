/**
 * The file of a message. Nothing is asked of the gateway until somebody presses, and nothing of a stranger becomes part of
 * the page: pictures are drawn, without movement, and everything can be saved.
 */
import { Data, Effect } from "effect"
import { useEffect, useRef, useState } from "react"
import type { Message } from "../../domain/Message.ts"
import { sessionAtom } from "../session.ts"
import { useAtomValue } from "../ui/atoms.ts"
import { useCommand } from "../ui/commands.ts"
import { Button, Failure } from "../ui/parts.tsx"
import { downloadFile, downloadTimeout } from "./transfers.ts"
import type { MessageFile } from "./transfers.ts"

const pictures: ReadonlySet<string> = new Set(["image", "sticker"])
const files: ReadonlySet<string> = new Set([...pictures, "audio", "video", "video_note", "document"])

/** Of one that has no WhatsApp id the gateway knows no file. */
export const hasFile = ({ type, waId }: Message): boolean => waId !== null && files.has(type)

/** Larger in neither direction, so that a picture of any size costs little once it is shown. */
const sideMax = 480

/** A picture that is shown is held as a whole for a moment. */
const shownBytesMax = 25_000_000

class NotShown extends Data.TaggedError("NotShown")<{ readonly message: string }> {}

const draw = ({ content }: MessageFile): Effect.Effect<ImageBitmap, NotShown> =>
  content.size > shownBytesMax
    ? Effect.fail(new NotShown({ message: "This picture is too large to be shown here; save it instead." }))
    : Effect.tryPromise({
      try: () => readSmall(content),
      catch: () => new NotShown({ message: "This is no picture that this browser can show; save it instead." })
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

/** As a file of the browser's, which does not open it. */
const save = ({ content, name }: MessageFile, fallback: string): void => {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }))
  link.download = name ?? fallback
  link.click()
  // The browser has taken it over by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}

export const Media = ({ message }: { readonly message: Message }) => {
  const { chat, id, type } = message
  const session = useAtomValue(sessionAtom)
  const [picture, setPicture] = useState<ImageBitmap | null>(null)
  const of = `${type} ${message.direction === "in" ? "from" : "to"} ${chat}`
  const show = useCommand(
    () => Effect.flatMap(downloadFile(session, id), draw),
    setPicture,
    downloadTimeout
  )
  const keep = useCommand(() => downloadFile(session, id), (file) => save(file, `${type}-${id}`), downloadTimeout)
  return (
    <div className="message-more">
      {picture === null ? null : <Picture picture={picture} label={of} />}
      {pictures.has(type) && picture === null
        ? <Button kind="quiet" onClick={show.run} pending={show.pending} label={`Show the ${of}`}>Show</Button>
        : null}
      <Button kind="quiet" onClick={keep.run} pending={keep.pending} label={`Save the ${of}`}>Save</Button>
      <Failure message={show.failure ?? keep.failure} />
    </div>
  )
}
