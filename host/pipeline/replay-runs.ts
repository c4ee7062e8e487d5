import { isKeyed } from "../../workers/core/keyed-plan.ts";
import { fieldsRead } from "../../workers/fields-read.ts";
import type { LogEntry, QueryPlan } from "../../workers/messages.ts";
import type { RunningStream } from "./stream-registry.ts";

export type BlockEntry = LogEntry & { readonly kind: "block" };

/** Cells of a run's batch at most, in its columns, times and flags: 4 MiB. */
const RUN_CELLS = 2 ** 19;
const RUN_BLOCKS = 256;
/** Clocks of sources are told of all blocks of a run at the arrival of the last: so they do not lie far apart. */
const RUN_ARRIVALS_US = 1_000_000;
/** A stream whose clock was foretold wrongly so often has events with clock skew all along. */
const MAX_MISTAKES = 3;

/** What moves a stream's watermark, as far as the log has come. Times in µs. */
export interface LogClock {
  readonly watermarkUs: number | null;
  readonly maxEventUs: number | null;
}

/** Blocks of a stream that follow one another; those of several blocks may be merged as one, if the clock was `before`. */
export interface Run {
  readonly entries: BlockEntry[];
  readonly before: LogClock | null;
}

/** A run that is being made. */
interface OpenRun extends Run {
  /** No window ends under a watermark below this … */
  readonly limitUs: number;
  /** … and no event from here on is in one that has ended. */
  readonly floorUs: number;
  readonly firstArrivalUs: number;
  rows: number;
}

/** The slices of time that windows share, as `assembly/window/axis.ts` cuts them. */
interface Slices {
  readonly periodUs: number;
  /** Length of the first of a period's two slices; 0: there is one. */
  readonly restUs: number;
  readonly offsetUs: number;
}

/**
 * Finds blocks of a stream that may be merged into its windows as if they were one.
 *
 * Let the watermark be w before blocks 1 … n and v before the last of them. When no boundary of slices lies in (w, v], and no
 * event in a slice that ended by w, then under every watermark from w to v no window fires or is revised, and no event is
 * late. (One may be closed, and is then dropped behind the last block.) So all that blocks 1 … n do is to be added up, and that
 * comes to the same in one step: partial aggregates are those of a set of events. What the last block does to the watermark is
 * done behind all.
 *
 * The watermark is foretold from the times that the store has of each block. A lane makes sure that these are right. Events with
 * clock skew move no watermark, so it may be lower than foretold: what stands behind them is seen when its turn comes (`isProven`).
 */
export class RunPlanner {
  readonly #boundUs: number;
  /** null: blocks of this stream are merged one by one. */
  readonly #slices: readonly Slices[] | null;
  readonly #maxRows: number;
  /** As the log up to the last entry that was pushed has made it; null: not known. */
  #proven: LogClock | null = null;
  /** The same for the last entry that was planned. */
  #foretold: LogClock | null = null;
  #mistakes = 0;

  constructor(stream: RunningStream) {
    this.#boundUs = stream.config.watermark.boundUs;
    this.#slices = slicesOf(stream);
    const fields = fieldsRead(stream.setup()) ?? stream.schema;
    this.#maxRows = Math.floor(RUN_CELLS / (fields.length + 2));
  }

  /** Whether it would be of use to tell it the clock. */
  get isLost(): boolean {
    return this.#slices !== null && this.#proven === null;
  }

  /** Tells it how the stream's clock stands behind all that was pushed. */
  knowClock(clock: LogClock): void {
    this.#proven = clock;
  }

  /** Begins to plan what follows the last entry pushed. */
  start(): void {
    this.#foretold = this.#proven;
  }

