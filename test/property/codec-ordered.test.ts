import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeBlock, encodeOrdered, newBatch, resetBatch } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { type BatchModel, batchModel, fill, fleetModel, read } from "./codec-model.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 200);
const core = instantiateCore();
const into = newBatch(core);
const { batchDispose } = core.exports as unknown as { batchDispose(batch: number): void };

function ordered(model: BatchModel, parts: readonly number[]): BatchModel {
  const batch = fill(core, model);
  const block = encodeOrdered(core, batch, "s", parts);
  batchDispose(batch);
  resetBatch(core, into);
  decodeBlock(core, block, into);
  return read(core, into);
}

/** Cuts a number of rows into parts, some of them empty. */
function partsOf(rows: number, cuts: readonly number[]): number[] {
  const ends = [...cuts.map((cut) => cut % (rows + 1)), rows].sort((a, b) => a - b);
  return ends.map((end, index) => end - (ends[index - 1] ?? 0));
}

/** Each row as a text, without what stands in for columns that have no values. */
function rowTexts({ times, flags, columns, extra }: BatchModel): string[] {
  return times.map((time, row) =>
    JSON.stringify([time, flags[row], ...columns.map(({ values }) => values[row]), extra[row]], (_, value) =>
      typeof value === "bigint" ? `${value}n` : (value as unknown),
    ),
  );
}

test("without parts a block written as small as it can be equals its batch to the bit", () => {
  fc.assert(
    fc.property(batchModel, (model) => assert.deepEqual(ordered(model, []), model)),
    { numRuns: RUNS },
  );
  fc.assert(
    fc.property(fleetModel, (model) => assert.deepEqual(ordered(model, []), model)),
    { numRuns: Math.ceil(RUNS / 10) },
  );
});

test("rows stay whole and in their part, by time there, and those of a time and key in their order", () => {
  const check = (model: BatchModel, cuts: readonly number[]): void => {
    const parts = partsOf(model.times.length, cuts);
    const found = ordered(model, parts);
    const [before, after] = [rowTexts(model), rowTexts(found)];
    const key = model.columns.find(
      ({ type, values }) => type === "string" && values.every((value) => value !== null),
    );
    let from = 0;
    for (const count of parts) {
      const rows = before.slice(from, from + count);
      assert.deepEqual(after.slice(from, from + count).sort(), [...rows].sort());
      const times = found.times.slice(from, from + count);
      assert.deepEqual(
        times,
        [...times].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
      );
      // Of each time and key, the rows as they were.
      const listOf = (at: BatchModel, texts: readonly string[]): Map<string, string[]> => {
        const lists = new Map<string, string[]>();
        const keys = at.columns.find(({ name }) => name === key?.name)?.values ?? [];
        for (let row = from; row < from + count; row++) {
          const name = `${at.times[row]} ${String(keys[row] ?? "")}`;
          lists.set(name, [...(lists.get(name) ?? []), texts[row]!]);
        }
        return lists;
      };
      const [wanted, got] = [listOf(model, before), listOf(found, after)];
      for (const [name, list] of wanted) assert.deepEqual(got.get(name), list);
      from += count;
    }
  };
  const cuts = fc.array(fc.nat({ max: 10_000 }), { maxLength: 4 });
  fc.assert(fc.property(batchModel, cuts, check), { numRuns: RUNS });
  fc.assert(fc.property(fleetModel, cuts, check), { numRuns: Math.ceil(RUNS / 20) });
});
