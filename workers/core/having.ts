import { MillraceError } from "../errors.ts";
import type { QueryPlan, ResultRow } from "../messages.ts";
import { createRowProgram, type RowProgram } from "./expression.ts";
import type { CoreModule } from "./module.ts";
import { batchResults } from "./result-batch.ts";
import type { Windows } from "./window.ts";

/**
 * The windows of a query with `having`: results for which it is not true are not given. When a result was given and a
 * revision of it is no longer true, that revision is given as a retraction.
 */
export function keepHaving(core: CoreModule, plan: QueryPlan, windows: Windows): Windows {
  if (plan.having === undefined) return windows;
  const program = createRowProgram(core, plan.having);
  const given = new GivenResults(plan.latenessUs);
  return {
    ...windows,
    fire: (watermarkUs) => {
      const rows = windows.fire(watermarkUs);
      const holds = evaluate(core, program, rows);
      const passed = rows.flatMap((row, index) => given.pass(row, holds[index]!));
      given.forgetClosed(watermarkUs);
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

/** Which results stand as given, of the windows that may still be revised. */
class GivenResults {
  readonly #latenessUs: number;
  /** Starts and keys by the windows' ends. */
  readonly #byEnd = new Map<number, Set<string>>();

  constructor(latenessUs: number) {
    this.#latenessUs = latenessUs;
  }

  /** What is to be given of a row: itself, its retraction, or nothing. */
  pass(row: ResultRow, isTrue: boolean): ResultRow[] {
    const ids = this.#byEnd.get(row.endUs);
    const id = idOf(row);
    if (isTrue && row.retracted === undefined) {
      if (ids === undefined) this.#byEnd.set(row.endUs, new Set([id]));
      else ids.add(id);
      return [row];
    }
    return ids?.delete(id) ? [{ ...row, retracted: true }] : [];
  }

  forgetClosed(watermarkUs: bigint): void {
    const before = watermarkUs - BigInt(this.#latenessUs);
    for (const endUs of this.#byEnd.keys()) if (BigInt(endUs) <= before) this.#byEnd.delete(endUs);
  }

  /** In an order that does not depend on how they came. */
  list(): GivenResult[] {
    const results = [...this.#byEnd].flatMap(([endUs, ids]) =>
      [...ids].map((id) => {
        const space = id.indexOf(" ");
        return { startUs: Number(id.slice(0, space)), endUs, key: id.slice(space + 1) };
      }),
    );
    return results.toSorted(
      (a, b) => a.endUs - b.endUs || a.startUs - b.startUs || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0),
    );
  }

  replace(results: readonly GivenResult[]): void {
    this.#byEnd.clear();
    for (const result of results) {
      const ids = this.#byEnd.get(result.endUs) ?? new Set();
      this.#byEnd.set(result.endUs, ids.add(idOf(result)));
    }
  }
}

function idOf({ startUs, key }: Pick<GivenResult, "startUs" | "key">): string {
  return `${startUs} ${key}`;
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
  const listed = JSON.parse(Buffer.from(packed.subarray(end)).toString()) as [number, number, string][];
  const results = listed.map(([startUs, endUs, key]) => ({ startUs, endUs, key }));
  return { state: packed.subarray(STATE_HEAD_BYTES, end), results };
}
