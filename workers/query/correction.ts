import { type BatchHandle, decodeBlock, newBatch, resetBatch } from "../core/codec.ts";
import { withExpressions } from "../core/expression.ts";
import { keepHaving } from "../core/having.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { batchTimeRange, maskSkewed, setSkewed } from "../core/rows.ts";
import { Tables } from "../core/tables.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../core/window.ts";
import { MillraceError } from "../errors.ts";
import type { QueryPlan, ResultRow, StoredBlock } from "../messages.ts";
import type { BlockRange, LateBlock, LatestResult } from "../store/reader.ts";
import type { Codec } from "../zstd.ts";
import { LateGroups, type TimeRange } from "./late-groups.ts";

/** What a correction reads from: `Reader` is one. */
export interface CorrectionStore {
  lateToApply(stream: string, afterId: number, includesSkewed: boolean, limit: number): readonly LateBlock[];
  appliedSkew(stream: string, fromUs: number, toUs: number): readonly LateBlock[];
  blocksOverlapping(stream: string, fromUs: number | null, toUs: number | null): readonly BlockRange[];
  block(seq: number): StoredBlock | null;
  latestResult(row: ResultRow): LatestResult | null;
  goneUs(stream: string): number | null;
}

export interface CorrectionTask {
  readonly stream: string;
  /** Of the queries whose windows can be corrected, see `explainRefusal`. */
  readonly plans: readonly QueryPlan[];
  /** Windows that it has closed give no more results of their own. */
  readonly watermarkUs: number;
  /** Clock-skewed events stay out of windows unless somebody wants them in. */
  readonly includesSkewed: boolean;
  /** The late block to go on behind. */
  readonly afterId: number;
}

export interface Correction {
  /** New revisions of windows whose values change; nothing is written yet. */
  readonly rows: readonly ResultRow[];
  /** Late blocks whose events are then all in their windows. */
  readonly lateIds: readonly number[];
  readonly events: number;
  /** Clock-skewed events left for later: some of their windows are still open. */
  readonly waitingEvents: number;
  /** Late events left alone since a block that belongs to their windows, or their own, cannot be read. */
  readonly unreadableEvents: number;
  /** Where to go on; null at the end. */
  readonly nextId: number | null;
}

/** Late blocks looked at together: their windows' blocks are read once … */
const CHUNK_BLOCKS = 256;
/** … unless those hold so many events: then there are fewer in a step, so that it holds up no other reader for long. */
const STEP_EVENTS = 2_000_000;
const BEFORE_ALL = -(2n ** 63n);
/** Behind the end of every window. */
const AFTER_ALL = 2n ** 62n;

/** One query on its way: the groups to compute anew, and the windows to do it in. */
interface Redo {
  readonly plan: QueryPlan;
  readonly local: LocalAggregator;
  readonly windows: Windows;
  readonly groups: LateGroups;
}

/**
 * Computes the windows of late events anew: the query's own engine runs over every stored event of those windows and
 * keys, with no watermark and then the end of all, and what differs from the latest stored result is a new revision. So a
 * second run changes nothing, and one that is cut off is simply run again.
 *
 * To be called at one moment of the store, after all that the watermark has closed is stored.
 */
export class Corrector {
  readonly #store: CorrectionStore;
  readonly #codec: Codec;
  readonly #task: CorrectionTask;
  readonly #core: CoreModule = instantiateCore();
  readonly #batch: BatchHandle = newBatch(this.#core);
  readonly #redos: readonly Redo[];
  /** Stored blocks that hold events of the groups, or may; by seq, with how many events. */
  readonly #needed = new Map<number, number>();
  readonly #skewed = new Map<number, StoredBlock>();
  /** Where the first of the windows begins: what was there before it is not asked for. */
  #earliestUs = Number.POSITIVE_INFINITY;

  constructor(store: CorrectionStore, codec: Codec, task: CorrectionTask) {
    this.#store = store;
    this.#codec = codec;
    this.#task = task;
    // Queries that use tables are refused: their rows may be others by now.
    const tables = new Tables(this.#core);
    this.#redos = task.plans.map((plan) => ({
      plan,
      local: withExpressions(this.#core, plan, createLocal(this.#core, plan), tables),
      windows: createWindows(this.#core, plan),
      groups: new LateGroups(plan),
    }));
  }

