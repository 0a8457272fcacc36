/** The operations on the server itself. */
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { caller, node, overview, serverInfo } from "./examples.ts"
import * as Operation from "./Operation.ts"
import { Caller, NodeList, Overview, Pong, ServerInfo } from "./ServerPayloads.ts"

export const serverOperations = [
  Operation.get("Server", "Ping", "/server/ping", {
    scope: "read",
    reach: "server",
    summary: "Check the connection",
    description: "Answers at once if the server can be reached and accepts the key. It checks no other part.",
    success: Pong,
    example: { node: "columba-1" },
    errors: []
  }),
  Operation.get("Server", "Info", "/server", {
    scope: "read",
    reach: "filter",
    summary: "Describe the server",
    description:
      "Version, parts and readiness of the answering process, and how far it has read the histories of gateways " +
      "after a loss. A key that is limited to some devices gets no gateways, no histories, no head of the log, and " +
      "checks without details.",
    success: ServerInfo,
    example: serverInfo,
    errors: []
  }),
  Operation.get("Server", "Overview", "/server/overview", {
    scope: "read",
    reach: "fleet",
    summary: "Read the fleet in figures",
    description: "Devices by state, open gaps, the head of the log, the progress of each sink and which gateways are " +
      "down. Sinks and incidents are those of the answering process: only one that runs devices has any.",
    success: Overview,
    example: overview,
    errors: []
  }),
  Operation.get("Server", "Nodes", "/server/nodes", {
    scope: "read",
    reach: "fleet",
    summary: "List the nodes",
    description:
      "The processes that run devices, and how many each has: one, or the nodes of a cluster, and in addition its " +
      "processes without devices. One that has ended is listed until all its devices have been taken over.",
    success: NodeList,
    example: { items: [node], next: null },
    errors: [StorageUnavailable]
  }),
  Operation.get("Server", "Caller", "/server/caller", {
    scope: "read",
    reach: "server",
    summary: "Describe the caller's key",
    description: "The name of the key that was sent, its scopes and the devices that it is limited to.",
    success: Caller,
    example: caller,
    errors: []
  })
] as const
