/** The rows of the fault suite. */
import type { Scenario } from "../Scenario.ts"
import { all } from "./all.ts"
import { broker } from "./broker.ts"
import { cluster } from "./cluster.ts"
import { database } from "./database.ts"
import { gateway } from "./gateway.ts"
import { handlers } from "./handlers.ts"
import { processes } from "./processes.ts"
import { readers } from "./readers.ts"
import { sends } from "./sends.ts"

export { makeSoak } from "./soak.ts"

export const scenarios: ReadonlyArray<Scenario> = [
  ...processes,
  ...broker,
  ...database,
  ...gateway,
  ...readers,
  ...sends,
  ...handlers,
  ...cluster,
  ...all
]