  run(): Correction {
    const { stream, afterId, includesSkewed } = this.#task;
    const found = this.#store.lateToApply(stream, afterId, includesSkewed, CHUNK_BLOCKS);
    let waitingEvents = 0;
    let unreadableEvents = 0;
    let nextId = found.length < CHUNK_BLOCKS ? null : found.at(-1)!.id;
    const taken: LateBlock[] = [];
    for (const [index, late] of found.entries()) {
      const outcome = this.#takeLate(late);
      if (outcome === "taken") taken.push(late);
      else if (outcome === "waits") waitingEvents += late.block.count;
      else unreadableEvents += late.block.count;
      if (index === found.length - 1 || sum(this.#needed.values()) < STEP_EVENTS) continue;
      nextId = late.id;
      break;
    }
    const events = sum(taken.map(({ block }) => block.count));
    const goneUs = this.#store.goneUs(stream);
    const isGone = goneUs !== null && this.#earliestUs <= goneUs;
    if (isGone || !this.#readBlocks()) {
      unreadableEvents += events;
      return { rows: [], lateIds: [], events: 0, waitingEvents, unreadableEvents, nextId };
    }
    const rows = this.#redos.flatMap((redo) => this.#revise(redo));
    const lateIds = taken.map(({ id }) => id);
    return { rows, lateIds, events, waitingEvents, unreadableEvents, nextId };
  }

  /** Notes the closed groups that a late block's events belong to, and the stored blocks with events of these. */
  #takeLate({ id, reason, block }: LateBlock): "taken" | "waits" | "unreadable" {
    if (!this.#open(block)) return "unreadable";
    this.#unskew();
    const found = this.#redos.map((redo) => ({ redo, ...this.#probe(redo) }));
    // An event that is late for one query may have counted in the longer windows of another. Skewed ones never count.
    if (reason === "clock-skew") {
      if (found.some(({ isOpen }) => isOpen)) return "waits";
      this.#skewed.set(id, block);
    }
    for (const { redo, lateGroups } of found) {
      if (lateGroups === null) continue;
      for (const range of redo.groups.add(lateGroups)) this.#need(range);
    }
    return "taken";
  }

  /** Which of the batch's groups are closed, and whether any is not: the engine's own answers. */
  #probe({ plan, local }: Redo): { lateGroups: Uint8Array<ArrayBuffer> | null; isOpen: boolean } {
    const windows = createWindows(this.#core, plan);
    const { lateGroups } = windows.merge(local.aggregate(this.#batch), BigInt(this.#task.watermarkUs));
    const isOpen = windows.stats().groups > 0;
    windows.dispose();
    return { lateGroups, isOpen };
  }

  #need({ fromUs, toUs }: TimeRange): void {
    this.#earliestUs = Math.min(this.#earliestUs, fromUs);
    const { stream } = this.#task;
    for (const { seq, count } of this.#store.blocksOverlapping(stream, fromUs, toUs))
      this.#needed.set(seq, count);
    for (const { id, block } of this.#store.appliedSkew(stream, fromUs, toUs)) this.#skewed.set(id, block);
  }

  /** Merges every stored event of the noted groups. @returns false when a block that may hold some cannot be read. */
  #readBlocks(): boolean {
    for (const seq of [...this.#needed.keys()].toSorted((a, b) => a - b)) {
      const block = this.#store.block(seq);
      if (block === null || !this.#open(block)) return false;
      for (const redo of this.#redos) this.#mergeWanted(redo, block);
    }
    for (const block of this.#skewed.values()) {
      if (!this.#open(block)) return false;
      this.#unskew();
      for (const redo of this.#redos) this.#mergeWanted(redo, block);
    }
    return true;
  }

  /** Merges the rows of the batch that are in a noted group: the others are made to look skewed, and then as before. */
  #mergeWanted({ groups, local, windows }: Redo, { minUs, maxUs }: StoredBlock): void {
    // Late blocks of the first release have no times of their own.
    const isUntimed = minUs === 0 && maxUs === 0;
    const near = isUntimed ? groups.near(-Infinity, Infinity) : groups.near(minUs, maxUs);
    if (near === null) return;
    const wanted = local.maskLate(this.#batch, near);
    if (!wanted.includes(1)) return;
    const skewed = maskSkewed(this.#core, this.#batch);
    setSkewed(
      this.#core,
      this.#batch,
      wanted.map((isWanted) => 1 - isWanted),
    );
    windows.merge(local.aggregate(this.#batch), BEFORE_ALL);
    setSkewed(this.#core, this.#batch, skewed);
  }

  /** What is not as it is stored, as the next revision; a retraction where `having` is no longer true. */
  #revise({ plan, windows }: Redo): ResultRow[] {
    const rows = windows.fire(AFTER_ALL);
    const shown = keepHaving(this.#core, plan, { ...windows, fire: () => rows, portions: () => [rows] }).fire(
      AFTER_ALL,
    );
    const isShown = new Set(shown.map(idOf));
    return rows.flatMap((row) => {
      const latest = this.#store.latestResult(row);
      const before = latest === null || latest.retracted ? null : latest.values;
      const values = isShown.has(idOf(row)) ? row.values : null;
      if (values === before) return [];
      const next = { ...row, revision: latest === null ? 0 : latest.revision + 1, kind: "late" as const };
      return [values === null ? { ...next, values: "{}", retracted: true as const } : next];
    });
  }

  #open(block: StoredBlock): boolean {
    try {
      resetBatch(this.#core, this.#batch);
      const { codec, data, encodedBytes } = block;
      decodeBlock(
        this.#core,
        codec === "zstd" ? this.#codec.decompress(data, encodedBytes) : data,
        this.#batch,
      );
      return true;
    } catch (cause) {
      if (cause instanceof MillraceError) return false;
      throw cause;
    }
  }

  #unskew(): void {
    setSkewed(this.#core, this.#batch, new Uint8Array(batchTimeRange(this.#core, this.#batch).rows));
  }
}

function idOf({ startUs, endUs, key }: ResultRow): string {
  return `${startUs} ${endUs} ${key}`;
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
