import { Batch } from "../batch/batch";
import { readClocks, writeClocks } from "./clock-snapshot";
import { readPlan } from "./plan";
import { SourceClocks } from "./source-clocks";
import { Sources } from "./sources";

/** `plan`: one whose only group-by slot is the stream's key. `limit`: sources told apart in one batch. */
export function sourcesCreate(plan: usize, limit: u32): Sources {
  return Sources.create(readPlan(plan), max<u32>(limit, 1));
}

/** The summary's address; its length is `sourcesLength`. */
export function sourcesSummarize(sources: Sources, batch: Batch, arrivalUs: i64, sampleRows: u32): usize {
  sources.summarize(batch, arrivalUs, sampleRows);
  return sources.out.data;
}

/** The same where parts of the batch arrived one by one: end row u32, 4 bytes, arrival i64 (µs) for each. */
export function sourcesSummarizeParts(sources: Sources, batch: Batch, parts: usize, sampleRows: u32): usize {
  sources.summarizeParts(batch, parts, sampleRows);
  return sources.out.data;
}

export function sourcesLength(sources: Sources): u32 {
  return sources.out.length;
}

export function sourcesDispose(sources: Sources): void {
  sources.dispose();
}

export function clocksCreate(): SourceClocks {
  return SourceClocks.create();
}

export function clocksConfigure(clocks: SourceClocks, boundUs: i64, idleUs: i64, isPerSource: u32, limit: u32): void {
  clocks.configure(boundUs, idleUs, isPerSource != 0, max<u32>(limit, 1));
}

/** Where to write `length` bytes for `clocksMerge` or `clocksRestore`. */
export function clocksInput(clocks: SourceClocks, length: u32): usize {
  clocks.input.reset();
  const at = clocks.input.reserve(length + 16);
  clocks.input.length = length;
  return at;
}

/** False when the summary is of another version. */
export function clocksMerge(clocks: SourceClocks, arrivalUs: i64, watermarkUs: i64): bool {
  return clocks.merge(arrivalUs, watermarkUs);
}

export function clocksTick(clocks: SourceClocks, atUs: i64, isResume: u32): void {
  clocks.tick(atUs, isResume != 0);
}

/** What the sources allow the watermark to be, or the least i64 before the first event. */
export function clocksWatermark(clocks: SourceClocks): i64 {
  return clocks.watermark();
}

export function clocksWouldMove(clocks: SourceClocks, atUs: i64, watermarkUs: i64): bool {
  return clocks.wouldMove(atUs, watermarkUs);
}

/** The number of the source that holds the watermark back, or −1. */
export function clocksSlowest(clocks: SourceClocks): i32 {
  return <i32>clocks.slowest();
}

export function clocksCount(clocks: SourceClocks): u32 {
  return clocks.keys.count;
}

export function clocksActiveCount(clocks: SourceClocks): u32 {
  return clocks.activeCount;
}

export function clocksUntracked(clocks: SourceClocks): f64 {
  return <f64>clocks.untrackedEvents;
}

export function clocksSkewedEvents(clocks: SourceClocks): f64 {
  return <f64>clocks.skewedEvents;
}

export function clocksBytes(clocks: SourceClocks): f64 {
  return clocks.bytes();
}

export function clocksKey(clocks: SourceClocks, source: u32): usize {
  return clocks.keys.pointer(source);
}

export function clocksKeyLength(clocks: SourceClocks, source: u32): u32 {
  return clocks.keys.length(source);
}

export function clocksMaxTime(clocks: SourceClocks, source: u32): i64 {
  return clocks.source(source).maxTime;
}

export function clocksLastSeen(clocks: SourceClocks, source: u32): i64 {
  return clocks.source(source).lastSeen;
}

export function clocksEvents(clocks: SourceClocks, source: u32): f64 {
  return <f64>clocks.source(source).events;
}

export function clocksSkewed(clocks: SourceClocks, source: u32): f64 {
  return <f64>clocks.source(source).skewed;
}

/** Median offset of event time to arrival, µs; NaN before any event. */
export function clocksMedian(clocks: SourceClocks, source: u32): f64 {
  return clocks.source(source).median();
}

export function clocksIsActive(clocks: SourceClocks, source: u32): bool {
  return clocks.source(source).isActive != 0;
}

/** The medians of all sources: f64 each. */
export function clocksMedians(clocks: SourceClocks): usize {
  clocks.writeMedians();
  return clocks.out.data;
}

/** How many sources with clock skew are named. */
export function clocksNamedCount(clocks: SourceClocks): u32 {
  return clocks.named.length >> 2;
}

export function clocksNamed(clocks: SourceClocks, index: u32): u32 {
  return load<u32>(clocks.named.data + (index << 2));
}

/** The snapshot's address; its length is `clocksOutputLength`. */
export function clocksSnapshot(clocks: SourceClocks): usize {
  writeClocks(clocks, clocks.out);
  return clocks.out.data;
}

export function clocksOutputLength(clocks: SourceClocks): u32 {
  return clocks.out.length;
}

/** False, with nothing changed, when the snapshot is damaged or of another version. */
export function clocksRestore(clocks: SourceClocks): bool {
  return readClocks(clocks);
}

export function clocksDispose(clocks: SourceClocks): void {
  clocks.dispose();
}
