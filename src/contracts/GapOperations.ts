/** The operations on gaps: reads of the ledger that the log keeps. */
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { CursorInvalid } from "../domain/MessageErrors.ts"
import { gap } from "./examples.ts"
import * as Operation from "./Operation.ts"
import { GapPage, ListGapsFields } from "./GapPayloads.ts"

export const gapOperations = [
  Operation.get("Gaps", "List", "/gaps", {
    scope: "read",
    reach: "filter",
    summary: "List gaps",
    description: "A page of gaps over all devices, newest first by when they were recorded.",
    query: ListGapsFields,
    success: GapPage,
    example: { items: [gap], next: null },
    errors: [CursorInvalid, StorageUnavailable]
  })
] as const
