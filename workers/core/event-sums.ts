import type { BatchHandle } from "./codec.ts";
import type { CoreModule } from "./module.ts";

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

const SUM_BYTES = 32;
const LANE_BITS = 64;

/** The sums of no events. */
export const NO_HASH = "0".repeat(32);

/** Sums up a batch's events by hours, as `assembly/audit/event-sums.ts` says, in the order of time. */
export function sumEvents(core: CoreModule, batch: BatchHandle): HourSum[] {
  const { auditSum, auditHours } = core.exports as unknown as AuditExports;
  const at = auditSum(batch) >>> 0;
  const hours = auditHours() >>> 0;
  const view = new DataView(core.memory.buffer, at, hours * SUM_BYTES);
  return Array.from({ length: hours }, (_, index): HourSum => {
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
