import { type BatchHandle, readColumns } from "./codec.ts";
import { createProgram } from "./event-program.ts";
import { type CoreModule, copyIn, copyOut, type Pointer } from "./module.ts";

interface QueryExports {
  allocate(length: number): number;
  release(at: number): void;
  codecSeal(batch: number): number;
  codecViewColumn(batch: number, index: number): number;
  batchColumnCount(batch: number): number;
  querySelection(): number;
  querySelect(batch: number): number;
  querySelected(): number;
  pageCreate(): number;
  pageBegin(page: number, limit: number, maxBytes: number): void;
  pageAdd(page: number, batch: number, seq: number, program: number, selected: number): number;
  pageCount(page: number): number;
  pageIsFull(page: number): number;
  pageEntry(page: number, index: number): number;
  pageSetLine(page: number, index: number, text: number, length: number): void;
  pageCountBefore(page: number, count: number, timeUs: bigint): number;
  pageTail(page: number, count: number): number;
  pageFinish(page: number, count: number): number;
  pageBytes(page: number): number;
}

/** Which rows of a batch are wanted. Times in µs. */
export interface RowSelection {
  /** Inclusive. */
  readonly fromUs: bigint;
  /** Inclusive. */
  readonly lastUs: bigint;
  /** Rows of exactly this time are wanted from row `skipBelow` on. */
  readonly after: { readonly timeUs: bigint; readonly skipBelow: number } | null;
  readonly keyFields: readonly string[];
  /** The text of a value of any key field. */
  readonly key: string | null;
}

/** Where a row stands. */
export interface RowPlace {
  readonly timeUs: bigint;
  readonly seq: number;
  readonly row: number;
}

/** Of `Selection` in `assembly/query/select.ts`. */
const SELECTION_BYTES = 72;
/** Of `Entry` in `assembly/query/page.ts`. */
const ENTRY = { time: 0, seq: 8, row: 16, isWoven: 28, bytes: 32 } as const;
const KIND = { int: 1, float: 2, notFinite: 4, true: 8, false: 16 } as const;
const MAX_U32 = 2 ** 32 - 1;
const MAX_PAGE_BYTES = 2 ** 30;
const utf8 = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function exportsOf(core: CoreModule): QueryExports {
  return core.exports as unknown as QueryExports;
}

/** A batch whose rows can be selected and written. */
export interface OpenBatch {
  readonly batch: BatchHandle;
  readonly names: readonly string[];
  /** The program that writes its rows; made at the first need. */
  program(): Pointer;
  /** Writes one row whose members must be woven together. */
  weave: (row: number) => string;
  dispose(): void;
}

/** Makes a decoded batch ready. `createWriter` is the slow way to write a row. */
export function openBatch(
  core: CoreModule,
  batch: BatchHandle,
  timeField: string,
  createWriter: (rows: ReturnType<typeof readColumns>, timeField: string) => (row: number) => string,
): OpenBatch {
  const { codecSeal, batchColumnCount, codecViewColumn } = exportsOf(core);
  codecSeal(batch);
  const names: string[] = [];
  const isNull: boolean[] = [];
  for (let index = 0; index < batchColumnCount(batch); index++) {
    const at = codecViewColumn(batch, index) >>> 0;
    const view = new DataView(core.memory.buffer, at, 12);
    isNull.push(view.getUint32(0, true) === 0);
    names.push(decoder.decode(copyOut(core, view.getUint32(4, true), view.getUint32(8, true))));
  }
  let program: ReturnType<typeof createProgram> | null = null;
  let write: ((row: number) => string) | null = null;
  return {
    batch,
    names,
    program: () => {
      program ??= createProgram(core, { names, isNull }, timeField);
      return program.at;
    },
    weave: (row) => {
      write ??= createWriter(readColumns(core, batch), timeField);
      return write(row);
    },
    dispose: () => program?.release(),
  };
}

/** Selects rows, ordered by (time, row). Gives how many; they stay selected until the next call. */
export function selectRows(core: CoreModule, open: OpenBatch, selection: RowSelection): number {
  const { allocate, release, querySelection, querySelect } = exportsOf(core);
  const { fromUs, lastUs, after, key, keyFields } = selection;
  const columns =
    key === null ? [] : open.names.flatMap((name, at) => (keyFields.includes(name) ? [at] : []));
  const keyBytes = utf8.encode(key ?? "");
  const input = allocate(keyBytes.length + columns.length * 4 + 32) >>> 0;
  const columnsAt = input + ((keyBytes.length + 19) & ~3);
  copyIn(core, input, keyBytes);
  copyIn(core, columnsAt, new Uint8Array(Uint32Array.from(columns).buffer));
  const view = new DataView(core.memory.buffer, querySelection() >>> 0, SELECTION_BYTES);
  view.setBigInt64(0, fromUs, true);
  view.setBigInt64(8, lastUs, true);
  view.setBigInt64(16, after?.timeUs ?? 0n, true);
  const { kinds, int, float } = valuesOf(key);
  view.setBigInt64(24, int, true);
  view.setFloat64(32, float, true);
  const skipBelow = Math.min(Math.max(after?.skipBelow ?? 0, 0), MAX_U32);
  const words = [
    Number(after !== null),
    skipBelow,
    Number(key !== null),
    input,
    keyBytes.length,
    columnsAt,
    columns.length,
    kinds,
  ];
  for (const [field, word] of words.entries()) view.setUint32(40 + field * 4, word, true);
  const count = querySelect(open.batch);
  release(input);
  return count;
}

