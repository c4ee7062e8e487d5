import { type CoreModule, copyIn, type Pointer } from "../../workers/core/module.ts";
import type { Output, QueryPlan } from "../../workers/messages.ts";

export type ColumnKind = "bool" | "int" | "float" | "text";
type Cell = null | boolean | number | bigint | string;

/** Events by columns. */
export interface Rows {
  /** µs since the epoch */
  readonly times: readonly bigint[];
  /** 1: clock-skewed; default 0 */
  readonly flags?: readonly number[];
  readonly columns: readonly {
    readonly name: string;
    readonly kind: ColumnKind;
    readonly cells: readonly Cell[];
  }[];
}

interface BatchExports {
  allocate(length: number): number;
  release(pointer: number): void;
  batchCreate(capacity: number): number;
  batchAddColumn(batch: number, name: number, nameLength: number, type: number): number;
  batchSetRows(batch: number, rows: number): void;
  batchSeal(batch: number): void;
  batchIntern(batch: number, column: number, text: number, length: number): number;
  batchTimes(batch: number): number;
  batchFlags(batch: number): number;
  batchColumn(batch: number, index: number): number;
  batchDispose(batch: number): void;
}

const TYPES: Readonly<Record<ColumnKind, number>> = { bool: 1, int: 2, float: 3, text: 4 };
/** Offsets of `cells` and `valid` in the core's `Column`. */
const CELLS_OFFSET = 16;
const VALID_OFFSET = 20;
const utf8 = new TextEncoder();

/** A sealed batch in the core's memory; to be disposed of with `batchDispose`. */
export function makeBatch(core: CoreModule, { times, flags, columns }: Rows): Pointer {
  const exports = core.exports as unknown as BatchExports;
  const rows = times.length;
  const batch = exports.batchCreate(Math.max(rows, 1)) >>> 0;
  columns.forEach(({ name, kind, cells }) => {
    const index = withText(core, name, (at, length) =>
      exports.batchAddColumn(batch, at, length, TYPES[kind]),
    );
    const bits = cells.map((cell) => {
      if (cell === null) return 0n;
      if (kind === "text")
        return BigInt(
          withText(core, String(cell), (at, length) => exports.batchIntern(batch, index, at, length)),
        );
      if (kind === "float") return new BigUint64Array(Float64Array.of(Number(cell)).buffer)[0]!;
      return BigInt.asUintN(64, BigInt(cell));
    });
    const column = new DataView(core.memory.buffer, exports.batchColumn(batch, index) >>> 0);
    new BigUint64Array(core.memory.buffer, column.getUint32(CELLS_OFFSET, true), rows).set(bits);
    new Uint8Array(core.memory.buffer, column.getUint32(VALID_OFFSET, true), rows).set(
      cells.map((cell) => (cell === null ? 0 : 1)),
    );
  });
  new BigInt64Array(core.memory.buffer, exports.batchTimes(batch) >>> 0, rows).set(times);
  new Uint8Array(core.memory.buffer, exports.batchFlags(batch) >>> 0, rows).set(flags ?? times.map(() => 0));
  exports.batchSetRows(batch, rows);
  exports.batchSeal(batch);
  return batch;
}

/** Makes a batch, uses it, and frees it. */
export function withBatch<T>(core: CoreModule, rows: Rows, use: (batch: Pointer) => T): T {
  const batch = makeBatch(core, rows);
  try {
    return use(batch);
  } finally {
    (core.exports as unknown as BatchExports).batchDispose(batch);
  }
}

function withText<T>(core: CoreModule, text: string, use: (at: number, length: number) => T): T {
  const { allocate, release } = core.exports as unknown as BatchExports;
  const bytes = utf8.encode(text);
  const at = allocate(bytes.length + 16) >>> 0;
  copyIn(core, at, bytes);
  const result = use(at, bytes.length);
  release(at);
  return result;
}

/** A query over stream `s` with 10 s windows by device, unless told otherwise. */
export function makePlan(plan: Partial<QueryPlan>): QueryPlan {
  return {
    id: 1,
    name: "q",
    stream: "s",
    window: { kind: "tumbling", sizeUs: 10_000_000, offsetUs: 0 },
    latenessUs: 0,
    by: [["device"]],
    select: "*",
    ...plan,
  };
}

/** `n: count(), mean: avg(temp)` from `{ n: ["count"], mean: ["avg", "temp"] }`. */
export function makeOutputs(
  outputs: Readonly<Record<string, readonly [Output["fn"], (string | null)?, (number | undefined)?]>>,
): Omit<Output, "bounds">[] {
  return Object.entries(outputs).map(([name, [fn, field, parameter]]) => ({
    name,
    fn,
    field: field ?? null,
    parameter: parameter ?? null,
  }));
}
