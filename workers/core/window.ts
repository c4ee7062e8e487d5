import { MillraceError } from "../errors.ts";
import type { AggregateName, Output, QueryPlan, ResultRow } from "../messages.ts";
import type { BatchHandle } from "./codec.ts";
import { type CoreModule, copyIn, copyOut } from "./module.ts";
import { keyJson } from "./group-key.ts";

interface WindowExports {
  allocate(length: number): number;
  release(pointer: number): void;
  batchRows(batch: number): number;
  localCreate(plan: number): number;
  localAggregate(local: number, batch: number): number;
  localLength(local: number): number;
  localMaskLate(local: number, batch: number, wanted: number, count: number, mask: number): void;
  localDispose(local: number): void;
  windowsCreate(plan: number): number;
  windowsMerge(windows: number, partial: number, watermark: bigint): number;
  windowsLate(windows: number): number;
  windowsLateLength(windows: number): number;
  windowsFire(windows: number, watermark: bigint): number;
  windowsSnapshot(windows: number): number;
  windowsOutput(windows: number): number;
  windowsOutputLength(windows: number): number;
  windowsRestore(windows: number, snapshot: number): number;
  windowsHasDeadKeys(windows: number): number;
  windowsLastEnd(windows: number): bigint;
  windowsKey(windows: number, key: number): number;
  windowsKeyLength(windows: number, key: number): number;
  windowsKeyCount(windows: number): number;
  windowsGroupCount(windows: number): number;
  windowsStride(windows: number): number;
  windowsFieldCount(windows: number): number;
  windowsFieldName(windows: number, field: number): number;
  windowsFieldNameLength(windows: number, field: number): number;
  windowsDispose(windows: number): void;
}

/** The local stage of a query: a batch in, a partial out. */
export interface LocalAggregator {
  /** The batch's partial aggregates, mergeable in any order. Clock-skewed rows are left out. */
  aggregate(batch: BatchHandle): Uint8Array<ArrayBuffer>;
  /** One byte a row: 1 where the row belongs to one of the refused groups. */
  maskLate(batch: BatchHandle, lateGroups: Uint8Array): Uint8Array;
  dispose(): void;
}

/** The window stage of a query. */
export interface Windows {
  /** Groups whose window closed under the watermark are refused and listed. Throws E_PARTIAL_VERSION. */
  merge(partial: Uint8Array, watermarkUs: bigint): { readonly lateGroups: Uint8Array<ArrayBuffer> | null };
  /** What the watermark lets go: on-time results and late revisions. Closed windows are dropped. */
  fire(watermarkUs: bigint): ResultRow[];
  /** End of the last open window in µs, or null when none is open. */
  lastEndUs(): bigint | null;
  snapshot(): Uint8Array<ArrayBuffer>;
  /** Throws E_CHECKPOINT_VERSION. */
  restore(snapshot: Uint8Array): void;
  stats(): { readonly keys: number; readonly groups: number; readonly bytes: number };
  dispose(): void;
}

/** Kinds by the core's numbers. */
const KINDS = ["on-time", "late"] as const;
/** Bytes of a result row before its values. */
const ROW_HEAD_BYTES = 32;
/** Key texts kept for the next firing. */
const MAX_CACHED_KEYS = 200_000;
const NO_WINDOW = -(2n ** 63n);
/** Families of what is kept of a field; the numbers are those of `assembly/aggregate/accumulator.ts`. */
const FAMILY = { sum: 1, squares: 2, extremes: 4, first: 8, last: 16, quantile: 32 } as const;
const FUNCTIONS: Readonly<Record<AggregateName, { readonly number: number; readonly families: number }>> = {
  count: { number: 1, families: 0 },
  sum: { number: 2, families: FAMILY.sum },
  avg: { number: 3, families: FAMILY.sum },
  min: { number: 4, families: FAMILY.extremes },
  max: { number: 5, families: FAMILY.extremes },
  range: { number: 6, families: FAMILY.extremes },
  first: { number: 7, families: FAMILY.first },
  last: { number: 8, families: FAMILY.last },
  variance: { number: 9, families: FAMILY.sum | FAMILY.squares },
  stddev: { number: 10, families: FAMILY.sum | FAMILY.squares },
  quantile: { number: 11, families: FAMILY.quantile },
};
const COUNT_ROWS = 0;

