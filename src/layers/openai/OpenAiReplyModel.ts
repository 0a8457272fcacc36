/**
 * Answers by a server that implements OpenAI's chat completions, OpenAI's own or another one. The answer is read as it is
 * written, so an answer that never ends or breaks off is noticed. Nothing is retried here; the consumer does that, with its
 * own delays.
 */
import { Duration, Effect, Layer, Redacted } from "effect"
import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError, APIUserAbortError } from "openai"
import { cutText } from "../../services/cutText.ts"
import { ReplyFailed, replyLengthMax, ReplyModel } from "../../services/ReplyModel.ts"

/** A long answer of a slow model. */
const replyTimeout = Duration.seconds(60)

/** Maximum size of an answer in its wire form: each word comes with some hundred bytes around it. */
const bytesMax = 2 * 1024 * 1024

export interface OpenAiOptions {
  readonly apiKey: Redacted.Redacted<string>
  readonly baseUrl: string
  readonly model: string
}

export const layer = ({ apiKey, baseUrl, model }: OpenAiOptions): Layer.Layer<ReplyModel> =>
  Layer.sync(ReplyModel, () => {
    const client = new OpenAI({
      apiKey: Redacted.value(apiKey),
      baseURL: baseUrl,
      // Not from the environment: only our own settings apply.
      organization: null,
      project: null,
      webhookSecret: null,
      logLevel: "off",
      maxRetries: 0,
      timeout: Duration.toMillis(replyTimeout),
      fetch: fetchBounded
    })
    return ReplyModel.of({
      reply: Effect.fn("ReplyModel.reply")(function*({ prompt, turns }) {
        return yield* Effect.tryPromise({
          try: (signal) =>
            read(client, {
              model,
              messages: [
                ...(prompt.trim() === "" ? [] : [{ role: "system" as const, content: prompt }]),
                ...turns.map(({ role, text }) => ({ role, content: text }))
              ]
            }, signal),
          catch: toFailure
        }).pipe(Effect.timeoutOrElse({
          duration: replyTimeout,
          orElse: () =>
            Effect.fail(failed("timeout", `the model did not answer within ${Duration.format(replyTimeout)}`))
        }))
      })
    })
  })

const read = async (
  client: OpenAI,
  request: Pick<OpenAI.Chat.ChatCompletionCreateParamsStreaming, "model" | "messages">,
  signal: AbortSignal
): Promise<string> => {
  const stream = await client.chat.completions.create({ ...request, stream: true }, { signal })
  let text = ""
  let finished: string | null = null
  for await (const { choices } of stream) {
    const choice = choices?.[0]
    const piece: unknown = choice?.delta?.content
    if (typeof piece === "string") text += piece
    finished = choice?.finish_reason ?? finished
    // Leaving the loop ends the request.
    if (text.length >= replyLengthMax) finished = "length"
    if (finished !== null) break
  }
  if (finished === "content_filter") throw failed("refused", "the model refuses to answer")
  if (finished === null) {
    throw text === ""
      ? failed("unreadable", "the model's answer is not in the form of chat completions")
      : failed("unavailable", "the model's answer broke off")
  }
  const answer = cutText(text, replyLengthMax).replaceAll("\0", "").trim()
  if (answer === "") throw failed("unreadable", "the model's answer is empty")
  return answer
}

/** As `fetch`, with a limit on the size of an answer. It follows no redirect, so a conversation goes only to the set server. */
const fetchBounded: typeof fetch = async (input, init) => {
  const response = await fetch(input, { ...init, redirect: "manual" })
  if (response.body === null) return response
  let bytes = 0
  const bounded = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        bytes += chunk.byteLength
        if (bytes > bytesMax) controller.error(failed("unreadable", "the model's answer has no end"))
        else controller.enqueue(chunk)
      }
    })
  )
  return new Response(bounded, { status: response.status, headers: response.headers })
}

const failed = (reason: ReplyFailed["reason"], message: string, retryAfter: Duration.Duration | null = null) =>
  new ReplyFailed({ reason, message, retryAfter })

/** The server's own message stays out: it may repeat the conversation, or a part of the key. */
const toFailure = (error: unknown): ReplyFailed => {
  if (error instanceof ReplyFailed) return error
  if (error instanceof APIConnectionTimeoutError) return failed("timeout", "the model did not answer in time")
  if (error instanceof APIUserAbortError) return failed("unavailable", "the request was cancelled")
  if (error instanceof APIConnectionError) {
    return error.cause instanceof ReplyFailed
      ? error.cause
      : failed("unavailable", "the connection to the model failed")
  }
  if (error instanceof APIError && error.status !== undefined) {
    const { status } = error
    const code = typeof error.code === "string" && /^[a-z0-9_.-]{1,64}$/i.test(error.code) ? ` (${error.code})` : ""
    return failed(classify(status), `the model's server answers ${status}${code}`, readRetryAfter(error.headers))
  }
  // Of a stream: an event that is not JSON, or that reports a failure of the model.
  if (error instanceof SyntaxError || error instanceof APIError) {
    return failed("unreadable", "the model's answer cannot be read")
  }
  return failed("unavailable", "the model's answer broke off")
}

const classify = (status: number): ReplyFailed["reason"] => {
  if (status === 401 || status === 403) return "credentials"
  if (status === 429) return "rate-limited"
  // 404: the model or the path is wrong, and an operator can correct it. 408 and 409 are transient by definition.
  return status === 400 || status === 413 || status === 422 ? "refused" : "unavailable"
}

const readRetryAfter = (headers: Headers | undefined): Duration.Duration | null => {
  const given = headers?.get("retry-after")
  if (given === null || given === undefined) return null
  const seconds = Number(given)
  const millis = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(given) - Date.now()
  return Number.isFinite(millis) && millis > 0 ? Duration.millis(Math.min(millis, 86_400_000)) : null
}