/** The rows of the last `selectRows`. */
export function selectedRows(core: CoreModule, count: number): number[] {
  const at = exportsOf(core).querySelected() >>> 0;
  return [...new Uint32Array(core.memory.buffer, at, count)];
}

/** Values that are no texts but have this one, as a person types it: see `valueText`. */
function valuesOf(key: string | null): {
  readonly kinds: number;
  readonly int: bigint;
  readonly float: number;
} {
  if (key === "true") return { kinds: KIND.true, int: 0n, float: 0 };
  if (key === "false") return { kinds: KIND.false, int: 0n, float: 0 };
  if (key === "null") return { kinds: KIND.notFinite, int: 0n, float: 0 };
  const int = key !== null && /^-?\d{1,19}$/.test(key) ? BigInt(key) : null;
  const isInt = int !== null && String(int) === key && BigInt.asIntN(64, int) === int;
  const float = key === null || key.trim() !== key || key === "" ? Number.NaN : Number(key);
  const isFloat = Number.isFinite(float) && (Object.is(float, -0) ? "-0" : String(float)) === key;
  const kinds = (isInt ? KIND.int : 0) | (isFloat ? KIND.float : 0);
  return { kinds, int: isInt ? int : 0n, float: isFloat ? float : 0 };
}

/** A page of events in the making, in the core's memory: see `assembly/query/page.ts`. */
export class EventPage {
  readonly #core: CoreModule;
  readonly #exports: QueryExports;
  readonly #page: Pointer;

  constructor(core: CoreModule) {
    this.#core = core;
    this.#exports = exportsOf(core);
    this.#page = this.#exports.pageCreate() >>> 0;
  }

  /** At most `limit` rows and about `maxBytes`, but at least one row. */
  begin(limit: number, maxBytes: number): void {
    this.#exports.pageBegin(this.#page, Math.min(limit, MAX_U32), Math.min(maxBytes, MAX_PAGE_BYTES));
  }

  /** Merges the rows that were selected last. */
  add(open: OpenBatch, seq: number, selected: number): void {
    const { pageAdd } = this.#exports;
    const woven = pageAdd(this.#page, open.batch, seq, open.program(), selected);
    if (woven > 0) this.#weave(open);
  }

  /** Rows of the page; the one after it is not counted. */
  get count(): number {
    return this.#exports.pageCount(this.#page) - this.#exports.pageIsFull(this.#page);
  }

  /** The first row known to stand after the page, or null. */
  get bound(): RowPlace | null {
    return this.#exports.pageIsFull(this.#page) === 0 ? null : this.place(this.count);
  }

  place(index: number): RowPlace {
    const view = this.#entry(index);
    return {
      timeUs: view.getBigInt64(ENTRY.time, true),
      seq: view.getFloat64(ENTRY.seq, true),
      row: view.getUint32(ENTRY.row, true),
    };
  }

  /** How many of the page's rows are before a time. */
  countBefore(timeUs: bigint): number {
    return this.#exports.pageCountBefore(this.#page, this.count, timeUs);
  }

  /** How many of the first `count` rows, from the last back, have its time. */
  tail(count: number): number {
    return this.#exports.pageTail(this.#page, count);
  }

  /** The first `count` rows as NDJSON; the page is done. */
  finish(count: number): Uint8Array<ArrayBuffer> {
    const length = this.#exports.pageFinish(this.#page, count);
    return copyOut(this.#core, this.#exports.pageBytes(this.#page), length);
  }

  #entry(index: number): DataView {
    const at = this.#exports.pageEntry(this.#page, index) >>> 0;
    return new DataView(this.#core.memory.buffer, at, ENTRY.bytes);
  }

  #weave(open: OpenBatch): void {
    const { allocate, release, pageSetLine } = this.#exports;
    for (let index = this.count - 1; index >= 0; index--) {
      const entry = this.#entry(index);
      if (entry.getUint32(ENTRY.isWoven, true) === 0) continue;
      const line = utf8.encode(open.weave(entry.getUint32(ENTRY.row, true)));
      const at = allocate(line.length + 1) >>> 0;
      copyIn(this.#core, at, line);
      pageSetLine(this.#page, index, at, line.length);
      release(at);
    }
  }
}
