import { MillraceError } from "../errors.ts";
import type { QueryPlan, ResultRow } from "../messages.ts";
import { createRowProgram, type RowProgram } from "./expression.ts";
import type { CoreModule } from "./module.ts";
import { batchResults } from "./result-batch.ts";
import type { Windows } from "./window.ts";

/** The watermark before there was any event. */
const BEFORE_ALL_TIME = -(2n ** 63n);

/**
 * The windows of a query with `having`: results for which it is not true are not given. When a result was given and a
 * revision of it is no longer true, that revision is given as a retraction.
 */
export function keepHaving(core: CoreModule, plan: QueryPlan, windows: Windows): Windows {
  if (plan.having === undefined) return windows;
  const program = createRowProgram(core, plan.having);
  const given = new GivenResults(windows.lastClosed === undefined ? plan.latenessUs : null);
  return {
    ...windows,
    fire: (watermarkUs) => {
      const rows = windows.fire(watermarkUs);
      const holds = evaluate(core, program, rows);
      const passed = rows.flatMap((row, index) => given.pass(row, holds[index]!));
      if (windows.lastClosed === undefined) given.forgetClosed(rows, watermarkUs);
      else given.forget(windows.lastClosed());
      return passed;
    },
    snapshot: () => packState(windows.snapshot(), given.list()),
    restore: (snapshot) => {
      const { state, results } = unpackState(snapshot, plan);
      windows.restore(state);
      given.replace(results);
    },
    dispose: () => {
      windows.dispose();
      program.dispose();
    },
  };
}

function evaluate(core: CoreModule, program: RowProgram, rows: readonly ResultRow[]): boolean[] {
  const holds = rows.map(() => false);
  const { batchDispose } = core.exports as unknown as { batchDispose(batch: number): void };
  for (const { batch, indexes } of batchResults(core, rows, program.inputs)) {
    const mask = program.mask(batch);
    indexes.forEach((index, row) => {
      holds[index] = mask[row] === 1;
    });
    batchDispose(batch);
  }
  return holds;
}

interface GivenResult {
  readonly startUs: number;
  readonly endUs: number;
  readonly key: string;
}

/** Closed windows are looked for when there are this many results, or twice as many as were left the last time. */
const FIRST_SWEEP = 1_024;

/** Which results stand as given, of the windows that may still be revised. */
class GivenResults {
  readonly #latenessUs: number | null;
  /** By key, the windows' ends by their starts and ends. */
  readonly #byKey = new Map<string, Map<string, number>>();
  #count = 0;
  #sweepAt = FIRST_SWEEP;
  #watermarkUs = BEFORE_ALL_TIME;

  /** Without a lateness, `forget` tells which windows are closed. */
  constructor(latenessUs: number | null) {
    this.#latenessUs = latenessUs;
  }

  /** What is to be given of a row: itself, its retraction, or nothing. */
  pass(row: ResultRow, isTrue: boolean): ResultRow[] {
    if (isTrue && row.retracted === undefined) {
      this.#add(row);
      return [row];
    }
    return this.#delete(row) ? [{ ...row, values: "{}", retracted: true }] : [];
  }

  /** Forgets windows that can give nothing more. */
  forget(closed: readonly GivenResult[]): void {
    for (const window of closed) this.#delete(window);
  }

  /**
   * Forgets windows that can give nothing more: those that the watermark has closed, and those of a key that the key's own
   * clock has, which is at least at the end of any window that it lets fire.
   */
  forgetClosed(rows: readonly ResultRow[], watermarkUs: bigint): void {
    const latenessUs = this.#latenessUs ?? 0;
    for (const { key, endUs, kind } of rows) if (kind !== "early") this.#forget(key, endUs - latenessUs);
    this.#watermarkUs = watermarkUs;
    if (this.#count <= this.#sweepAt) return;
    this.#sweep();
    this.#sweepAt = Math.max(FIRST_SWEEP, 2 * this.#count);
  }

  /** In an order that does not depend on how they came. */
  list(): GivenResult[] {
    this.#sweep();
    const results = [...this.#byKey].flatMap(([key, windows]) =>
      [...windows].map(([id, endUs]) => ({ startUs: Number(id.slice(0, id.indexOf(" "))), endUs, key })),
    );
    return results.toSorted(
      (a, b) => a.endUs - b.endUs || a.startUs - b.startUs || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0),
    );
  }

  replace(results: readonly GivenResult[]): void {
    this.#byKey.clear();
    this.#count = 0;
    for (const result of results) this.#add(result);
  }

  #add({ startUs, endUs, key }: GivenResult): void {
    const windows = this.#byKey.get(key) ?? new Map<string, number>();
    const before = windows.size;
    windows.set(`${startUs} ${endUs}`, endUs);
    this.#count += windows.size - before;
    this.#byKey.set(key, windows);
  }

  /** Whether it stood as given. */
  #delete({ startUs, endUs, key }: GivenResult): boolean {
    const windows = this.#byKey.get(key);
    if (windows?.delete(`${startUs} ${endUs}`) !== true) return false;
    this.#count--;
    if (windows.size === 0) this.#byKey.delete(key);
    return true;
  }

  #forget(key: string, closedUs: number): void {
    const windows = this.#byKey.get(key);
    if (windows === undefined) return;
    for (const [id, endUs] of windows) if (endUs <= closedUs && windows.delete(id)) this.#count--;
    if (windows.size === 0) this.#byKey.delete(key);
  }

  #sweep(): void {
    if (this.#latenessUs === null || this.#watermarkUs === BEFORE_ALL_TIME) return;
    const closedUs = Number(this.#watermarkUs) - this.#latenessUs;
    for (const key of this.#byKey.keys()) this.#forget(key, closedUs);
  }
}

/** Version and length of the windows' own snapshot, u32 each; then that, then the given results as JSON. */
const STATE_VERSION = 1;
const STATE_HEAD_BYTES = 8;

function packState(state: Uint8Array, results: readonly GivenResult[]): Uint8Array<ArrayBuffer> {
  const listed = Buffer.from(JSON.stringify(results.map(({ startUs, endUs, key }) => [startUs, endUs, key])));
  const packed = new Uint8Array(STATE_HEAD_BYTES + state.length + listed.length);
  const view = new DataView(packed.buffer);
  view.setUint32(0, STATE_VERSION, true);
  view.setUint32(4, state.length, true);
  packed.set(state, STATE_HEAD_BYTES);
  packed.set(listed, STATE_HEAD_BYTES + state.length);
  return packed;
}

function unpackState(packed: Uint8Array, plan: QueryPlan): { state: Uint8Array; results: GivenResult[] } {
  const damaged = (): never => {
    throw new MillraceError(
      "E_CHECKPOINT_VERSION",
      `the saved results of ${plan.name} are of another release`,
    );
  };
  if (packed.length < STATE_HEAD_BYTES) return damaged();
  const view = new DataView(packed.buffer, packed.byteOffset, STATE_HEAD_BYTES);
  const end = STATE_HEAD_BYTES + view.getUint32(4, true);
  if (view.getUint32(0, true) !== STATE_VERSION || end > packed.length) return damaged();
  let listed: readonly [number, number, string][];
  try {
    listed = JSON.parse(Buffer.from(packed.subarray(end)).toString()) as [number, number, string][];
  } catch {
    return damaged();
  }
  const results = listed.map(([startUs, endUs, key]) => ({ startUs, endUs, key }));
  return { state: packed.subarray(STATE_HEAD_BYTES, end), results };
}
