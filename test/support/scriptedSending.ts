/** The `send` part of a scripted gateway: it follows the script of a test, and records the messages. */
import { Deferred, Effect } from "effect"
import type { Send, SessionTarget, OutgoingMessage } from "../../src/services/GatewayParts.ts"
import type { ContentType } from "../../src/domain/Send.ts"

export type SendAnswer = Effect.Effect<
  { readonly waId: string },
  Effect.Error<ReturnType<Send["message"]>>
>

export class ScriptedSending implements Send {
  readonly contents: ReadonlySet<ContentType>
  /** Every message that the gateway received, in order. */
  readonly given: Array<OutgoingMessage> = []
  #ids = 0
  #held: Deferred.Deferred<void> | null = null
  /** The outcome of the nth message, from 1; by default it is sent. */
  answer: (message: OutgoingMessage, n: number) => SendAnswer | null = () => null

  constructor(contents: ReadonlyArray<ContentType> = ["text"]) {
    this.contents = new Set(contents)
  }

  /** From now on answers wait until they are released. */
  hold(): Deferred.Deferred<void> {
    const held = Deferred.makeUnsafe<void>()
    this.#held = held
    return held
  }

  texts(): ReadonlyArray<string> {
    return this.given.map(({ content }) => content.type === "text" ? content.text : content.type)
  }

  readonly message = (_target: SessionTarget, message: OutgoingMessage): SendAnswer =>
    Effect.suspend((): SendAnswer => {
      this.given.push(message)
      const n = this.given.length
      const answer = this.answer(message, n) ?? Effect.sync(() => ({ waId: `SENT${++this.#ids}` }))
      const held = this.#held
      return held === null ? answer : Effect.andThen(Deferred.await(held), answer)
    })
}
