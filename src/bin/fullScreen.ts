/**
 * The whole terminal, for a view that is drawn again and again. The earlier content is restored when the scope closes,
 * and also if the process ends without closing it.
 */
import { Effect } from "effect"
import type { Scope } from "effect"
import { fit, render } from "./styledText.ts"
import type { Part } from "./styledText.ts"

/** Another screen than the shell's, without a cursor, on which long lines are cut instead of wrapped. */
const enter = "\u001b[?1049h\u001b[?25l\u001b[?7l"
const eraseLine = "\u001b[2K"
const eraseBelow = "\u001b[J"
const leave = "\u001b[?7h\u001b[?25h\u001b[?1049l"

export interface FullScreen {
  readonly draw: (lines: ReadonlyArray<Part>, size: { readonly columns: number; readonly rows: number }) => void
}

export const open = (stream: NodeJS.WriteStream, colours: boolean): Effect.Effect<FullScreen, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const restore = () => void stream.write(leave)
      process.once("exit", restore)
      stream.write(enter)
      let shown = ""
      return {
        draw: (lines: ReadonlyArray<Part>, size: { readonly columns: number; readonly rows: number }): void => {
          // Erased before it is written: after a line of full width the cursor stands on its last character.
          const text = lines.slice(0, size.rows)
            .map((line) => `${eraseLine}${render(fit(line, size.columns), colours)}`)
            .join("\r\n") + (lines.length < size.rows ? `\r\n${eraseBelow}` : "")
          // A terminal that does not read gets no more: the next drawing shows all later changes.
          if (text === shown || stream.writableNeedDrain) return
          shown = text
          stream.write(`\u001b[H${text}`)
        },
        restore
      }
    }),
    ({ restore }) =>
      Effect.sync(() => {
        process.off("exit", restore)
        restore()
      })
  )
