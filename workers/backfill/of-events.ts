import {
  type BatchHandle,
  decodeBlock,
  encodeRows,
  newBatch,
  readHeader,
  resetBatch,
} from "../core/codec.ts";
import { withExpressions } from "../core/expression.ts";
import { keepHaving } from "../core/having.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { maskBefore, maskSkewed, setSkewed } from "../core/rows.ts";
import { Tables } from "../core/tables.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../core/window.ts";
import { MillraceError } from "../errors.ts";
import type { KeyClock, StoredBlock } from "../messages.ts";
import { release } from "../move.ts";
import { packLateRows, withoutRows } from "../store/late-rows.ts";
import { type BlockRange, Reader } from "../store/reader.ts";
import type { Codec } from "../zstd.ts";
import { KeyClocks } from "./key-clocks.ts";
import { type BackfillStep, nextStep, StepOutput } from "./step.ts";
import type { BackfillOutcome, BackfillTask } from "./task.ts";

const PAGE_BLOCKS = 64;
const BEFORE_ALL = -(2n ** 63n);
const BLOCK_ZSTD_LEVEL = 1;
/** The clocks of all keys are moved after so many events, or as many as there are keys: their windows are in memory. */
const MOVE_EVENTS = 20_000;
/** Events move no clock of a key that stays so far behind. */
const STANDING_BOUND_US = 2 ** 62;

/**
 * First come the blocks before an entry of the log, in the order of their earliest events: when the next block begins at
 * T, no event before T is to come, so T is the watermark, no event is ever late, and only open windows are in memory. It
 * ends at the stream's watermark at that entry. So the outcome depends on the events and that watermark alone, not on how
 * they were sent or which blocks were merged since. Then come the blocks after it, in the order of the log.
 *
 * Where keys have clocks, the first part reads the blocks twice: first for how far each key's clock goes, then for the
 * windows, closing those of a key up to T or to its clock, whichever is earlier. The second part then is as it was live.
 */
export class EventBackfill {
  readonly #task: BackfillTask;
  readonly #reader: Reader;
  readonly #codec: Codec;
  readonly #core: CoreModule = instantiateCore();
  readonly #batch: BatchHandle = newBatch(this.#core);
  readonly #local: LocalAggregator;
  readonly #output = new StepOutput();
  readonly #clocks: KeyClocks | null;
  #windows: Windows;
  #watermarkUs = BEFORE_ALL;
  /** Where the second part stands. */
  #seq: number;
  #untilSeq = 0;
  #work: Generator<void> | null = null;

  constructor(codec: Codec, task: BackfillTask) {
    const { plan } = task;
    this.#codec = codec;
    this.#task = task;
    this.#seq = task.untilSeq;
    this.#reader = new Reader(task.dir, task.masters);
    const tables = new Tables(this.#core);
    for (const table of task.tables) tables.load(table);
    this.#local = withExpressions(this.#core, plan, createLocal(this.#core, plan), tables);
    this.#clocks = plan.keyClock === undefined ? null : new KeyClocks(plan.keyClock.boundUs);
    this.#windows = this.#createWindows(
      plan.keyClock === undefined ? undefined : { ...plan.keyClock, boundUs: STANDING_BOUND_US },
    );
  }

  /** How many blocks the first part has. */
  count(): number {
    const { plan, fromUs, untilSeq } = this.#task;
    return this.#reader.countBlocks(plan.stream, fromUs, untilSeq);
  }

  byTime(): BackfillStep {
    this.#work ??= this.#firstPart();
    return this.#step(this.#work);
  }

  /** Blocks behind the first part, up to an entry of the log. */
  byLog(beforeSeq: number): BackfillStep {
    this.#untilSeq = beforeSeq;
    this.#work ??= this.#secondPart();
    return this.#step(this.#work);
  }