const utf8 = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export function createLocal(core: CoreModule, plan: QueryPlan): LocalAggregator {
  const exports = core.exports as unknown as WindowExports;
  const local = withBytes(core, encodePlan(plan), (at) => exports.localCreate(at)) >>> 0;
  return {
    aggregate: (batch) => {
      const at = exports.localAggregate(local, batch) >>> 0;
      return copyOut(core, at, exports.localLength(local));
    },
    maskLate: (batch, lateGroups) => {
      const rows = exports.batchRows(batch);
      const mask = exports.allocate(rows + 1) >>> 0;
      withBytes(core, lateGroups, (at) =>
        exports.localMaskLate(local, batch, at, countLateGroups(lateGroups), mask),
      );
      const marked = copyOut(core, mask, rows);
      exports.release(mask);
      return marked;
    },
    dispose: () => exports.localDispose(local),
  };
}

export function createWindows(core: CoreModule, plan: QueryPlan): Windows {
  const exports = core.exports as unknown as WindowExports;
  const windows = withBytes(core, encodePlan(plan), (at) => exports.windowsCreate(at)) >>> 0;
  const keys = new Map<number, string>();
  const slots = plan.by;
  const keyText = (key: number): string => {
    const known = keys.get(key);
    if (known !== undefined) return known;
    const at = exports.windowsKey(windows, key) >>> 0;
    const text = keyJson(copyOut(core, at, exports.windowsKeyLength(windows, key)), slots);
    if (keys.size >= MAX_CACHED_KEYS) keys.clear();
    keys.set(key, text);
    return text;
  };
  const names = (): readonly string[] => {
    if (plan.select !== "*") return plan.select.map((output) => JSON.stringify(output.name));
    const fields = Array.from({ length: exports.windowsFieldCount(windows) }, (_, field) => {
      const at = exports.windowsFieldName(windows, field) >>> 0;
      return decoder.decode(copyOut(core, at, exports.windowsFieldNameLength(windows, field)));
    });
    return ["count", ...fields.flatMap((field) => [`${field}_avg`, `${field}_min`, `${field}_max`])].map((name) =>
      JSON.stringify(name),
    );
  };
  const snapshot = (): Uint8Array<ArrayBuffer> => {
    const at = exports.windowsSnapshot(windows) >>> 0;
    return copyOut(core, at, exports.windowsOutputLength(windows));
  };
  const restore = (bytes: Uint8Array): void => {
    keys.clear();
    if (withBytes(core, bytes, (at) => exports.windowsRestore(windows, at)) !== 0) return;
    throw new MillraceError("E_CHECKPOINT_VERSION", `the windows of ${plan.name} were saved by another release`);
  };
  return {
    merge: (partial, watermarkUs) => {
      const late = withBytes(core, partial, (at) => exports.windowsMerge(windows, at, watermarkUs));
      if (late < 0) throw new MillraceError("E_PARTIAL_VERSION", `a partial of ${plan.name} has another version`);
      if (late === 0) return { lateGroups: null };
      const at = exports.windowsLate(windows) >>> 0;
      return { lateGroups: copyOut(core, at, exports.windowsLateLength(windows)) };
    },
    fire: (watermarkUs) => {
      const count = exports.windowsFire(windows, watermarkUs);
      if (count === 0) return [];
      const at = exports.windowsOutput(windows) >>> 0;
      const bytes = copyOut(core, at, exports.windowsOutputLength(windows));
      const rows = readRows(plan.name, bytes, count, keyText, names());
      if (exports.windowsHasDeadKeys(windows) !== 0) restore(snapshot());
      return rows;
    },
    lastEndUs: () => {
      const end = exports.windowsLastEnd(windows);
      return end === NO_WINDOW ? null : end;
    },
    snapshot,
    restore,
    stats: () => {
      const groups = exports.windowsGroupCount(windows);
      return { keys: exports.windowsKeyCount(windows), groups, bytes: groups * exports.windowsStride(windows) };
    },
    dispose: () => exports.windowsDispose(windows),
  };
}

