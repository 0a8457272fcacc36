/**
 * The shards that a node of the cluster has gained and lost, and why, since it started. Plain and pure: the storage of
 * the leases reports its requests and answers here.
 */

/** Maximum number of recent moves that are kept. */
export const recentMovesMax = 10

/** Shards that move for the same reason within this time are one move: shards are given away one by one. */
const sameMoveMillis = 5000

/**
 * Why shards came: this node has `joined`, another `node-left` in order or was lost (`node-lost`: it does not answer),
 * or the database has answered again (`recovered`). Why they went: another `node-joined`, this one `stopped`, its
 * leases had ended (`lease-lost`, as after a suspension of the process), or the database did not answer
 * (`database-away`). `rebalanced`: none of these.
 */
export const moveReasons = [
  "joined",
  "node-left",
  "node-lost",
  "recovered",
  "node-joined",
  "stopped",
  "lease-lost",
  "database-away",
  "rebalanced"
] as const
export type MoveReason = (typeof moveReasons)[number]
export type MoveDirection = "taken" | "given"

export interface ShardMove {
  /** Milliseconds of the process's clock, of the last shard of the move. */
  readonly at: number
  readonly direction: MoveDirection
  readonly reason: MoveReason
  readonly shards: number
}

export interface ShardMovesView {
  /** Since the node started. */
  readonly taken: number
  readonly given: number
  /** Newest first. */
  readonly recent: ReadonlyArray<ShardMove>
}

export interface Member {
  readonly name: string
  readonly healthy: boolean
}

export class ShardMoves {
  readonly #held = new Set<string>()
  #members: ReadonlyMap<string, boolean> | null = null
  #change: MoveReason = "rebalanced"
  #began = false
  #stopping = false
  #dropped = false
  #taken = 0
  #given = 0
  #recent: ReadonlyArray<ShardMove> = []

  #totals: ReadonlyArray<Omit<ShardMove, "at">> = []
  #refreshedAt: number | null = null

  readonly #self: string
  /** The name of this node among the members. */
  constructor(self: string) {
    this.#self = self
  }

  /** When a lease was last taken or renewed, by the clock of `at`; null before the first, and while it holds none. */
  get refreshedAt(): number | null {
    return this.#held.size === 0 ? null : this.#refreshedAt
  }

  /** Shards that moved since the start, by direction and reason. */
  get totals(): ReadonlyArray<Omit<ShardMove, "at">> {
    return this.#totals
  }

  get shards(): number {
    return this.#held.size
  }

  get view(): ShardMovesView {
    return { taken: this.#taken, given: this.#given, recent: this.#recent }
  }

  get members(): ReadonlyMap<string, boolean> {
    return this.#members ?? new Map()
  }

  /** The nodes as the database has them now. */
  seen(members: ReadonlyArray<Member>): void {
    const now = new Map(members.map(({ healthy, name }) => [name, healthy]))
    const before = this.#members
    this.#members = now
    if (before === null) return
    for (const [name, healthy] of now) {
      if (name === this.#self) continue
      if (healthy && before.get(name) !== true) this.#change = "node-joined"
      if (!healthy && before.get(name) === true) this.#change = "node-lost"
    }
    // A node that did not answer before was lost then.
    for (const [name, healthy] of before) {
      if (healthy && !now.has(name) && name !== this.#self) this.#change = "node-left"
    }
  }

  acquired(shards: Iterable<string>, at: number): void {
    const reason = !this.#began
      ? "joined"
      : this.#dropped
      ? "recovered"
      : this.#change === "node-left" || this.#change === "node-lost"
      ? this.#change
      : "rebalanced"
    let count = 0
    for (const shard of shards) {
      if (this.#held.has(shard)) continue
      this.#held.add(shard)
      count++
    }
    if (count === 0) return
    this.#began = true
    this.#dropped = false
    this.#refreshedAt = at
    this.#record("taken", reason, count, at)
  }

  /** Shards in `asked` that are not in `held` are no longer this node's. */
  refreshed(asked: Iterable<string>, held: ReadonlySet<string>, at: number): void {
    this.#refreshedAt = at
    let count = 0
    for (const shard of asked) if (!held.has(shard) && this.#held.delete(shard)) count++
    if (count > 0) this.#record("given", "lease-lost", count, at)
  }

  released(shard: string, at: number): void {
    if (!this.#held.delete(shard)) return
    this.#record(
      "given",
      this.#stopping ? "stopped" : this.#change === "node-joined" ? "node-joined" : "rebalanced",
      1,
      at
    )
  }

  releasedAll(at: number): void {
    const count = this.#held.size
    if (count === 0) return
    this.#held.clear()
    this.#dropped = true
    this.#record("given", this.#stopping ? "stopped" : "database-away", count, at)
  }

  /** The node leaves in order. */
  stopping(): void {
    this.#stopping = true
  }

  #record(direction: MoveDirection, reason: MoveReason, shards: number, at: number): void {
    if (direction === "taken") this.#taken += shards
    else this.#given += shards
    const [last, ...earlier] = this.#recent
    const goesOn = last !== undefined && last.direction === direction && last.reason === reason &&
      at - last.at < sameMoveMillis
    this.#recent = goesOn
      ? [{ at, direction, reason, shards: last.shards + shards }, ...earlier]
      : [{ at, direction, reason, shards }, ...this.#recent].slice(0, recentMovesMax)
    const total = this.#totals.find((one) => one.direction === direction && one.reason === reason)
    this.#totals = [
      ...this.#totals.filter((one) => one !== total),
      { direction, reason, shards: (total?.shards ?? 0) + shards }
    ]
  }
}