  /** Parts blocks into runs, in their order. */
  plan(entries: readonly BlockEntry[]): Run[] {
    const runs: Run[] = [];
    let open: OpenRun | null = null;
    for (const entry of entries) {
      if (open !== null && this.#goesWith(open, entry)) {
        open.entries.push(entry);
        open.rows += entry.block.count;
      } else {
        open = this.#begin(entry);
        runs.push(open ?? { entries: [entry], before: null });
      }
      const { count, maxUs } = entry.block;
      if (this.#foretold !== null) this.#foretold = this.#behind(this.#foretold, count === 0 ? null : maxUs);
    }
    return runs;
  }

  /** Plans over another entry of the stream. */
  foretell(timeUs: number | "end" | null): void {
    this.#foretold = this.#told(this.#foretold, timeUs);
  }

  /** Whether the clock is, as the run's turn comes, what it was foretold to be. */
  isProven({ before }: Run): boolean {
    const proven = this.#proven;
    if (before === null || proven === null) return false;
    return before.watermarkUs === proven.watermarkUs && before.maxEventUs === proven.maxEventUs;
  }

  /** A run of several blocks could not be used. */
  mistook(): void {
    this.#mistakes++;
  }

  /** A run or block was pushed. `maxEventUs`: the greatest event time without clock skew. */
  pushedBlock(maxEventUs: number | null): void {
    if (this.#proven !== null) this.#proven = this.#behind(this.#proven, maxEventUs);
  }

  /** An explicit watermark was pushed, or with null a tick. */
  pushedMark(timeUs: number | "end" | null): void {
    this.#proven = this.#told(this.#proven, timeUs);
  }

  #begin(entry: BlockEntry): OpenRun | null {
    const slices = this.#slices;
    const before = this.#foretold;
    const { minUs, count } = entry.block;
    if (slices === null || before === null || before.watermarkUs === null) return null;
    if (this.#mistakes >= MAX_MISTAKES || count === 0) return null;
    const watermarkUs = before.watermarkUs;
    let limitUs = Number.POSITIVE_INFINITY;
    let floorUs = Number.NEGATIVE_INFINITY;
    for (const each of slices) {
      const { startUs, endUs } = sliceAt(each, watermarkUs);
      limitUs = Math.min(limitUs, endUs);
      floorUs = Math.max(floorUs, startUs);
    }
    if (minUs < floorUs) return null;
    return { entries: [entry], before, limitUs, floorUs, firstArrivalUs: entry.arrivalUs, rows: count };
  }

  #goesWith(run: OpenRun, { arrivalUs, block }: BlockEntry): boolean {
    const watermarkUs = this.#foretold?.watermarkUs ?? null;
    if (watermarkUs === null || watermarkUs >= run.limitUs || block.minUs < run.floorUs) return false;
    if (run.entries.length >= RUN_BLOCKS || run.rows + block.count > this.#maxRows || block.count === 0)
      return false;
    return Math.abs(arrivalUs - run.firstArrivalUs) <= RUN_ARRIVALS_US;
  }

  /** As `moveWatermark` of `workers/window.ts` has it. */
  #behind({ watermarkUs, maxEventUs }: LogClock, timeUs: number | null): LogClock {
    const greatestUs = greater(maxEventUs, timeUs);
    const allowedUs = greatestUs === null ? null : greatestUs - this.#boundUs;
    return { watermarkUs: greater(watermarkUs, allowedUs), maxEventUs: greatestUs };
  }

  #told(clock: LogClock | null, timeUs: number | "end" | null): LogClock | null {
    if (clock === null || timeUs === "end") return null;
    if (timeUs === null) return this.#behind(clock, null);
    return { ...clock, watermarkUs: greater(clock.watermarkUs, timeUs) };
  }
}

/**
 * null where blocks are to be merged one by one: where a source or key has a clock, where single events are looked at, where
 * each move of the watermark may tell, and where what is kept of many values depends on how they are taken in.
 */
function slicesOf({ config, queries, alerts }: RunningStream): Slices[] | null {
  if (config.watermark.per !== "stream" || alerts.some(({ from }) => from.kind === "stream")) return null;
  const slices: Slices[] = [];
  for (const { plan, asStream } of queries) {
    const own = asStream === null ? slicesOfPlan(plan) : null;
    if (own === null) return null;
    slices.push(own);
  }
  return slices;
}

function slicesOfPlan(plan: QueryPlan): Slices | null {
  const { window, select, earlyUs } = plan;
  if (isKeyed(plan) || earlyUs !== undefined) return null;
  if (select !== "*" && select.some(({ fn }) => fn === "topk" || fn === "mode")) return null;
  if (window.kind === "tumbling") return { periodUs: window.sizeUs, restUs: 0, offsetUs: window.offsetUs };
  if (window.kind !== "sliding") return null;
  const { sizeUs, everyUs, offsetUs } = window;
  return { periodUs: everyUs, restUs: sizeUs % everyUs, offsetUs };
}

/** The slice that holds a time. Remainders of doubles are exact, as quotients are not. */
function sliceAt(
  { periodUs, restUs, offsetUs }: Slices,
  timeUs: number,
): { readonly startUs: number; readonly endUs: number } {
  const rest = (timeUs - offsetUs) % periodUs;
  const sinceUs = rest < 0 ? rest + periodUs : rest;
  const periodStartUs = timeUs - sinceUs;
  if (sinceUs < restUs) return { startUs: periodStartUs, endUs: periodStartUs + restUs };
  return { startUs: periodStartUs + restUs, endUs: periodStartUs + periodUs };
}

function greater(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.max(a, b);
}
