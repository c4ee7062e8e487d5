import { MillraceError } from "../errors.ts";
import type { QueryPlan, ResultRow } from "../messages.ts";
import { createRowProgram, type RowProgram } from "./expression.ts";
import { GivenResults } from "./given-results.ts";
import type { CoreModule } from "./module.ts";
import { fireAtOnce, type Portion } from "./portion.ts";
import { batchResults } from "./result-batch.ts";
import type { Windows } from "./window.ts";

/**
 * The windows of a query with `having`: results for which it is not true are not given. When a result was given and a
 * revision of it is no longer true, that revision is given as a retraction. In the snapshot, what was given stands in the
 * order in which it was.
 */
export function keepHaving(core: CoreModule, plan: QueryPlan, windows: Windows): Windows {
  if (plan.having === undefined) return windows;
  const program = createRowProgram(core, plan.having);
  const given = new GivenResults();
  const latenessUs = BigInt(plan.latenessUs);
  function* portions(watermarkUs: bigint, limit?: Portion): Generator<ResultRow[]> {
    // What ends by then gives no other row after this one.
    const finalUs = windows.lastClosed === undefined ? watermarkUs - latenessUs : null;
    const lastUs = finalUs === null ? Number.NEGATIVE_INFINITY : Number(finalUs);
    for (const rows of windows.portions(watermarkUs, limit)) {
      const holds = evaluate(core, program, rows);
      const passed = rows.flatMap((row, index) => given.pass(row, holds[index] === 1, lastUs) ?? []);
      if (windows.lastClosed !== undefined) given.forget(windows.lastClosed());
      yield passed;
    }
    if (finalUs !== null) given.forgetUntil(finalUs);
  }
  return {
    ...windows,
    fire: (watermarkUs) => fireAtOnce(portions, watermarkUs),
    portions,
    snapshot: () => packState(windows.snapshot(), given.write()),
    restore: (snapshot) => {
      const { state, results } = unpackState(snapshot, plan);
      windows.restore(state);
      given.read(results);
    },
    // What was given is told at once: it is text, and few results have it where most do not pass.
    capture: {
      ...windows.capture,
      begin: (kind, limits) => packState(windows.capture.begin(kind, limits), given.write()),
    },
    adoption: {
      ...windows.adoption,
      isWhole: (head) => windows.adoption.isWhole(unpackState(head, plan).state),
      begin: (head) => {
        const { state, results } = unpackState(head, plan);
        windows.adoption.begin(state);
        given.read(results);
      },
      head: (head) => windows.adoption.head(unpackState(head, plan).state),
    },
    dispose: () => {
      windows.dispose();
      program.dispose();
    },
  };
}

/** By row, 1 where it is true. */
export function evaluate(core: CoreModule, program: RowProgram, rows: readonly ResultRow[]): Uint8Array {
  const holds = new Uint8Array(rows.length);
  const { batchDispose } = core.exports as unknown as { batchDispose(batch: number): void };
  for (const { batch, indexes } of batchResults(core, rows, program.inputs)) {
    const mask = program.mask(batch);
    indexes.forEach((index, row) => {
      holds[index] = mask[row]!;
    });
    batchDispose(batch);
  }
  return holds;
}

/** Version and length of the windows' own snapshot, u32 each; then that, then the given results. */
const STATE_VERSION = 1;
const STATE_HEAD_BYTES = 8;

function packState(state: Uint8Array, results: Uint8Array): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(STATE_HEAD_BYTES + state.length + results.length);
  const view = new DataView(packed.buffer);
  view.setUint32(0, STATE_VERSION, true);
  view.setUint32(4, state.length, true);
  packed.set(state, STATE_HEAD_BYTES);
  packed.set(results, STATE_HEAD_BYTES + state.length);
  return packed;
}

function unpackState(packed: Uint8Array, plan: QueryPlan): { state: Uint8Array; results: Uint8Array } {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const isKnown = packed.length >= STATE_HEAD_BYTES && view.getUint32(0, true) === STATE_VERSION;
  const end = isKnown ? STATE_HEAD_BYTES + view.getUint32(4, true) : 0;
  if (isKnown && end <= packed.length)
    return { state: packed.subarray(STATE_HEAD_BYTES, end), results: packed.subarray(end) };
  throw new MillraceError("E_CHECKPOINT_VERSION", `the saved results of ${plan.name} are of another release`);
}
