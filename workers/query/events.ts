import type { EventPage, RowSelection } from "../core/event-page.ts";
import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import { releaseBytes } from "../move.ts";
import type { BlockListing, BlockRange, KeyedRange } from "../store/reader.ts";
import { type BlockScanner, PageLost } from "./block-scanner.ts";
import { encodeLines } from "./lines.ts";
import type { EventCursor, EventPosition, EventsTask, Page, SkippedBlock } from "./tasks.ts";
import { MAX_PAGE_CHARACTERS } from "./tasks.ts";

/** What an events page reads from: `Reader` is one. */
export interface BlockStore {
  listBlocks(stream: string, fromUs: number, toUs: number, listing: BlockListing): readonly KeyedRange[];
  /** How many events a block has; null when it is gone. */
  eventsOf(seq: number): number | null;
  /** Whoever asks may give its memory back. */
  block(seq: number): StoredBlock | null;
  /** Left out where all blocks have the form that the task names. */
  formOf?(seq: number): BlockForm;
}

/** How a block's events are read and written, where blocks are not all of one node. */
export interface BlockForm {
  readonly timeField: string;
  readonly keyFields: readonly string[];
  /** A member that each of its events gets: `"edge":"press-1"`. */
  readonly member: string;
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

/** Blocks listed at once: a page mostly ends before them. */
const LISTED_BLOCKS = 64;

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
  scanner: BlockScanner,
  task: EventsTask,
  limits: EventLimits = LIMITS,
): Page<EventCursor> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    try {
      return new EventScan(store, scanner, task, limits).read();
    } catch (cause) {
      if (!(cause instanceof BlockMoved || cause instanceof PageLost)) throw cause;
    }
  }
  throw new MillraceError("E_STORE_BUSY", `blocks of stream ${task.stream} keep moving; ask again`);
}

/** One attempt at a page. */
class EventScan {
  readonly #store: BlockStore;
  readonly #scanner: BlockScanner;
  readonly #page: EventPage;
  readonly #task: EventsTask;
  readonly #limits: EventLimits;
  readonly #filter: { readonly fromUs: bigint; readonly toUs: bigint };
  readonly #skipped = new Map<number, SkippedBlock>();
  readonly #listed: BlockRange[] = [];
  readonly #forms = new Map<number, BlockForm>();
  #scannedRows = 0;

