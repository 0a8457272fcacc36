/**
 * Filters over full generations of identities: an append asks them which of its keys may exist there, and looks up only
 * those. Most keys of a batch are new, and a lookup in the filters costs less than a probe of one large index.
 *
 * They are Bloom filters: an existing key has all its bits set, so a filter hides none, and few of the other keys
 * have. There is one for each range of `filters_span` numbers, however its generations are merged, split into `bucketCount` rows
 * by the first bits of the key. Rows of one bucket are adjacent in the index, so one descent finds those of
 * all ranges. A generation is added once it is full, bucket by bucket, and only then does `identities_filtered` move past
 * it: identities of lower numbers are all in filters, the others are probed by every append. Bits are only ever set, so a part
 * that is added twice changes nothing.
 *
 * Bits come from the key itself, which is a digest, and not from a hash function of the server: a log that is
 * restored on another server keeps its filters.
 */

/**
 * A row of 1 KB for each bucket: 8 MB per range, which are rewritten for each generation that is added. Measured on a busy
 * machine: rows of 256 bytes take 1.4 µs more to look up, because four times as many are in four times as many places; with
 * rows of 2 KB a lookup takes 0.3 µs less, and adding a key half a microsecond more.
 */
const bucketBits = 13
const bucketCount = 2 ** bucketBits

/** Bits of one row: 8 for each key of a full range. Of 50 absent keys, one seems to be present. */
const rowBits = 2 ** 13
const probes = [0, 1, 2, 3]

/** Numbers per filter. Each range costs an append one row per key: 10^8 identities have 13. */
export const filtersSpan = 8_000_000

/** The first key of a bucket. */
const bucketStart = `create or replace function columba_filter_start(bucket integer) returns uuid
  language sql immutable parallel safe as $$
    select rpad(lpad(to_hex(bucket << ${16 - bucketBits}), 4, '0'), 32, '0')::uuid
  $$`

/** Of the 16 bytes of a key the first two select the bucket, and each pair of the last eight a bit of its row. */
const bucketOf = `((get_byte(k.bytes, 0) << ${bucketBits - 8}) | (get_byte(k.bytes, 1) >> ${16 - bucketBits}))`

const bitAt = (probe: number): string =>
  `(((get_byte(k.bytes, ${8 + 2 * probe}) & ${(rowBits >> 8) - 1}) << 8) | get_byte(k.bytes, ${9 + 2 * probe}))`

/** A row in which only the bits of one key are set. */
const rowOfKey = probes.reduce((row, probe) => `set_bit(${row}, ${bitAt(probe)}, 1)`, "v_none")

/**
 * The keys in the array `keys` that a generation in the filters may have. The offset keeps the
 * planner from joining the two: while the table is small, it would read all of it, and keep that plan.
 */
export const maybeKnown = (keys: string): string =>
  `array(
        select k.key
        from (select u.key, uuid_send(u.key) as bytes from unnest(${keys}) u(key) where u.key is not null offset 0) k
        where exists (
          select 1 from identity_filters f where f.bucket = ${bucketOf} and ${
    probes.map((probe) => `get_bit(f.bits, ${bitAt(probe)}) = 1`).join(" and ")
  }
          offset 0
        )
      )`

/**
 * One step: about `p_rows` identities of the oldest full generation that is not in the filters, or rows of filters whose
 * generations have all been dropped. Returns whether there was anything to do.
 */
const step = `create or replace function columba_filter_step(p_rows integer) returns boolean
  language plpgsql volatile
  set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_custom_plan set jit = off
  as $columba$
  declare
    v_log log_identity;
    v_work identity_filter_work;
    v_past bigint; v_next integer; v_oldest bigint; v_count integer;
    v_from uuid; v_to uuid;
    v_none bit(${rowBits}) := repeat('0', ${rowBits})::bit(${rowBits});
  begin
    select * into v_log from log_identity;
    select * into v_work from identity_filter_work;

    select min(p.first) / v_log.filters_span into v_oldest from log_partitions p where p.parent = 'identities';
    if v_oldest > v_work.oldest then
      delete from identity_filters f where (f.bucket, f.range) in (
        select g.bucket, g.range from identity_filters g where g.range < v_oldest limit p_rows
      );
      get diagnostics v_count = row_count;
      if v_count < p_rows then update identity_filter_work set oldest = v_oldest; end if;
      return true;
    end if;

    select p.past into v_past from log_partitions p
    where p.parent = 'identities' and p.past > v_log.identities_filtered order by p.past limit 1;
    if not found or v_past > (select e.seq from events e order by e.seq desc limit 1) then return false; end if;
    if v_past <> v_work.past then v_work.buckets := 0; end if;
    v_next := least(${bucketCount}, v_work.buckets
      + greatest(1, p_rows::bigint * ${bucketCount} / (v_past - v_log.identities_filtered)));
    v_from := columba_filter_start(v_work.buckets);
    v_to := case when v_next < ${bucketCount} then columba_filter_start(v_next) end;
    insert into identity_filters (bucket, range, bits)
    select ${bucketOf}, k.range, bit_or(${rowOfKey})
    from (
      select uuid_send(n.key) as bytes, n.seq / v_log.filters_span as range from identities n
      where n.seq >= v_log.identities_filtered and n.seq < v_past and n.key >= v_from and (v_to is null or n.key < v_to)
      offset 0
    ) k
    group by 1, 2
    on conflict (bucket, range) do update set bits = identity_filters.bits | excluded.bits;
    if v_next = ${bucketCount} then
      update log_identity set identities_filtered = v_past;
      v_next := 0;
    end if;
    update identity_filter_work set past = v_past, buckets = v_next;
    return true;
  end
$columba$`

export const filterFunctions = [bucketStart, step]

export const filterTables = [
  `alter table log_identity
    add column filters_span bigint not null default ${filtersSpan},
    add column identities_filtered bigint not null default 1`,
  // Room for the next version of a row on its page.
  `create table identity_filters (
    bucket integer not null,
    range bigint not null,
    bits bit(${rowBits}) not null,
    primary key (bucket, range)
  ) with (fillfactor = 45)`,
  // The generation before `past` that is being added, how many buckets of it are done, and the oldest range that is kept.
  `create table identity_filter_work (
    one boolean primary key default true check (one),
    past bigint not null default 0,
    buckets integer not null default 0,
    oldest bigint not null default 0
  )`,
  `insert into identity_filter_work default values`
]
