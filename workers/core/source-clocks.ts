import { MillraceError } from "../errors.ts";
import type { QueryPlan } from "../messages.ts";
import type { BatchHandle } from "./codec.ts";
import { keyJson } from "./group-key.ts";
import { type CoreModule, copyIn, copyOut, withBytes } from "./module.ts";
import { encodePlan } from "./window-plan.ts";

interface ClockExports {
  allocate(length: number): number;
  release(pointer: number): void;
  sourcesCreate(plan: number, limit: number): number;
  sourcesSummarize(sources: number, batch: number, arrivalUs: bigint, sampleRows: number): number;
  sourcesSummarizeParts(sources: number, batch: number, parts: number, sampleRows: number): number;
  sourcesLength(sources: number): number;
  sourcesDispose(sources: number): void;
  clocksCreate(): number;
  clocksConfigure(clocks: number, boundUs: bigint, idleUs: bigint, isPerSource: number, limit: number): void;
  clocksInput(clocks: number, length: number): number;
  clocksMerge(clocks: number, arrivalUs: bigint, watermarkUs: bigint): number;
  clocksTick(clocks: number, atUs: bigint, isResume: number): void;
  clocksWatermark(clocks: number): bigint;
  clocksWouldMove(clocks: number, atUs: bigint, watermarkUs: bigint): number;
  clocksSlowest(clocks: number): number;
  clocksCount(clocks: number): number;
  clocksActiveCount(clocks: number): number;
  clocksUntracked(clocks: number): number;
  clocksSkewedEvents(clocks: number): number;
  clocksBytes(clocks: number): number;
  clocksKey(clocks: number, source: number): number;
  clocksKeyLength(clocks: number, source: number): number;
  clocksMaxTime(clocks: number, source: number): bigint;
  clocksLastSeen(clocks: number, source: number): bigint;
  clocksEvents(clocks: number, source: number): number;
  clocksSkewed(clocks: number, source: number): number;
  clocksMedian(clocks: number, source: number): number;
  clocksIsActive(clocks: number, source: number): number;
  clocksMedians(clocks: number): number;
  clocksNamedCount(clocks: number): number;
  clocksNamed(clocks: number, index: number): number;
  clocksSnapshot(clocks: number): number;
  clocksOutputLength(clocks: number): number;
  clocksRestore(clocks: number): number;
  clocksDispose(clocks: number): void;
}

/** How a batch is summarized: larger ones from about so many rows, and telling at most so many sources apart. */
export interface Summary {
  readonly sampleRows: number;
  readonly maxSources: number;
}
/** Enough to report on clocks from. Rows with clock skew come on top, so a batch of nothing else could be large. */
export const REPORT_SUMMARY: Summary = { sampleRows: 256, maxSources: 1_024 };
/** Of blocks that are taken together: several times as many, for each of them would have had its own. */
const PARTS_SAMPLE_ROWS = 1_024;
/** Watermarks per source need every row. A source takes 160 bytes of a lane's memory. */
export const FULL_SUMMARY: Summary = { sampleRows: 0xffffffff, maxSources: 100_000 };

/** Rows that follow one another and arrived at once; µs since the epoch. */
export interface ArrivedRows {
  readonly count: number;
  readonly arrivalUs: number;
}

/** The local stage of the clocks: a batch in, its events by source out. */
export interface SourceSummarizer {
  /** `arrivalUs`: when the batch arrived, µs since the epoch. */
  summarize(batch: BatchHandle, arrivalUs: number): Uint8Array<ArrayBuffer>;
  /** The same where parts of the batch, which they make up in their order, arrived one by one. */
  summarizeParts(batch: BatchHandle, parts: readonly ArrivedRows[]): Uint8Array<ArrayBuffer>;
  dispose(): void;
}

export interface ClockSettings {
  readonly boundUs: number;
  readonly idleUs: number;
  readonly isPerSource: boolean;
  /** Sources known at most. */
  readonly maxSources: number;
}

