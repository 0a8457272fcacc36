/** The identity of this process, for answers that name it. Made once at start by the composition root. */
import { Context } from "effect"

export class ServerIdentity extends Context.Service<ServerIdentity, {
  readonly version: string
  /** Host name. */
  readonly node: string
  readonly startedAt: string
  readonly roles: ReadonlyArray<string>
  /** One line each for people, without secrets: `embedded in ./data`, `postgres at db:5432/columba`. */
  readonly database: string
  readonly broker: string | null
}>()("columba/services/ServerIdentity") {}
