/**
 * Ends the connection of a request with a reset, for a client that does not read. After an orderly close the kernel
 * keeps the unsent data, some megabytes per connection, and offers it for minutes.
 */
import type { HttpServerRequest } from "effect/http"
import { IncomingMessage } from "node:http"

export const dropConnection = ({ source }: HttpServerRequest.HttpServerRequest) => (): void => {
  if (source instanceof IncomingMessage) source.socket.resetAndDestroy()
}
