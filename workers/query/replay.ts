import { type BatchHandle, decodeBlock, newBatch, resetBatch } from "../core/codec.ts";
import { withExpressions } from "../core/expression.ts";
import { keepHaving } from "../core/having.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { batchTimeRange, maskBefore, maskSkewed, setSkewed } from "../core/rows.ts";
import { Tables } from "../core/tables.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../core/window.ts";
import { MillraceError } from "../errors.ts";
import type { QueryPlan, ResultRow, StoredBlock, TableData } from "../messages.ts";
import { release } from "../move.ts";
import type { BlockRange, Reader } from "../store/reader.ts";
import type { Codec } from "../zstd.ts";
import { OrderedRows } from "./ordered-rows.ts";

export interface ReplayTask {
  readonly plan: QueryPlan;
  readonly tables: readonly TableData[];
  /** Only events at or after it count, and windows that start there. µs; null: all. */
  readonly fromUs: number | null;
  /** Only events before it, and windows that end by then. */
  readonly toUs: number | null;
}

/** How far a replay is. */
export interface ReplayCounts {
  blocks: number;
  totalBlocks: number;
  events: number;
  /** Events of blocks that cannot be read, or were given up meanwhile. */
  unreadable: number;
}

/** The rows of a block that was merged with others stand in one block with theirs. */
interface FoundBlock {
  readonly block: StoredBlock;
  readonly firstRow: number;
}

const BEFORE_ALL = -(2n ** 63n);

/**
 * Stored events of a stream through a query, by the code that live events go through. Blocks are merged in the order of
 * their earliest event, and the watermark is that of the next one: so no event is late, each window gives one row, and rows
 * come in the order of (end, start, key), whatever way events lie in blocks. Reads of the store are short, and what
 * compaction does meanwhile changes nothing. Memory: one block, and the windows that are open.
 */
export class Replay {
  readonly counts: ReplayCounts = { blocks: 0, totalBlocks: 0, events: 0, unreadable: 0 };
  readonly #task: ReplayTask;
  readonly #reader: Reader;
  readonly #codec: Codec;
  readonly #core: CoreModule = instantiateCore();
  readonly #batch: BatchHandle = newBatch(this.#core);
  readonly #local: LocalAggregator;
  readonly #windows: Windows;
  readonly #rows: OrderedRows;
  #watermarkUs = BEFORE_ALL;

  constructor(reader: Reader, codec: Codec, task: ReplayTask) {
    this.#task = task;
    this.#rows = new OrderedRows(task.fromUs, task.toUs);
    this.#reader = reader;
    this.#codec = codec;
    // Early results and clocks of keys are about what is not known yet; here all is.
    const { earlyUs: _early, keyClock: _clock, ...plan } = task.plan;
    const tables = new Tables(this.#core);
    for (const table of task.tables) tables.load(table);
    this.#local = withExpressions(this.#core, plan, createLocal(this.#core, plan), tables);
    this.#windows = keepHaving(this.#core, plan, createWindows(this.#core, plan));
  }

  /** Result rows, in the order of (end, start, key). */
  *rows(): Generator<readonly ResultRow[], void, void> {
    const { plan, fromUs, toUs } = this.#task;
    const all = this.#reader.blocksOfStream(plan.stream);
    const wanted = all
      .filter(({ minUs, maxUs }) => (fromUs === null || maxUs >= fromUs) && (toUs === null || minUs < toUs))
      .sort((a, b) => a.minUs - b.minUs || a.seq - b.seq);
    this.counts.totalBlocks = wanted.length;
    for (const range of wanted) {
      yield* this.#fire(BigInt(range.minUs));
      const found = this.#find(range, all);
      if (found !== null && this.#open(found, range.count))
        this.#windows.merge(this.#local.aggregate(this.#batch), this.#watermarkUs);
      else this.counts.unreadable += range.count;
      this.counts.blocks++;
      this.counts.events += range.count;
    }
    const last = this.#windows.lastEndUs() ?? BEFORE_ALL;
    const behind = BigInt(wanted.reduce((most, { maxUs }) => Math.max(most, maxUs), 0)) + 1n;
    yield* this.#fire(last > behind ? last : behind);
    yield this.#rows.rest();
  }

  *#fire(watermarkUs: bigint): Generator<readonly ResultRow[], void, void> {
    if (watermarkUs <= this.#watermarkUs) return;
    this.#watermarkUs = watermarkUs;
    for (const portion of this.#windows.portions(watermarkUs)) this.#rows.add(portion);
    const rows = this.#rows.before(Number(watermarkUs));
    if (rows.length > 0) yield rows;
  }

  /** A block where it is now: compaction may have put it into one of a lesser seq, in the order of seqs. */
  #find(range: BlockRange, all: readonly BlockRange[]): FoundBlock | null {
    const own = this.#reader.block(range.seq);
    if (own !== null) return own.count >= range.count ? { block: own, firstRow: 0 } : null;
    const seq = this.#reader.lastBlockBefore(this.#task.plan.stream, range.seq);
    const block = seq === null ? null : this.#reader.block(seq);
    if (seq === null || block === null) return null;
    let firstRow = 0;
    for (const before of all) if (before.seq >= seq && before.seq < range.seq) firstRow += before.count;
    return firstRow + range.count <= block.count ? { block, firstRow } : null;
  }

  #open({ block, firstRow }: FoundBlock, count: number): boolean {
    try {
      resetBatch(this.#core, this.#batch);
      const { data, encodedBytes } = block;
      const bytes = block.codec === "zstd" ? this.#codec.decompress(data, encodedBytes) : data;
      decodeBlock(this.#core, bytes, this.#batch);
      if (bytes !== data) release(bytes.buffer);
    } catch (cause) {
      if (cause instanceof MillraceError) return false;
      throw cause;
    }
    this.#leaveOut(firstRow, count, block);
    return true;
  }

  /** Flags rows that are not wanted, as if their clocks were wrong. */
  #leaveOut(firstRow: number, count: number, { minUs, maxUs, count: rows }: StoredBlock): void {
    const { fromUs, toUs } = this.#task;
    const isEarly = fromUs !== null && minUs < fromUs;
    const isLong = toUs !== null && maxUs >= toUs;
    if (count === rows && !isEarly && !isLong) return;
    if (batchTimeRange(this.#core, this.#batch).rows !== rows) return;
    const flags = maskSkewed(this.#core, this.#batch);
    const early = isEarly ? maskBefore(this.#core, this.#batch, BigInt(fromUs)) : null;
    const inTime = isLong ? maskBefore(this.#core, this.#batch, BigInt(toUs)) : null;
    for (let row = 0; row < flags.length; row++) {
      const isOut = row < firstRow || row >= firstRow + count || early?.[row] === 1 || inTime?.[row] === 0;
      if (isOut) flags[row] = 1;
    }
    setSkewed(this.#core, this.#batch, flags);
  }
}
