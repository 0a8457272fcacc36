/** The operations on the server itself. */
import { serverInfo } from "./examples.ts"
import * as Operation from "./Operation.ts"
import { Pong, ServerInfo } from "./Payloads.ts"

export const serverOperations = [
  Operation.get("Server", "Ping", "/server/ping", {
    scope: "read",
    reach: "server",
    summary: "Check the connection",
    description: "Answers at once where the server can be reached and the key is known. It looks at no part behind it.",
    success: Pong,
    example: { node: "columba-1" },
    errors: []
  }),
  Operation.get("Server", "Info", "/server", {
    scope: "read",
    reach: "filter",
    summary: "Describe the server",
    description:
      "Version, parts and readiness of the process that answers, and how far it has read the histories of gateways after a " +
      "loss. A key that is limited to some devices gets no gateways, no histories, no head of the log, and checks without " +
      "details.",
    success: ServerInfo,
    example: serverInfo,
    errors: []
  })
] as const
