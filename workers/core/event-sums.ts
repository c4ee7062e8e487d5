import type { BatchHandle } from "./codec.ts";
import { type CoreModule, copyOut } from "./module.ts";

interface AuditExports {
  auditSum(batch: number): number;
  auditHours(): number;
}

/** Events of one hour of event time. */
export interface HourSum {
  /** When the hour begins, µs since the epoch. */
  readonly hourUs: number;
  readonly count: number;
  /** The sum of the events' hashes: 32 hexadecimal digits, two lanes of 64 bits, the high one first. */
  readonly hash: string;
}

/**
 * Of the function that hashes are made by. Those of another version stand for the same events in another way: they are never
 * added to these or held against them. Raise it with any change of what `assembly/audit/` comes to.
 */
export const HASH_VERSION = 2;

const SUM_BYTES = 32;
const LANE_BITS = 64;

/** The sums of no events. */
export const NO_HASH = "0".repeat(32);

/** Sums up a batch's events by hours, as `assembly/audit/event-sums.ts` says, in the order of time. */
export function sumEvents(core: CoreModule, batch: BatchHandle): HourSum[] {
  const { auditSum, auditHours } = core.exports as unknown as AuditExports;
  const at = auditSum(batch) >>> 0;
  const hours = auditHours() >>> 0;
  return readSums(new DataView(core.memory.buffer, at, hours * SUM_BYTES));
}

function readSums(view: DataView): HourSum[] {
  return Array.from({ length: Math.floor(view.byteLength / SUM_BYTES) }, (_, index): HourSum => {
    const start = index * SUM_BYTES;
    const high = view.getBigUint64(start + 24, true);
    const low = view.getBigUint64(start + 16, true);
    return {
      hourUs: Number(view.getBigInt64(start, true)),
      count: Number(view.getBigUint64(start + 8, true)),
      hash: format(high, low),
    };
  }).sort((a, b) => a.hourUs - b.hourUs);
}

/** A block whose events are of more hours is read again when its sums are wanted: they are to be small beside it. */
const MAX_PACKED_HOURS = 4;

/**
 * The sums as they are kept with a block, read by `unpackSums`: the version, one byte, then the hours. Null when they are of too
 * many hours.
 */
export function packedSums(core: CoreModule, batch: BatchHandle): Uint8Array<ArrayBuffer> | null {
  const { auditSum, auditHours } = core.exports as unknown as AuditExports;
  const at = auditSum(batch) >>> 0;
  const hours = auditHours() >>> 0;
  return hours > MAX_PACKED_HOURS ? null : withVersion(copyOut(core, at, hours * SUM_BYTES));
}

function withVersion(hours: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hours.length + 1);
  bytes[0] = HASH_VERSION;
  bytes.set(hours, 1);
  return bytes;
}

/** The hours of packed sums; null when they are of another version. The first version had no byte that says so. */
function hoursOf(bytes: Uint8Array): DataView | null {
  const isOurs = bytes.length % SUM_BYTES === 1 && bytes[0] === HASH_VERSION;
  return isOurs ? new DataView(bytes.buffer, bytes.byteOffset + 1, bytes.byteLength - 1) : null;
}

/** In the order of time; null when they are of another version: they are to be made of the block anew. */
export function unpackSums(bytes: Uint8Array): HourSum[] | null {
  const hours = hoursOf(bytes);
  return hours === null ? null : readSums(hours);
}

/** As the sums of one block with all their events; null when they are of too many hours, or some of another version. */
export function addPackedSums(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> | null {
  const hours = new Map<bigint, [count: bigint, low: bigint, high: bigint]>();
  for (const part of parts) {
    const view = hoursOf(part);
    if (view === null) return null;
    for (let at = 0; at < view.byteLength; at += SUM_BYTES) {
      const hourUs = view.getBigInt64(at, true);
      const [count, low, high] = hours.get(hourUs) ?? [0n, 0n, 0n];
      hours.set(hourUs, [
        count + view.getBigUint64(at + 8, true),
        low + view.getBigUint64(at + 16, true),
        high + view.getBigUint64(at + 24, true),
      ]);
    }
  }
  if (hours.size > MAX_PACKED_HOURS) return null;
  const bytes = new Uint8Array(hours.size * SUM_BYTES);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [hourUs, [count, low, high]] of hours) {
    view.setBigInt64(at, hourUs, true);
    view.setBigUint64(at + 8, count, true);
    // Modulo 2⁶⁴, as the view writes them.
    view.setBigUint64(at + 16, low, true);
    view.setBigUint64(at + 24, high, true);
    at += SUM_BYTES;
  }
  return withVersion(bytes);
}

/** The hash of the events of both. */
export function addHashes(a: string, b: string): string {
  const lane = (from: number): bigint =>
    BigInt.asUintN(
      LANE_BITS,
      BigInt(`0x${a.slice(from, from + 16)}`) + BigInt(`0x${b.slice(from, from + 16)}`),
    );
  return format(lane(0), lane(16));
}

function format(high: bigint, low: bigint): string {
  return high.toString(16).padStart(16, "0") + low.toString(16).padStart(16, "0");
}