  constructor(store: BlockStore, scanner: BlockScanner, task: EventsTask, limits: EventLimits) {
    this.#store = store;
    this.#scanner = scanner;
    this.#page = scanner.begin(task.limit, limits.maxCharacters);
    this.#task = task;
    this.#limits = limits;
    const { fromUs, toUs, after } = task;
    const from = fromUs === null ? FIRST_US : BigInt(fromUs);
    this.#filter = {
      fromUs: after !== null && after.timeUs > from ? after.timeUs : from,
      toUs: toUs === null ? END_US : BigInt(toUs),
    };
  }

  read(): Page<EventCursor> {
    const { fromUs, toUs } = this.#filter;
    if (fromUs >= toUs) return this.#give(0, null);
    const after = this.#resume();
    for (const block of this.#blocks(fromUs, toUs)) {
      const earliestUs = earliest(block);
      const { bound } = this.#page;
      if (bound !== null && earliestUs > bound.timeUs) break;
      if (this.#scannedRows >= this.#limits.maxScannedRows && earliestUs > fromUs) {
        return this.#cutAt(earliestUs);
      }
      const lastUs = bound !== null && bound.timeUs < toUs ? bound.timeUs : toUs - 1n;
      if (this.#mayHoldKey(block)) this.#add(block, this.#selection(fromUs, lastUs, after, block.seq));
    }
    return this.#give(this.#page.count, this.#page.bound === null ? null : "page");
  }

  /** Blocks that may have events of [fromUs, toUs), ordered by their earliest event, listed as they are needed. */
  *#blocks(fromUs: bigint, toUs: bigint): Generator<KeyedRange, void, void> {
    const withKeys = this.#task.key !== null;
    let after: KeyedRange | null = null;
    while (true) {
      const listed: readonly KeyedRange[] = this.#store.listBlocks(
        this.#task.stream,
        Number(fromUs - ROUNDING_US),
        Number(toUs + ROUNDING_US),
        { after, limit: LISTED_BLOCKS, withKeys },
      );
      this.#checkListed();
      this.#listed.push(...listed);
      yield* listed;
      if (listed.length < LISTED_BLOCKS) return;
      after = listed.at(-1)!;
    }
  }

  /**
   * A block that was listed may have been merged since with one that was not, and takes its place there: what is listed
   * now would lack it.
   */
  #checkListed(): void {
    for (const { seq, count } of this.#listed)
      if (this.#store.eventsOf(seq) !== count) throw new BlockMoved();
  }

  #mayHoldKey({ keys }: KeyedRange): boolean {
    const { key, keyFields } = this.#task;
    return key === null || keys === undefined || this.#scanner.mayHold(keys, keyFields, key);
  }

  #selection(fromUs: bigint, lastUs: bigint, after: EventPosition | null, seq: number): RowSelection {
    const { key } = this.#task;
    const { keyFields } = this.#formOf(seq);
    if (after === null) return { fromUs, lastUs, after, keyFields, key };
    const skipBelow = seq === after.seq ? after.row + 1 : seq < after.seq ? Number.MAX_SAFE_INTEGER : 0;
    return { fromUs, lastUs, after: { timeUs: after.timeUs, skipBelow }, keyFields, key };
  }

  /** Only events before the first unread block are known to be complete. */
  #cutAt(timeUs: bigint): Page<EventCursor> {
    const count = this.#page.countBefore(timeUs);
    const isWhole = this.#page.bound !== null && count === this.#page.count;
    return this.#give(count, isWhole ? "page" : { timeUs, seq: -1, row: -1, rank: 0 });
  }

  /** The first rows of the page; what follows begins behind them, or where it says. */
  #give(count: number, next: EventCursor | "page" | null): Page<EventCursor> {
    const cursor = next === "page" ? this.#cursorAfter(count) : next;
    const ndjson = this.#store.formOf === undefined ? this.#page.finish(count) : this.#finishWithForms(count);
    return { ndjson, next: cursor, skippedBlocks: [...this.#skipped.values()] };
  }

  /** Each line with the member of its block behind the event's own, so that it holds, should an event have one so called. */
  #finishWithForms(count: number): Uint8Array<ArrayBuffer> {
    const members = Array.from(
      { length: count },
      (_, index) => this.#formOf(this.#page.place(index).seq).member,
    );
    const lines = new TextDecoder().decode(this.#page.finish(count)).split("\n");
    return encodeLines(
      members.map((member, index) => {
        const line = lines[index]!;
        return line === "{}" ? `{${member}}` : `${line.slice(0, -1)},${member}}`;
      }),
    );
  }

  #formOf(seq: number): BlockForm {
    const known = this.#forms.get(seq);
    if (known !== undefined) return known;
    const { timeField, keyFields } = this.#task;
    const form = this.#store.formOf?.(seq) ?? { timeField, keyFields, member: "" };
    this.#forms.set(seq, form);
    return form;
  }

  #cursorAfter(count: number): EventCursor {
    const last = this.#page.place(count - 1);
    const tail = this.#page.tail(count);
    const { after } = this.#task;
    const isSameTime = after !== null && after.timeUs === last.timeUs;
    return { ...last, rank: tail + (isSameTime ? after.rank : 0) };
  }

  /**
   * The position the cursor means now. Its block may have been merged into an earlier one since, with the rows in the
   * same order; then the events of that time that were given out are counted off again.
   */
  #resume(): EventPosition | null {
    const { after } = this.#task;
    if (after === null || after.seq < 0) return after;
    const { timeUs } = after;
    const blocks = [...this.#blocks(timeUs, timeUs + 1n)];
    if (blocks.some(({ seq }) => seq === after.seq)) return after;
    const before = blocks
      .filter((block) => block.seq < after.seq && earliest(block) <= timeUs && latest(block) >= timeUs)
      .sort((a, b) => a.seq - b.seq);
    const merged = before.pop();
    if (merged === undefined) return after;
    const count = (range: BlockRange): number[] => {
      const block = this.#read(range);
      const selection = this.#selection(timeUs, timeUs, null, range.seq);
      return this.#scanner.rows(range.seq, block, this.#formOf(range.seq).timeField, selection);
    };
    const passedBefore = before.reduce((sum, block) => sum + count(block).length, 0);
    const rows = count(merged);
    const passed = after.rank - passedBefore;
    const row = passed >= rows.length ? Number.MAX_SAFE_INTEGER : passed <= 0 ? -1 : rows[passed - 1]!;
    return { timeUs, seq: merged.seq, row };
  }

  /** A block that cannot be read is reported and left out. */
  #add(range: BlockRange, selection: RowSelection): void {
    const { stream } = this.#task;
    const { seq, count } = range;
    const { timeField } = this.#formOf(seq);
    const block = this.#read(range);
    const added = this.#scanner.add(seq, block, timeField, selection);
    releaseBytes(block.data);
    if (added.kind === "rows") return;
    const { code, message } = added;
    this.#skipped.set(seq, { where: "log", stream, seq, count, code, message });
  }

  #read(range: BlockRange): StoredBlock {
    const block = this.#store.block(range.seq);
    if (block === null || block.count !== range.count) throw new BlockMoved();
    this.#scannedRows += block.count;
    return block;
  }
}

function earliest({ minUs }: BlockRange): bigint {
  return Number.isSafeInteger(minUs) ? BigInt(minUs) : BigInt(minUs) - ROUNDING_US;
}

function latest({ maxUs }: BlockRange): bigint {
  return Number.isSafeInteger(maxUs) ? BigInt(maxUs) : BigInt(maxUs) + ROUNDING_US;
}