/** One source as it stands. Times in µs. */
export interface SourceClock {
  /** The value of the stream's key as text; null for events without one. */
  readonly device: string | null;
  /** Greatest event time without clock skew; null before the first. */
  readonly maxEventUs: number | null;
  /** Arrival of its last event without clock skew. */
  readonly lastSeenUs: number | null;
  /** Its events that were looked at. */
  readonly samples: number;
  readonly skewedEvents: number;
  /** Median of event time − arrival over the last of these: above 0 the clock is ahead. */
  readonly medianOffsetUs: number;
  readonly isIdle: boolean;
}

export interface ClockStats {
  readonly sources: number;
  readonly activeSources: number;
  /** Events of sources beyond the limit. */
  readonly untrackedEvents: number;
  /** Grows with every event that has clock skew. */
  readonly skewedEvents: number;
  readonly bytes: number;
}

/** The clocks of a stream's sources, see `assembly/window/source-clocks.ts`. */
export interface SourceClocks {
  configure(settings: ClockSettings): void;
  /** @throws E_PARTIAL_VERSION */
  merge(summary: Uint8Array, arrivalUs: number, watermarkUs: bigint): void;
  /** Log time goes on. A resuming tick gives active sources their time anew, for the node was away. */
  tick(atUs: number, isResume: boolean): void;
  /** What the sources allow the stream's watermark to be; the least int64 before the first event. */
  watermarkUs(): bigint;
  /** Whether a tick at that time would move the watermark. */
  wouldMove(atUs: number, watermarkUs: bigint): boolean;
  stats(): ClockStats;
  /** The device that holds the watermark back; undefined when none does. */
  slowest(): string | null | undefined;
  /** The sources whose clocks are furthest ahead, the furthest first. Cost: a look at every source. */
  furthestAhead(limit: number): SourceClock[];
  /** The sources with the most clock-skewed events, 20 at most, the most first. */
  mostSkewed(): SourceClock[];
  snapshot(): Uint8Array<ArrayBuffer>;
  /** @throws E_CHECKPOINT_VERSION, with the state as it was, when it is of another release or damaged. */
  restore(snapshot: Uint8Array): void;
  dispose(): void;
}

const NO_TIME = -(2n ** 63n);

function exportsOf(core: CoreModule): ClockExports {
  return core.exports as unknown as ClockExports;
}

/** `key`: the candidates for the stream's key. */
export function createSummarizer(
  core: CoreModule,
  key: readonly string[],
  { sampleRows, maxSources } = FULL_SUMMARY,
): SourceSummarizer {
  const wasm = exportsOf(core);
  const plan = encodePlan(keyPlan(key));
  const at = wasm.allocate(plan.length + 16) >>> 0;
  copyIn(core, at, plan);
  const sources = wasm.sourcesCreate(at, maxSources) >>> 0;
  wasm.release(at);
  return {
    summarize: (batch, arrivalUs) => {
      const out = wasm.sourcesSummarize(sources, batch, BigInt(Math.trunc(arrivalUs)), sampleRows);
      return copyOut(core, out, wasm.sourcesLength(sources));
    },
    summarizeParts: (batch, parts) => {
      const rows = Math.max(sampleRows, PARTS_SAMPLE_ROWS);
      const out = withBytes(core, encodeParts(parts), (at) =>
        wasm.sourcesSummarizeParts(sources, batch, at, rows),
      );
      return copyOut(core, out, wasm.sourcesLength(sources));
    },
    dispose: () => wasm.sourcesDispose(sources),
  };
}

/** As `Sources.summarizeParts` of `assembly/window/sources.ts` reads them. */
function encodeParts(parts: readonly ArrivedRows[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(parts.length * 16));
  let end = 0;
  parts.forEach(({ count, arrivalUs }, index) => {
    end += count;
    bytes.setUint32(index * 16, end, true);
    bytes.setBigInt64(index * 16 + 8, BigInt(Math.trunc(arrivalUs)), true);
  });
  return new Uint8Array(bytes.buffer);
}

/** What of a plan the core reads to find a row's key. */
function keyPlan(key: readonly string[]): QueryPlan {
  return {
    id: 0,
    name: "",
    stream: "",
    window: { kind: "tumbling", sizeUs: 1, offsetUs: 0 },
    latenessUs: 0,
    by: [key],
    select: [],
  };
}

