import { Tables } from "../core/tables.ts";
import type { ResultRow, StoredBlock, TableData } from "../messages.ts";
import type { BlockRange, LateBlock } from "../store/reader.ts";
import type { Codec } from "../zstd.ts";
import type { CorrectedQuery } from "./corrected-query.ts";
import { PaneRedo } from "./pane-redo.ts";
import { Recomputation } from "./recomputation.ts";
import { type Owner, type Redo, type ResultStore, revise } from "./redo.ts";
import { correctAbove } from "./result-correction.ts";
import { SessionRedo } from "./session-redo.ts";
import { StoredBatch } from "./stored-batch.ts";
import type { TimeRange } from "./time-range.ts";

/** What a correction reads from: `Reader` is one. */
export interface CorrectionStore extends ResultStore {
  lateToApply(stream: string, afterId: number, includesSkewed: boolean, limit: number): readonly LateBlock[];
  appliedSkew(stream: string, fromUs: number, toUs: number): readonly LateBlock[];
  blocksOverlapping(stream: string, fromUs: number | null, toUs: number | null): readonly BlockRange[];
  block(seq: number): StoredBlock | null;
  goneUs(stream: string): number | null;
}

/** The late blocks that a step looks at. */
export interface LateSelection {
  readonly stream: string;
  /** Clock-skewed events stay out of windows unless somebody wants them in. */
  readonly includesSkewed: boolean;
  /** The late block to go on behind. */
  readonly afterId: number;
}

export interface CorrectionTask extends LateSelection {
  /** Over the stream's events. Windows that are closed there give no more results of their own. */
  readonly queries: readonly CorrectedQuery[];
  /** The last late block whose keys' clocks are known; null: no query needs any. */
  readonly untilId: number | null;
  /** Those that the queries use. */
  readonly tables: readonly TableData[];
}

export interface Correction {
  /** New revisions of windows whose values change; nothing is written yet. */
  readonly rows: readonly ResultRow[];
  /** Late blocks whose events are then all in their windows. */
  readonly lateIds: readonly number[];
  readonly events: number;
  /** Events left for later: some of their windows are still open. */
  readonly waitingEvents: number;
  /** Late events left alone since a block that belongs to their windows, or their own, cannot be read. */
  readonly unreadableEvents: number;
  /** Where to go on; null at the end. */
  readonly nextId: number | null;
}

/** Late blocks that a step leaves alone, by their ids. */
interface SetAside {
  /** Clock-skewed ones that cannot be in all of their windows yet. */
  readonly waiting: ReadonlySet<Owner>;
  /** Those whose windows cannot be computed anew. */
  readonly lost: ReadonlySet<Owner>;
}

/** Late blocks looked at together: their windows' blocks are read once … */
export const CHUNK_BLOCKS = 256;
/** … unless those hold so many events: then there are fewer in a step, so that it holds up no other reader for long. */
const STEP_EVENTS = 2_000_000;

/** One query on its way. */
interface Work {
  readonly query: CorrectedQuery;
  readonly redo: Redo;
}

/**
 * Computes the windows of late events anew: the query's own engine runs over every stored event of those windows and
 * keys, with no watermark and then the end of all, and what differs from the latest stored result is a new revision. So a
 * second run changes nothing, and one that is cut off is simply run again. What other queries make of these results is
 * corrected in the same way, from the results.
 *
 * To be called at one moment of the store, after all that the clocks have closed is stored.
 */
export class Corrector {
  readonly #store: CorrectionStore;
  readonly #task: CorrectionTask;
  readonly #stored: StoredBatch;
  readonly #tables: Tables;
  readonly #works: readonly Work[];
  /** Stored blocks that hold events of the windows, or may; by seq, with how many events. */
  readonly #needed = new Map<number, number>();
  readonly #skewed = new Map<number, StoredBlock>();
  readonly #codec: Codec;
  readonly #aside: SetAside;
  /** Blocks whose windows lack events that are not held any more. */
  readonly #lost = new Set<Owner>();

