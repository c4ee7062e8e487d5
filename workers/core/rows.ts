import type { BatchHandle } from "./codec.ts";
import { type CoreModule, copyIn, copyOut, withBytes } from "./module.ts";

const NO_TIME = -(2n ** 63n);
const FLAG_CLOCK_SKEW = 1;
const utf8 = new TextEncoder();

interface RowExports {
  batchRows(batch: number): number;
  batchFlags(batch: number): number;
  batchTimes(batch: number): number;
  batchSummarize(batch: number): number;
  batchNulls(batch: number, name: number, nameLength: number): number;
}

function exportsOf(core: CoreModule): RowExports {
  return core.exports as unknown as RowExports;
}

/** How many rows there are, how many are clock-skewed, and the greatest event time (µs) of the others. */
export function batchTimeRange(
  core: CoreModule,
  batch: BatchHandle,
): { rows: number; skewedCount: number; maxEventUs: number | null } {
  const { batchRows, batchSummarize } = exportsOf(core);
  const summary = new DataView(core.memory.buffer, batchSummarize(batch) >>> 0, 12);
  const maxTime = summary.getBigInt64(0, true);
  return {
    rows: batchRows(batch),
    skewedCount: summary.getUint32(8, true),
    maxEventUs: maxTime === NO_TIME ? null : Number(maxTime),
  };
}

/** How many rows are null in the column of that name; all of them where there is none. */
export function countNulls(core: CoreModule, batch: BatchHandle, name: string): number {
  const bytes = utf8.encode(name);
  return withBytes(core, bytes, (at) => exportsOf(core).batchNulls(batch, at, bytes.length)) >>> 0;
}

/** Says of every row whether it is left out as if it had clock skew: one byte a row, 0 where it counts. */
export function setSkewed(core: CoreModule, batch: BatchHandle, flags: Uint8Array): void {
  copyIn(core, exportsOf(core).batchFlags(batch), flags);
}

/** One byte a row: 1 where the event is clock-skewed. */
export function maskSkewed(core: CoreModule, batch: BatchHandle): Uint8Array {
  const { batchRows, batchFlags } = exportsOf(core);
  return copyOut(core, batchFlags(batch), batchRows(batch)).map((flags) => flags & FLAG_CLOCK_SKEW);
}

/** One byte a row: 1 where the event is before a time (µs). */
export function maskBefore(core: CoreModule, batch: BatchHandle, timeUs: bigint): Uint8Array {
  const { batchRows, batchTimes } = exportsOf(core);
  const times = new BigInt64Array(copyOut(core, batchTimes(batch), batchRows(batch) * 8).buffer);
  return Uint8Array.from({ length: times.length }, (_, row) => Number(times[row]! < timeUs));
}
