/**
 * The order in which the events of one device, or of one of its chats, are read. Their indexes begin with the block of the
 * number, so that an append writes only to the pages of the newest block (see docs/decisions/0012-log-storage.md). A reader
 * visits one block after the other, in the order of their numbers, and stops once it has enough rows.
 */

/** 65,536 events per block: its part of an index has some 5 MB, and the 90 days of 200 numbers have 700 blocks. */
export const blockBits = 16

/**
 * Maximum number of blocks that one page visits, 134 million events: each costs an index lookup, even without a row of the
 * device. A page that ends there returns the place to continue from.
 */
export const blocksMax = 2_048

/**
 * The first columns of the two indexes. They are two expressions of one value, so that a statement selects its
 * index: the planner expects so few rows in a block that it would take either.
 */
const blockFunctions = { device: "columba_device_block", chat: "columba_block" }

export interface BlockRead {
  readonly index: keyof typeof blockFunctions
  /** Columns of the events `e`; by default all of them. `e.seq` must be among them. */
  readonly columns?: string
  /** On `e`: the other columns of the index (for the chat's: that it is a message), and further conditions on those rows. */
  readonly conditions: ReadonlyArray<string>
  /** Expressions of the lowest and the highest number to read. They are written more than once. */
  readonly lowest: string
  readonly highest: string
  readonly newestFirst: boolean
  readonly limit: string
}

/**
 * A relation of the rows and their `block`, in order. The blocks are sorted, and so are the rows of each one: the database
 * sorts rows of one block at a time (an incremental sort), and no block returns more than the page holds. The bounds of
 * the number select the block's partition.
 */
export const readBlocks = (
  { columns = "e.*", conditions, highest, index, limit, lowest, newestFirst }: BlockRead
): string => {
  const [first, last, step, order] = newestFirst ? [highest, lowest, -1, "desc"] : [lowest, highest, 1, "asc"]
  return `(
    select b.block, e.* from (
      select g.block from generate_series(columba_block(${first}), columba_block(${last}), ${step}) g(block)
      order by g.block ${order}
    ) b cross join lateral (
      select ${columns} from events e
      where ${blockFunctions[index]}(e.seq) = b.block
        and e.seq >= greatest(b.block << ${blockBits}, ${lowest})
        and e.seq <= least((b.block + 1 << ${blockBits}) - 1, ${highest})
        and ${conditions.join(" and ")}
      order by e.seq ${order} limit ${limit}
    ) e order by b.block ${order}, e.seq ${order} limit ${limit}
  )`
}

/** The number of the last of this many rows, as an expression; null where there are fewer. */
export const reachOf = (rows: number, read: Omit<BlockRead, "columns" | "limit">): string =>
  `(select case when count(*) = ${rows} then ${read.newestFirst ? "min" : "max"}(r.seq) end
    from ${readBlocks({ ...read, columns: "e.seq", limit: `${rows}` })} r)`

/** The last number of the last block that a page visits which begins at this number. */
export const lastOfBlocks = (lowest: string): string =>
  `((columba_block(${lowest}) + ${blocksMax} << ${blockBits}) - 1)`

/** The same for a page from newer to older events. */
export const firstOfBlocks = (highest: string): string =>
  `(columba_block(${highest}) - ${blocksMax - 1} << ${blockBits})`
