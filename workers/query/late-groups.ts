import type { QueryPlan } from "../messages.ts";

/** Event times from `fromUs` on, before `toUs`. */
export interface TimeRange {
  readonly fromUs: number;
  readonly toUs: number;
}

/** Start i64 and length of the key u32: see `Windows.refuse` of the core. */
const HEAD_BYTES = 12;

/** The times whose events can be in a window that starts there; null for kinds that this release cannot compute anew. */
export function timesOfWindow({ window }: QueryPlan, startUs: number): TimeRange | null {
  return window.kind === "tumbling" ? { fromUs: startUs, toUs: startUs + window.sizeUs } : null;
}

/** Ranges in the order of time; those that meet or overlap become one. */
export function joinRanges(ranges: readonly TimeRange[]): TimeRange[] {
  const joined: TimeRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.fromUs - b.fromUs)) {
    const last = joined.at(-1);
    if (last === undefined || range.fromUs > last.toUs) joined.push(range);
    else if (range.toUs > last.toUs) joined[joined.length - 1] = { fromUs: last.fromUs, toUs: range.toUs };
  }
  return joined;
}

/** The windows and keys of one query that late events belong to, each once, found by time. */
export class LateGroups {
  readonly #plan: QueryPlan;
  /** By window's start and key, as the engine lists them. */
  readonly #groups = new Map<string, TimeRange & { readonly bytes: Uint8Array }>();

  constructor(plan: QueryPlan) {
    this.#plan = plan;
  }

  /** Adds groups that the engine refused. @returns the times whose events can be in them. */
  add(refused: Uint8Array): TimeRange[] {
    const view = new DataView(refused.buffer, refused.byteOffset, refused.byteLength);
    const ranges: TimeRange[] = [];
    let at = 0;
    while (at < refused.length) {
      const end = at + HEAD_BYTES + view.getUint32(at + 8, true);
      const range = timesOfWindow(this.#plan, Number(view.getBigInt64(at, true)));
      const bytes = refused.subarray(at, end);
      if (range !== null) {
        this.#groups.set(Buffer.from(bytes).toString("latin1"), { ...range, bytes });
        ranges.push(range);
      }
      at = end;
    }
    return joinRanges(ranges);
  }

  /** Those that events from `fromUs` to `toUs` (inclusive) can be in, in the engine's form; null when there are none. */
  near(fromUs: number, toUs: number): Uint8Array<ArrayBuffer> | null {
    const near: Uint8Array[] = [];
    for (const group of this.#groups.values())
      if (group.fromUs <= toUs && group.toUs > fromUs) near.push(group.bytes);
    return near.length === 0 ? null : (Buffer.concat(near) as Uint8Array<ArrayBuffer>);
  }
}
