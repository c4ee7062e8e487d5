import type { BatchReader } from "../core/codec.ts";
import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import type { BlockRange } from "../store/reader.ts";
import type { OpenedBlock } from "./block-decoder.ts";
import { type RowFilter, rowsAt, selectRows } from "./block-rows.ts";
import { createEventWriter } from "./event-json.ts";
import { encodeLines } from "./lines.ts";
import { PageSelection, type SelectedRow } from "./page-selection.ts";
import type { EventCursor, EventPosition, EventsTask, Page, SkippedBlock } from "./tasks.ts";
import { MAX_PAGE_CHARACTERS } from "./tasks.ts";

/** What an events page reads from: `Reader` is one. */
export interface BlockStore {
  blocksOverlapping(stream: string, fromUs: number | null, toUs: number | null): readonly BlockRange[];
  block(seq: number): StoredBlock | null;
}

/** `BlockDecoder` is one. */
export interface BlockOpener {
  open(block: StoredBlock): OpenedBlock;
}

export interface EventLimits {
  readonly maxCharacters: number;
  /** A page that looked at so many rows ends early, so that a rare key does not hold up other readers. */
  readonly maxScannedRows: number;
}

const LIMITS: EventLimits = { maxCharacters: MAX_PAGE_CHARACTERS, maxScannedRows: 4_000_000 };

/** Event times lie in the years 0001 to 9999; in µs, with room for the rounding of numbers this large. */
const FIRST_US = -62_135_596_800_000_000n;
const END_US = 253_402_300_800_000_000n;
/** Block times are kept as numbers; beyond 2^53 µs (the year 2255) they may be off by half of this. */
const ROUNDING_US = 32n;

/** How often a page starts again because compaction moved blocks under it. One round of it swaps a few. */
const MAX_ATTEMPTS = 32;

/** A block is no longer what the list said: compacted or evicted in between. */
class BlockMoved extends Error {}

/**
 * A page of events in the order of (time, block, row). Blocks are read in the order of their earliest event, one at
 * a time, until the page is full and no unread block can hold an earlier event. Memory: one block and one page.
 * @throws MillraceError E_STORE_BUSY
 */
export function readEvents(
  store: BlockStore,
  opener: BlockOpener,
  task: EventsTask,
  limits: EventLimits = LIMITS,
): Page<EventCursor> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    try {
      return new EventScan(store, opener, task, limits).read();
    } catch (cause) {
      if (!(cause instanceof BlockMoved)) throw cause;
    }
  }
  throw new MillraceError("E_STORE_BUSY", `blocks of stream ${task.stream} keep moving; ask again`);
}

/** One attempt at a page. */
class EventScan {
  readonly #store: BlockStore;
  readonly #opener: BlockOpener;
  readonly #task: EventsTask;
  readonly #limits: EventLimits;
  readonly #filter: RowFilter;
  readonly #skipped = new Map<number, SkippedBlock>();
  #scannedRows = 0;