  constructor(
    store: CorrectionStore,
    codec: Codec,
    task: CorrectionTask,
    aside: SetAside = { waiting: new Set(), lost: new Set() },
  ) {
    this.#store = store;
    this.#codec = codec;
    this.#task = task;
    this.#aside = aside;
    this.#stored = new StoredBatch(codec);
    this.#tables = new Tables(this.#stored.core);
    for (const table of task.tables) this.#tables.load(table);
    this.#works = task.queries
      .filter(({ plan }) => plan.window.kind !== "none")
      .map((query) => ({ query, redo: this.#redoOf(query) }));
  }

  run(): Correction {
    const { stream, afterId, includesSkewed, untilId } = this.#task;
    const found = this.#store
      .lateToApply(stream, afterId, includesSkewed, CHUNK_BLOCKS)
      .filter(({ id }) => untilId === null || id <= untilId);
    let unreadableEvents = 0;
    const isLast = found.length < CHUNK_BLOCKS && (untilId === null || found.at(-1)?.id !== untilId);
    let nextId = isLast || found.length === 0 ? null : found.at(-1)!.id;
    const taken: LateBlock[] = [];
    for (const [index, late] of found.entries()) {
      if (this.#takeLate(late)) taken.push(late);
      else unreadableEvents += late.block.count;
      if (index === found.length - 1 || sum(this.#needed.values()) < STEP_EVENTS) continue;
      nextId = late.id;
      break;
    }
    if (this.#lost.size > 0)
      return this.#again({ ...this.#aside, lost: new Set([...this.#aside.lost, ...this.#lost]) });
    const events = sum(taken.map(({ block }) => block.count));
    if (!this.#recompute())
      return {
        rows: [],
        lateIds: [],
        events: 0,
        waitingEvents: 0,
        unreadableEvents: unreadableEvents + events,
        nextId,
      };
    const rows: ResultRow[] = [];
    const waiting = new Set(this.#aside.waiting);
    for (const { query, redo } of this.#works) {
      rows.push(...redo.affected().flatMap((window) => revise(this.#store, window)));
      for (const owner of redo.waiting) waiting.add(owner);
      const above = correctAbove(this.#store, query, redo.affected(), this.#stored.core, (next) =>
        this.#redoOf(next),
      );
      rows.push(...above.rows);
      for (const owner of above.waiting) waiting.add(owner);
    }
    // Once in, they stay in: so they are in no window before they can be in all.
    const early = taken.filter(({ id }) => waiting.has(id) && this.#skewed.has(id));
    if (early.length > 0)
      return this.#again({
        ...this.#aside,
        waiting: new Set([...this.#aside.waiting, ...early.map(({ id }) => id)]),
      });
    const done = taken.filter(({ id }) => !waiting.has(id));
    const doneEvents = sum(done.map(({ block }) => block.count));
    return {
      rows,
      lateIds: done.map(({ id }) => id),
      events: doneEvents,
      waitingEvents: events - doneEvents,
      unreadableEvents,
      nextId,
    };
  }

  /** The same step, with some late blocks set aside from the beginning: what was noted of them is forgotten. */
  #again(aside: SetAside): Correction {
    for (const { redo } of this.#works) redo.dispose();
    return new Corrector(this.#store, this.#codec, this.#task, aside).run();
  }

  #redoOf({ plan, closing }: CorrectedQuery): Redo {
    const engine = new Recomputation(this.#stored.core, plan, this.#tables);
    return plan.window.kind === "session"
      ? new SessionRedo(this.#store, plan, closing, engine)
      : new PaneRedo(this.#store, plan, closing, engine);
  }

  /** Notes the windows that a late block's events belong to. @returns false when it, or what they had, cannot be read. */
  #takeLate({ id, reason, block }: LateBlock): boolean {
    if (this.#aside.lost.has(id) || !this.#stored.open(block)) return false;
    if (this.#aside.waiting.has(id)) return true;
    this.#stored.unskew();
    // An event that is late for one query may have counted in the longer windows of another. Skewed ones never count.
    const isSkewed = reason === "clock-skew";
    const ranges = this.#works.flatMap(({ redo }) => redo.note(this.#stored.batch, id, isSkewed));
    if (isSkewed && !this.#works.some(({ redo }) => redo.waiting.has(id))) this.#skewed.set(id, block);
    for (const range of ranges) if (!this.#need(range)) this.#lost.add(id);
    return true;
  }

  /** @returns false when events of that time are not held any more. */
  #need({ fromUs, toUs }: TimeRange): boolean {
    const { stream } = this.#task;
    const goneUs = this.#store.goneUs(stream);
    if (goneUs !== null && fromUs <= goneUs) return false;
    for (const { seq, count } of this.#store.blocksOverlapping(stream, fromUs, toUs))
      this.#needed.set(seq, count);
    for (const { id, block } of this.#store.appliedSkew(stream, fromUs, toUs)) this.#skewed.set(id, block);
    return true;
  }

  /** Merges what is wanted until nothing more is. @returns false when a block that may hold some cannot be read. */
  #recompute(): boolean {
    for (;;) {
      const works = this.#works.filter(({ redo }) => redo.wanted().length > 0);
      if (works.length === 0) return true;
      for (const { redo } of works) redo.begin();
      if (!this.#readBlocks(works)) return false;
      for (const { redo } of works) {
        if (redo.settle()) continue;
        for (const range of redo.wanted().flatMap(({ ranges }) => ranges))
          if (!this.#need(range)) return false;
      }
    }
  }

  #readBlocks(works: readonly Work[]): boolean {
    const { batch } = this.#stored;
    for (const seq of [...this.#needed.keys()].toSorted((a, b) => a - b)) {
      const block = this.#store.block(seq);
      if (block === null || !this.#stored.open(block)) return false;
      for (const { redo } of works) redo.merge(batch, block.minUs, block.maxUs);
    }
    for (const block of this.#skewed.values()) {
      if (!this.#stored.open(block)) return false;
      this.#stored.unskew();
      const { minUs, maxUs } = block;
      // Late blocks of the first release have no times of their own.
      const isUntimed = minUs === 0 && maxUs === 0;
      for (const { redo } of works)
        redo.merge(batch, isUntimed ? Number.NEGATIVE_INFINITY : minUs, isUntimed ? Infinity : maxUs);
    }
    return true;
  }
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
