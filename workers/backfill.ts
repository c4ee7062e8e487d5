import { type BatchHandle, decodeBlock, encodeRows, newBatch, readHeader, resetBatch } from "./core/codec.ts";
import { withExpressions } from "./core/expression.ts";
import { keepHaving } from "./core/having.ts";
import { type CoreModule, instantiateCore } from "./core/module.ts";
import { maskBefore, maskSkewed, setSkewed } from "./core/rows.ts";
import { Tables } from "./core/tables.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "./core/window.ts";
import { MillraceError } from "./errors.ts";
import type { QueryPlan, ResultRow, StoredBlock, TableData } from "./messages.ts";
import { moveWith } from "./move.ts";
import { packResults } from "./result-rows.ts";
import type { MasterKeys } from "./seal/master-key.ts";
import { type BlockRange, Reader } from "./store/reader.ts";
import { portableCodec } from "./zstd.ts";

/**
 * A backfill: a query over events that were stored before it was there. It has a thread and a core of its own.
 *
 * First come the blocks before an entry of the log, in the order of their earliest events: when the next block begins at
 * T, no event before T is to come, so T is the watermark, no event is ever late, and only open windows are in memory. It
 * ends at the stream's watermark at that entry. So the outcome depends on the events and that watermark alone, not on how
 * they were sent or which blocks were merged since. Then come the blocks after it, in the order of the log.
 */
export interface BackfillTask {
  readonly dir: string;
  /** Left out when the data is not encrypted. */
  readonly masters?: MasterKeys | null;
  readonly plan: QueryPlan;
  readonly tables: readonly TableData[];
  readonly fromUs: number | null;
  readonly untilSeq: number;
  readonly watermarkUs: number | null;
}

/** What one slice of the work gave. */
export interface BackfillStep {
  /** As `result-rows.ts` packs them. */
  readonly rows: string;
  /** Events of the second part that belong to windows closed before, by block. */
  readonly late: readonly { readonly seq: number; readonly arrivalUs: number; readonly block: StoredBlock }[];
  readonly blocks: number;
  readonly events: number;
  /** Events of blocks that cannot be read. */
  readonly unreadable: number;
  readonly isDone: boolean;
}

/** Events in a slice: about 50 ms. */
const STEP_EVENTS = 200_000;
const PAGE_BLOCKS = 64;
const BEFORE_ALL = -(2n ** 63n);
const BLOCK_ZSTD_LEVEL = 1;

const codec = await portableCodec();

class Run {
  readonly #task: BackfillTask;
  readonly #reader: Reader;
  readonly #core: CoreModule = instantiateCore();
  readonly #batch: BatchHandle = newBatch(this.#core);
  readonly #local: LocalAggregator;
  readonly #windows: Windows;
  /** Where the first part stands. */
  #after: Pick<BlockRange, "minUs" | "seq"> | null = null;
  #watermarkUs = BEFORE_ALL;
  /** Where the second part stands. */
  #seq: number;