  finish(): BackfillOutcome {
    return { state: this.#windows.snapshot(), waiting: null };
  }

  close(): void {
    this.#reader.close();
  }

  #step(work: Generator<void>): BackfillStep {
    const step = nextStep(work, this.#output);
    if (step.isDone) this.#work = null;
    return step;
  }

  *#firstPart(): Generator<void> {
    const { watermarkUs } = this.#task;
    if (this.#clocks !== null) yield* this.#learnClocks(this.#clocks);
    const mostUs = watermarkUs === null ? BEFORE_ALL : BigInt(watermarkUs);
    let sinceMoved = 0;
    for (const page of this.#pages()) {
      for (const range of page) {
        const beginsUs = BigInt(range.minUs);
        if (this.#clocks === null) yield* this.#fire(beginsUs < mostUs ? beginsUs : mostUs);
        else if (sinceMoved >= Math.max(MOVE_EVENTS, this.#clocks.size)) {
          sinceMoved = 0;
          yield* this.#fireKeys(this.#clocks, range.minUs);
        }
        sinceMoved += range.count;
        this.#output.blocks++;
        this.#output.events += range.count;
        if (this.#read(range.seq)) {
          this.#windows.merge(this.#local.aggregate(this.#batch), this.#watermarkUs);
          yield* this.#fireSingle();
        } else this.#output.unreadable += range.count;
        if (this.#output.isFull) yield;
      }
    }
    if (this.#clocks === null) yield* this.#fire(mostUs);
    else {
      yield* this.#fireKeys(this.#clocks, null);
      const state = this.#windows.snapshot();
      this.#windows.dispose();
      // From here on events move the clocks.
      this.#windows = this.#createWindows(this.#task.plan.keyClock);
      this.#windows.restore(state);
    }
  }

  *#secondPart(): Generator<void> {
    const { plan } = this.#task;
    for (;;) {
      const page = this.#reader.blocksOfLog(plan.stream, this.#seq, this.#untilSeq, PAGE_BLOCKS);
      for (const { seq, count, arrivalUs } of page) {
        this.#seq = seq;
        this.#output.blocks++;
        this.#output.events += count;
        if (this.#read(seq)) {
          const { lateGroups } = this.#windows.merge(this.#local.aggregate(this.#batch), this.#watermarkUs);
          if (lateGroups !== null) this.#setAside(seq, arrivalUs, lateGroups);
          if (this.#clocks === null) yield* this.#fireSingle();
          else yield* this.#portions(BEFORE_ALL);
        } else this.#output.unreadable += count;
        if (this.#output.isFull) yield;
      }
      if (page.length < PAGE_BLOCKS) return;
    }
  }

  *#learnClocks(clocks: KeyClocks): Generator<void> {
    for (const page of this.#pages()) {
      for (const { seq } of page) if (this.#read(seq)) clocks.take(this.#local.aggregate(this.#batch));
      yield;
    }
  }

  /** The blocks of the first part, by their earliest events. */
  *#pages(): Generator<readonly BlockRange[]> {
    const { plan, fromUs, untilSeq } = this.#task;
    for (let after: BlockRange | null = null; ; ) {
      const page: BlockRange[] = this.#reader.blocksByTime(plan.stream, fromUs, untilSeq, after, PAGE_BLOCKS);
      const last = page.at(-1);
      if (last === undefined) return;
      yield page;
      after = last;
    }
  }

  *#fire(watermarkUs: bigint): Generator<void> {
    if (watermarkUs <= this.#watermarkUs) return;
    this.#watermarkUs = watermarkUs;
    yield* this.#portions(watermarkUs);
  }

  *#fireKeys(clocks: KeyClocks, timeUs: number | null): Generator<void> {
    for (const { key, clockUs } of clocks.at(timeUs)) this.#windows.advanceClock?.(key, clockUs);
    yield* this.#portions(BEFORE_ALL);
  }

  /** Rows of single events wait for no clock. */
  *#fireSingle(): Generator<void> {
    if (this.#task.plan.window.kind === "none") yield* this.#portions(this.#watermarkUs);
  }

  *#portions(watermarkUs: bigint): Generator<void> {
    const { fromUs } = this.#task;
    for (const rows of this.#windows.portions(watermarkUs)) {
      this.#output.addRows(fromUs === null ? rows : rows.filter(({ startUs }) => startUs >= fromUs));
      if (this.#output.isFull) yield;
    }
  }

  #createWindows(keyClock: KeyClock | undefined): Windows {
    const { plan } = this.#task;
    const clocked = keyClock === undefined ? plan : { ...plan, keyClock };
    return keepHaving(this.#core, clocked, createWindows(this.#core, clocked));
  }

  #read(seq: number): boolean {
    const block = this.#reader.block(seq);
    return block !== null && this.#open(block);
  }

  #open(block: StoredBlock): boolean {
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

  /** Late events, but those that live queries, or a run before, have set aside. */
  #setAside(seq: number, arrivalUs: number, lateGroups: Uint8Array): void {
    const mask = withoutRows(this.#local.maskLate(this.#batch, lateGroups), this.#reader.lateRows(seq));
    if (!mask.includes(1)) return;
    this.#output.addLate({ seq, arrivalUs, block: this.#extract(mask), rows: packLateRows(mask) });
  }

  #extract(mask: Uint8Array): StoredBlock {
    const encoded = encodeRows(this.#core, this.#batch, this.#task.plan.stream, mask);
    const { count, minUs, maxUs, schema } = readHeader(encoded);
    const data = this.#codec.compress(encoded, BLOCK_ZSTD_LEVEL);
    const encodedBytes = encoded.length;
    return { data, codec: "zstd", encodedBytes, count, minUs: Number(minUs), maxUs: Number(maxUs), schema };
  }
}
