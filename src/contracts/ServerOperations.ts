/** The operations on the server itself. */
import { serverInfo } from "./examples.ts"
import * as Operation from "./Operation.ts"
import { ServerInfo } from "./Payloads.ts"

export const serverOperations = [
  Operation.get("Server", "Info", "/server", {
    scope: "read",
    reach: "server",
    summary: "Describe the server",
    description: "Version, parts and readiness of the process that answers.",
    success: ServerInfo,
    example: serverInfo,
    errors: []
  })
] as const
