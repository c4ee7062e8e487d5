import { type BatchHandle, decodeBlock, newBatch, resetBatch } from "../core/codec.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { batchTimeRange, maskSkewed, setSkewed } from "../core/rows.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../core/window.ts";
import { MillraceError } from "../errors.ts";
import type { QueryPlan, ResultRow, StoredBlock } from "../messages.ts";
import type { BlockRange, LateBlock, LatestResult } from "../store/reader.ts";
import type { Codec } from "../zstd.ts";
import { joinRanges, type TimeRange, timesOfGroups } from "./late-groups.ts";

/** What a correction reads from: `Reader` is one. */
export interface CorrectionStore {
  lateToApply(stream: string, afterId: number, includesSkewed: boolean, limit: number): readonly LateBlock[];
  appliedSkew(stream: string, fromUs: number, toUs: number): readonly LateBlock[];
  blocksOverlapping(stream: string, fromUs: number | null, toUs: number | null): readonly BlockRange[];
  block(seq: number): StoredBlock | null;
  latestResult(row: ResultRow): LatestResult | null;
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

/** Late blocks looked at together: their windows' blocks are read once. */
const CHUNK_BLOCKS = 256;
const CHUNK_EVENTS = 100_000;
const BEFORE_ALL = -(2n ** 63n);
/** Behind the end of every window. */
const AFTER_ALL = 2n ** 62n;

/** One query on its way: the groups to compute anew, and the windows to do it in. */
interface Redo {
  readonly plan: QueryPlan;
  readonly local: LocalAggregator;
  readonly windows: Windows;
  groups: Uint8Array<ArrayBuffer>;
  ranges: readonly TimeRange[];
}

/**
 * Computes the windows of late events anew: the query's own engine runs over every stored event of those windows and
 * keys, with no watermark and then the end of all, and what differs from the latest stored result is a new revision. So a
 * second run changes nothing, and one that is cut off is simply run again.
 *
 * To be called at one moment of the store, after all that is in it has been applied.
 */
export class Corrector {
  readonly #store: CorrectionStore;
  readonly #codec: Codec;
  readonly #task: CorrectionTask;
  readonly #core: CoreModule = instantiateCore();
  readonly #batch: BatchHandle = newBatch(this.#core);

  constructor(store: CorrectionStore, codec: Codec, task: CorrectionTask) {
    this.#store = store;
    this.#codec = codec;
    this.#task = task;
  }

  run(): Correction {
    const { stream, afterId, includesSkewed } = this.#task;
    const found = this.#store.lateToApply(stream, afterId, includesSkewed, CHUNK_BLOCKS);
    const chunk = cut(found);
    const nextId = chunk.length < CHUNK_BLOCKS && chunk.length === found.length ? null : chunk.at(-1)!.id;
    const redos = this.#task.plans.map((plan) => this.#begin(plan));
    let waitingEvents = 0;
    let unreadableEvents = 0;
    const taken: LateBlock[] = [];
    for (const late of chunk) {
      const outcome = this.#takeLate(late, redos);
      if (outcome === "taken") taken.push(late);
      else if (outcome === "waits") waitingEvents += late.block.count;
      else unreadableEvents += late.block.count;
    }
    const events = countOf(taken);
    if (!this.#readBlocks(redos, taken)) {
      unreadableEvents += events;
      return { rows: [], lateIds: [], events: 0, waitingEvents, unreadableEvents, nextId };
    }
    const rows = redos.flatMap(({ windows }) => windows.fire(AFTER_ALL));
    const lateIds = taken.map(({ id }) => id);
    return { rows: this.#revise(rows), lateIds, events, waitingEvents, unreadableEvents, nextId };
  }

  #begin(plan: QueryPlan): Redo {
    return {
      plan,
      local: createLocal(this.#core, plan),
      windows: createWindows(this.#core, plan),
      groups: new Uint8Array(0),
      ranges: [],
    };
  }

  /** Notes the closed groups that a late block's events belong to. */
  #takeLate(late: LateBlock, redos: readonly Redo[]): "taken" | "waits" | "unreadable" {
    if (!this.#open(late.block)) return "unreadable";
    this.#unskew();
    const found = redos.map((redo) => ({ redo, ...this.#probe(redo) }));
    // An event that is late for one query may have counted in the longer windows of another. Skewed ones never count.
    if (late.reason === "clock-skew" && found.some(({ isOpen }) => isOpen)) return "waits";
    for (const { redo, lateGroups } of found) {
      if (lateGroups === null) continue;
      redo.groups = Buffer.concat([redo.groups, lateGroups]) as Uint8Array<ArrayBuffer>;
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

  /** Merges every stored event of the noted groups. @returns false when a block that may hold some cannot be read. */
  #readBlocks(redos: readonly Redo[], taken: readonly LateBlock[]): boolean {
    const { stream } = this.#task;
    for (const redo of redos) redo.ranges = timesOfGroups(redo.plan, redo.groups) ?? [];
    const seqs = new Set<number>();
    const skewed = new Map<number, LateBlock>();
    for (const late of taken) if (late.reason === "clock-skew") skewed.set(late.id, late);
    for (const { fromUs, toUs } of joinRanges(redos.flatMap(({ ranges }) => ranges))) {
      for (const { seq } of this.#store.blocksOverlapping(stream, fromUs, toUs)) seqs.add(seq);
      for (const late of this.#store.appliedSkew(stream, fromUs, toUs)) skewed.set(late.id, late);
    }
    for (const seq of [...seqs].toSorted((a, b) => a - b)) {
      const block = this.#store.block(seq);
      if (block === null || !this.#open(block)) return false;
      for (const redo of redos) this.#mergeWanted(redo, block);
    }
    for (const { block } of skewed.values()) {
      if (!this.#open(block)) return false;
      this.#unskew();
      for (const redo of redos) this.#mergeWanted(redo, null);
    }
    return true;
  }

  /** Merges the rows of the batch that are in a noted group: the others are made to look skewed, and then as before. */
  #mergeWanted({ ranges, groups, local, windows }: Redo, block: StoredBlock | null): void {
    const isNear = ({ fromUs, toUs }: TimeRange): boolean =>
      block === null || (block.maxUs >= fromUs && block.minUs < toUs);
    if (!ranges.some(isNear)) return;
    const wanted = local.maskLate(this.#batch, groups);
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

  /** What is not as it is stored, as the next revision. */
  #revise(rows: readonly ResultRow[]): ResultRow[] {
    return rows.flatMap((row) => {
      const latest = this.#store.latestResult(row);
      if (latest?.values === row.values) return [];
      return [{ ...row, revision: latest === null ? 0 : latest.revision + 1, kind: "late" as const }];
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

/** The first blocks, until they have many events. */
function cut(blocks: readonly LateBlock[]): readonly LateBlock[] {
  let events = 0;
  const end = blocks.findIndex(({ block }) => {
    events += block.count;
    return events > CHUNK_EVENTS;
  });
  return end === -1 ? blocks : blocks.slice(0, Math.max(1, end));
}

function countOf(blocks: readonly LateBlock[]): number {
  return blocks.reduce((sum, { block }) => sum + block.count, 0);
}
