import { makeBatch } from "../../test/unit/window-batch.ts";
import type { BatchHandle } from "../../workers/core/codec.ts";
import { type CoreModule, copyIn } from "../../workers/core/module.ts";

interface BatchExports {
  allocate(length: number): number;
  release(pointer: number): void;
  batchTimes(batch: BatchHandle): number;
  batchColumn(batch: BatchHandle, index: number): number;
  batchIntern(batch: BatchHandle, column: number, text: number, length: number): number;
  batchKeepTexts(batch: BatchHandle): void;
  batchDispose(batch: BatchHandle): void;
}

/** Offset of `cells` in the core's `Column`. */
const CELLS_OFFSET = 16;
/** Time from one event of a batch to the next. */
const STEP_US = 1_000n;

/** Batches of a fleet that take turns in one place with one set of texts, as those of a lane's parser do. */
export interface FleetBatches {
  readonly count: number;
  /** Puts a batch into the place; the one before is gone. */
  load(index: number): BatchHandle;
  dispose(): void;
}

export interface FleetShape {
  readonly keys: number;
  readonly events: number;
  readonly batches: number;
  /** Of floats. */
  readonly fields: readonly string[];
  /** Each batch begins where the one before ended; default false: all at one time. */
  readonly goesOn?: boolean;
}

/** Batches of events of devices drawn at random, with a value of two decimals from 20 to 30 in each field. */
export function makeFleetBatches(
  core: CoreModule,
  { keys, events, batches, fields, goesOn = false }: FleetShape,
  random: () => number,
): FleetBatches {
  const exports = core.exports as unknown as BatchExports;
  const rows = Array.from({ length: events }, (_, row) => row);
  const batch = makeBatch(core, {
    times: rows.map((row) => BigInt(row) * STEP_US),
    columns: [
      { name: "device", kind: "text", cells: rows.map((row) => `device-${row % keys}`) },
      ...fields.map((name) => ({ name, kind: "float" as const, cells: rows.map(() => 0.5) })),
    ],
  });
  const ids = Array.from({ length: keys }, (_, key) => intern(core, batch, `device-${key}`));
  exports.batchKeepTexts(batch);
  const contents = Array.from({ length: batches }, () => [
    BigUint64Array.from(rows, () => BigInt(ids[Math.floor(random() * keys)] ?? 0)),
    ...fields.map(() => Float64Array.from(rows, () => Math.round((20 + random() * 10) * 100) / 100)),
  ]);
  const batchUs = BigInt(events) * STEP_US;
  return {
    count: batches,
    load: (index) => {
      if (goesOn) {
        const times = BigInt64Array.from(rows, (row) => BigInt(index) * batchUs + BigInt(row) * STEP_US);
        copyIn(core, exports.batchTimes(batch) >>> 0, new Uint8Array(times.buffer));
      }
      contents[index]?.forEach((cells, column) => {
        const at = new DataView(core.memory.buffer, exports.batchColumn(batch, column) >>> 0);
        copyIn(core, at.getUint32(CELLS_OFFSET, true), new Uint8Array(cells.buffer));
      });
      return batch;
    },
    dispose: () => exports.batchDispose(batch),
  };
}

function intern(core: CoreModule, batch: BatchHandle, text: string): number {
  const { allocate, release, batchIntern } = core.exports as unknown as BatchExports;
  const bytes = new TextEncoder().encode(text);
  const at = allocate(bytes.length + 16) >>> 0;
  copyIn(core, at, bytes);
  const id = batchIntern(batch, 0, at, bytes.length);
  release(at);
  return id;
}