  constructor(store: BlockStore, opener: BlockOpener, task: EventsTask, limits: EventLimits) {
    this.#store = store;
    this.#opener = opener;
    this.#task = task;
    this.#limits = limits;
    const { fromUs, toUs, after, keyFields, key } = task;
    const from = fromUs === null ? FIRST_US : BigInt(fromUs);
    this.#filter = {
      fromUs: after !== null && after.timeUs > from ? after.timeUs : from,
      toUs: toUs === null ? END_US : BigInt(toUs),
      keyFields,
      key,
    };
  }

  read(): Page<EventCursor> {
    const { fromUs, toUs } = this.#filter;
    const { stream, timeField, limit } = this.#task;
    if (fromUs >= toUs) return this.#page([], null);
    const blocks = this.#store.blocksOverlapping(
      stream,
      Number(fromUs - ROUNDING_US),
      Number(toUs + ROUNDING_US),
    );
    const after = this.#resume(blocks);
    const selection = new PageSelection(limit, this.#limits.maxCharacters);
    for (const block of blocks) {
      const earliestUs = earliest(block);
      const { bound } = selection;
      if (bound !== null && earliestUs > bound.timeUs) break;
      if (this.#scannedRows >= this.#limits.maxScannedRows && earliestUs > fromUs) {
        return this.#cutAt(earliestUs, selection);
      }
      const rows = this.#open(block);
      if (rows === null) continue;
      const selected = selectRows(rows, block.seq, this.#filter, after, bound);
      if (selected.length === 0) continue;
      const write = createEventWriter(rows, timeField);
      selection.add({ seq: block.seq, rows: selected, times: rows.times, write });
    }
    return this.#page(selection.rows, selection.bound === null ? null : this.#cursorAfter(selection.rows));
  }

  /** Only events before the first unread block are known to be complete. */
  #cutAt(timeUs: bigint, selection: PageSelection): Page<EventCursor> {
    const { rows, bound } = selection;
    const complete = rows.filter((row) => row.timeUs < timeUs);
    const isWhole = bound !== null && complete.length === rows.length;
    return this.#page(complete, isWhole ? this.#cursorAfter(rows) : { timeUs, seq: -1, row: -1, rank: 0 });
  }

  #page(rows: readonly SelectedRow[], next: EventCursor | null): Page<EventCursor> {
    const ndjson = encodeLines(rows.map(({ json }) => json));
    return { ndjson, next, skippedBlocks: [...this.#skipped.values()] };
  }

  #cursorAfter(rows: readonly SelectedRow[]): EventCursor {
    const { timeUs, seq, row } = rows.at(-1)!;
    const { after } = this.#task;
    let rank = after !== null && after.timeUs === timeUs ? after.rank : 0;
    for (let index = rows.length - 1; index >= 0 && rows[index]!.timeUs === timeUs; index--) rank++;
    return { timeUs, seq, row, rank };
  }

  /**
   * The position the cursor means now. Its block may have been merged into an earlier one since, with the rows in the
   * same order; then the events of that time that were given out are counted off again.
   */
  #resume(blocks: readonly BlockRange[]): EventPosition | null {
    const { after } = this.#task;
    if (after === null || after.seq < 0 || blocks.some(({ seq }) => seq === after.seq)) return after;
    const { timeUs } = after;
    const before = blocks
      .filter((block) => block.seq < after.seq && earliest(block) <= timeUs && latest(block) >= timeUs)
      .sort((a, b) => a.seq - b.seq);
    const merged = before.pop();
    if (merged === undefined) return after;
    const count = (block: BlockRange): number[] => {
      const rows = this.#open(block);
      return rows === null ? [] : rowsAt(rows, timeUs, this.#filter);
    };
    const passedBefore = before.reduce((sum, block) => sum + count(block).length, 0);
    const rows = count(merged);
    const passed = after.rank - passedBefore;
    const row = passed >= rows.length ? Number.MAX_SAFE_INTEGER : passed <= 0 ? -1 : rows[passed - 1]!;
    return { timeUs, seq: merged.seq, row };
  }

  /** null when the block cannot be read: it is reported and left out. */
  #open(range: BlockRange): BatchReader | null {
    const block = this.#store.block(range.seq);
    if (block === null || block.count !== range.count) throw new BlockMoved();
    this.#scannedRows += block.count;
    const opened = this.#opener.open(block);
    if (opened.kind === "rows") return opened.rows;
    const { stream } = this.#task;
    const { code, message } = opened;
    this.#skipped.set(range.seq, { where: "log", stream, seq: range.seq, count: range.count, code, message });
    return null;
  }
}

function earliest({ minUs }: BlockRange): bigint {
  return Number.isSafeInteger(minUs) ? BigInt(minUs) : BigInt(minUs) - ROUNDING_US;
}

function latest({ maxUs }: BlockRange): bigint {
  return Number.isSafeInteger(maxUs) ? BigInt(maxUs) : BigInt(maxUs) + ROUNDING_US;
}
