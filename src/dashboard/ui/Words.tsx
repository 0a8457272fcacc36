/** A sentence from the server, with its times as people read them. */
import { Clock } from "./time.tsx"

const time = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)/

export const Words = ({ text }: { readonly text: string }) => (
  <>{text.split(time).map((part, index) => index % 2 === 1 ? <Clock key={index} at={part} /> : part)}</>
)
