/**
 * The child's side of a measured process: it answers named requests of its parent over the IPC channel, and ends with
 * its parent. It is plain Node on purpose: a floor must contain only what it measures.
 */

/** The requests that a process answers, by name. Arguments and answers are JSON. */
export type Handlers = Record<string, (args: never) => unknown>

/** Answers the parent until it ends. Call it once, at the end of a worker's module. */
export const serveParent = (handlers: Handlers): void => {
  const send = process.send?.bind(process)
  if (send === undefined) throw new Error("This file is run by the benchmarks, not by hand")
  process.on("disconnect", () => process.exit(0))
  process.on("SIGTERM", () => process.exit(0))
  process.on("message", (request: { readonly id: number; readonly name: string; readonly args: unknown }) => {
    void answer(handlers, request).then((reply) => send({ id: request.id, ...reply }))
  })
  send({ ready: true })
}

const answer = async (handlers: Handlers, request: { readonly name: string; readonly args: unknown }) => {
  try {
    const handler = handlers[request.name]
    if (handler === undefined) throw new Error(`This process has no request '${request.name}'`)
    return { value: (await handler(request.args as never)) ?? null }
  } catch (error) {
    return { error: error instanceof Error ? error.stack ?? error.message : String(error) }
  }
}