  constructor(task: BackfillTask) {
    const { plan } = task;
    this.#task = task;
    this.#seq = task.untilSeq;
    this.#reader = new Reader(task.dir, task.masters);
    const tables = new Tables(this.#core);
    for (const table of task.tables) tables.load(table);
    this.#local = withExpressions(this.#core, plan, createLocal(this.#core, plan), tables);
    this.#windows = keepHaving(this.#core, plan, createWindows(this.#core, plan));
  }

  /** How many blocks the first part has. */
  count(): number {
    return this.#reader.countBlocks(this.#task.plan.stream, this.#task.fromUs, this.#task.untilSeq);
  }

  byTime(): BackfillStep {
    const { plan, fromUs, untilSeq, watermarkUs } = this.#task;
    const most = watermarkUs === null ? BEFORE_ALL : BigInt(watermarkUs);
    const rows: ResultRow[] = [];
    let blocks = 0;
    let events = 0;
    let unreadable = 0;
    while (events < STEP_EVENTS) {
      const page = this.#reader.blocksByTime(plan.stream, fromUs, untilSeq, this.#after, PAGE_BLOCKS);
      if (page.length === 0) {
        rows.push(...this.#fire(most));
        return { rows: packResults(rows), late: [], blocks, events, unreadable, isDone: true };
      }
      for (const range of page) {
        const begins = BigInt(range.minUs);
        rows.push(...this.#fire(begins < most ? begins : most));
        this.#after = range;
        const block = this.#reader.block(range.seq);
        if (block !== null && this.#open(block))
          this.#windows.merge(this.#local.aggregate(this.#batch), this.#watermarkUs);
        else unreadable += range.count;
        blocks++;
        events += range.count;
        if (events >= STEP_EVENTS) break;
      }
    }
    return { rows: packResults(rows), late: [], blocks, events, unreadable, isDone: false };
  }

  /** Blocks behind the first part, up to an entry of the log. */
  byLog(beforeSeq: number): BackfillStep {
    const { plan } = this.#task;
    const late: { seq: number; arrivalUs: number; block: StoredBlock }[] = [];
    let blocks = 0;
    let events = 0;
    let unreadable = 0;
    const page = this.#reader.blocksOfLog(plan.stream, this.#seq, beforeSeq, PAGE_BLOCKS);
    for (const { seq, count, arrivalUs } of page) {
      const block = this.#reader.block(seq);
      this.#seq = seq;
      blocks++;
      events += count;
      if (block === null || !this.#open(block)) {
        unreadable += count;
        continue;
      }
      const { lateGroups } = this.#windows.merge(this.#local.aggregate(this.#batch), this.#watermarkUs);
      if (lateGroups !== null) late.push({ seq, arrivalUs, block: this.#extract(lateGroups) });
      if (events >= STEP_EVENTS) return { rows: "", late, blocks, events, unreadable, isDone: false };
    }
    return { rows: "", late, blocks, events, unreadable, isDone: page.length < PAGE_BLOCKS };
  }

  state(): Uint8Array<ArrayBuffer> {
    return this.#windows.snapshot();
  }

  close(): void {
    this.#reader.close();
  }

  #fire(watermarkUs: bigint): ResultRow[] {
    if (watermarkUs <= this.#watermarkUs) return [];
    this.#watermarkUs = watermarkUs;
    const { fromUs } = this.#task;
    const rows = this.#windows.fire(watermarkUs);
    return fromUs === null ? rows : rows.filter(({ startUs }) => startUs >= fromUs);
  }

  #open(block: StoredBlock): boolean {
    try {
      resetBatch(this.#core, this.#batch);
      const { data, encodedBytes } = block;
      const bytes = block.codec === "zstd" ? codec.decompress(data, encodedBytes) : data;
      decodeBlock(this.#core, bytes, this.#batch);
    } catch (cause) {
      if (cause instanceof MillraceError) return false;
      throw cause;
    }
    const { fromUs } = this.#task;
    if (fromUs === null || block.minUs >= fromUs) return true;
    // Which blocks hold earlier events depends on how they were merged: they are left out.
    const skewed = maskSkewed(this.#core, this.#batch);
    const early = maskBefore(this.#core, this.#batch, BigInt(fromUs));
    setSkewed(
      this.#core,
      this.#batch,
      skewed.map((flag, row) => flag | early[row]!),
    );
    return true;
  }

  #extract(lateGroups: Uint8Array): StoredBlock {
    const mask = this.#local.maskLate(this.#batch, lateGroups);
    const encoded = encodeRows(this.#core, this.#batch, this.#task.plan.stream, mask);
    const { count, minUs, maxUs, schema } = readHeader(encoded);
    const data = new Uint8Array(codec.compress(encoded, BLOCK_ZSTD_LEVEL));
    const encodedBytes = encoded.length;
    return { data, codec: "zstd", encodedBytes, count, minUs: Number(minUs), maxUs: Number(maxUs), schema };
  }
}

let run: Run | null = null;

/** @returns how many blocks the first part has. */
export function begin(task: BackfillTask): number {
  run?.close();
  run = new Run(task);
  return run.count();
}

export function byTime(): BackfillStep {
  return begun().byTime();
}

export function byLog(beforeSeq: number): BackfillStep {
  return begun().byLog(beforeSeq);
}

/** The windows' state; the run ends. */
export function finish(): Uint8Array<ArrayBuffer> {
  const state = begun().state();
  run?.close();
  run = null;
  return moveWith(state, [state.buffer]);
}

function begun(): Run {
  if (run === null) throw new MillraceError("E_BACKFILL", "no backfill was begun on this thread");
  return run;
}