function readRows(
  query: string,
  bytes: Uint8Array<ArrayBuffer>,
  count: number,
  keyText: (key: number) => string,
  names: readonly string[],
): ResultRow[] {
  const view = new DataView(bytes.buffer);
  const rows: ResultRow[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const values = view.getUint32(at + 12, true);
    const startUs = Number(view.getBigInt64(at + 16, true));
    const endUs = Number(view.getBigInt64(at + 24, true));
    let text = "";
    for (let v = 0; v < values; v++) {
      const value = view.getFloat64(at + ROW_HEAD_BYTES + v * 8, true);
      text += `${v === 0 ? "" : ","}${names[v]}:${Number.isFinite(value) ? value : null}`;
    }
    rows.push({
      query,
      startUs,
      endUs,
      key: keyText(view.getUint32(at, true)),
      values: `{${text}}`,
      revision: view.getUint32(at + 4, true),
      kind: KINDS[view.getUint32(at + 8, true)] ?? "on-time",
    });
    at += ROW_HEAD_BYTES + values * 8;
  }
  return rows;
}

function countLateGroups(groups: Uint8Array): number {
  const view = new DataView(groups.buffer, groups.byteOffset, groups.byteLength);
  let count = 0;
  for (let at = 0; at < groups.length; at += 12 + view.getUint32(at + 8, true)) count++;
  return count;
}

/** The plan as `assembly/window/plan.ts` reads it. */
function encodePlan(plan: QueryPlan): Uint8Array {
  const parts: Uint8Array[] = [];
  const u32 = (value: number): void => void parts.push(new Uint8Array(new Uint32Array([value]).buffer));
  const i64 = (value: number): void => void parts.push(new Uint8Array(new BigInt64Array([BigInt(value)]).buffer));
  const text = (value: string): void => {
    const bytes = utf8.encode(value);
    u32(bytes.length);
    parts.push(bytes);
  };
  i64(plan.window.sizeUs);
  i64(plan.window.offsetUs);
  i64(plan.latenessUs);
  u32(plan.select === "*" ? 1 : 0);
  u32(plan.by.length);
  for (const candidates of plan.by) {
    u32(candidates.length);
    for (const candidate of candidates) text(candidate);
  }
  const outputs = plan.select === "*" ? [] : plan.select;
  const fields = familiesByField(outputs);
  u32(fields.size);
  for (const [name, families] of fields) {
    u32(families);
    text(name);
  }
  const order = [...fields.keys()];
  u32(outputs.length);
  for (const { fn, field, parameter } of outputs) {
    u32(field === null ? COUNT_ROWS : FUNCTIONS[fn].number);
    u32(field === null ? 0 : order.indexOf(field));
    parts.push(new Uint8Array(new Float64Array([parameter ?? 0]).buffer));
  }
  return Buffer.concat(parts);
}

function familiesByField(outputs: readonly Output[]): Map<string, number> {
  const fields = new Map<string, number>();
  for (const { fn, field } of outputs) {
    if (field !== null) fields.set(field, (fields.get(field) ?? 0) | FUNCTIONS[fn].families);
  }
  return fields;
}

function withBytes<T>(core: CoreModule, bytes: Uint8Array, use: (at: number) => T): T {
  const { allocate, release } = core.exports as unknown as WindowExports;
  const at = allocate(bytes.length + 8) >>> 0;
  copyIn(core, at, bytes);
  try {
    return use(at);
  } finally {
    release(at);
  }
}