export function createSourceClocks(core: CoreModule, key: readonly string[]): SourceClocks {
  const wasm = exportsOf(core);
  const clocks = wasm.clocksCreate() >>> 0;
  const input = (bytes: Uint8Array): void => copyIn(core, wasm.clocksInput(clocks, bytes.length), bytes);
  const deviceOf = (source: number): string | null =>
    deviceText(copyOut(core, wasm.clocksKey(clocks, source), wasm.clocksKeyLength(clocks, source)), key);
  const describe = (source: number): SourceClock => ({
    device: deviceOf(source),
    maxEventUs: known(wasm.clocksMaxTime(clocks, source)),
    lastSeenUs: known(wasm.clocksLastSeen(clocks, source)),
    samples: wasm.clocksEvents(clocks, source),
    skewedEvents: wasm.clocksSkewed(clocks, source),
    medianOffsetUs: wasm.clocksMedian(clocks, source),
    isIdle: wasm.clocksIsActive(clocks, source) === 0,
  });
  return {
    configure: ({ boundUs, idleUs, isPerSource, maxSources }) =>
      wasm.clocksConfigure(clocks, BigInt(boundUs), BigInt(idleUs), Number(isPerSource), maxSources),
    merge: (summary, arrivalUs, watermarkUs) => {
      input(summary);
      if (wasm.clocksMerge(clocks, BigInt(Math.trunc(arrivalUs)), watermarkUs) !== 0) return;
      throw new MillraceError("E_PARTIAL_VERSION", "a summary of sources has another version");
    },
    tick: (atUs, isResume) => wasm.clocksTick(clocks, BigInt(Math.trunc(atUs)), Number(isResume)),
    watermarkUs: () => wasm.clocksWatermark(clocks),
    wouldMove: (atUs, watermarkUs) =>
      wasm.clocksWouldMove(clocks, BigInt(Math.trunc(atUs)), watermarkUs) !== 0,
    stats: () => ({
      sources: wasm.clocksCount(clocks),
      activeSources: wasm.clocksActiveCount(clocks),
      untrackedEvents: wasm.clocksUntracked(clocks),
      skewedEvents: wasm.clocksSkewedEvents(clocks),
      bytes: wasm.clocksBytes(clocks),
    }),
    slowest: () => {
      const source = wasm.clocksSlowest(clocks);
      return source < 0 ? undefined : deviceOf(source);
    },
    furthestAhead: (limit) => {
      const at = wasm.clocksMedians(clocks) >>> 0;
      const medians = new Float64Array(copyOut(core, at, wasm.clocksCount(clocks) * 8).buffer);
      const least = medians.toSorted().at(-limit) ?? -Infinity;
      return [...medians.keys()]
        .filter((source) => medians[source]! >= least)
        .sort((a, b) => medians[b]! - medians[a]! || a - b)
        .slice(0, limit)
        .map(describe);
    },
    mostSkewed: () =>
      Array.from({ length: wasm.clocksNamedCount(clocks) }, (_, index) => wasm.clocksNamed(clocks, index))
        .map(describe)
        .sort((a, b) => b.skewedEvents - a.skewedEvents),
    snapshot: () => {
      const at = wasm.clocksSnapshot(clocks);
      return copyOut(core, at, wasm.clocksOutputLength(clocks));
    },
    restore: (snapshot) => {
      input(snapshot);
      if (wasm.clocksRestore(clocks) !== 0) return;
      throw new MillraceError(
        "E_CHECKPOINT_VERSION",
        "the saved clocks of sources are damaged, or of another release",
      );
    },
    dispose: () => wasm.clocksDispose(clocks),
  };
}

function known(us: bigint): number | null {
  return us === NO_TIME ? null : Number(us);
}

/** The key's value as a person knows the device: a text as it is, anything else as JSON, digit by digit. */
function deviceText(bytes: Uint8Array<ArrayBuffer>, key: readonly string[]): string | null {
  const text = keyJson(bytes, [key]);
  const label = key.map((name) => `{${JSON.stringify(name)}:`).find((start) => text.startsWith(start));
  const value = label === undefined ? "null" : text.slice(label.length, -1);
  if (value === "null") return null;
  return value.startsWith('"') ? (JSON.parse(value) as string) : value;
}
