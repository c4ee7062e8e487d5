import assert from "node:assert/strict";
import { test } from "node:test";
import { instantiateCore } from "../../workers/core/module.ts";
import { createSourceClocks, createSummarizer } from "../../workers/core/source-clocks.ts";
import { type ColumnKind, withBatch } from "./window-batch.ts";

const core = instantiateCore();

/** The devices of a batch with one column, as they are named. */
function devicesOf(
  key: readonly string[],
  name: string,
  kind: ColumnKind,
  cells: readonly (null | boolean | number | bigint | string)[],
): (string | null)[] {
  const clocks = createSourceClocks(core, key);
  clocks.configure({ boundUs: 0, idleUs: 10, isPerSource: true, maxSources: 100 });
  const rows = {
    times: cells.map((_, index) => BigInt(index) * 1_000_000n),
    columns: [{ name, kind, cells }],
  };
  const summary = withBatch(core, rows, (batch) => createSummarizer(core, key).summarize(batch, 0));
  clocks.merge(summary, 0, 0n);
  // The furthest ahead first: the last row.
  return clocks
    .furthestAhead(100)
    .map(({ device }) => device)
    .toReversed();
}

test("devices are named by their key's value, whatever its type", () => {
  const cells = ['q"\n', "", "ü:{}", "null", null];
  assert.deepEqual(devicesOf(["device"], "device", "text", cells), cells);
  assert.deepEqual(devicesOf(["device", "id"], "id", "int", [7n, 2n ** 63n - 1n, null]), [
    "7",
    "9223372036854775807",
    null,
  ]);
  assert.deepEqual(devicesOf(['a":b'], 'a":b', "float", [0.5, 7, null]), ["0.5", "7", null]);
  assert.deepEqual(devicesOf(["device"], "device", "bool", [true, false]), ["true", "false"]);
});

test("without a key there is one source, with no name", () => {
  assert.deepEqual(devicesOf(["device", "id"], "temp", "float", [1, 2, 3]), [null]);
  assert.deepEqual(devicesOf([], "temp", "float", [1, 2, 3]), [null]);
});

test("before the first event there is no watermark, and nothing to report", () => {
  const clocks = createSourceClocks(core, ["k"]);
  clocks.configure({ boundUs: 5, idleUs: 10, isPerSource: true, maxSources: 2 });
  clocks.tick(100, false);
  assert.deepEqual([clocks.watermarkUs(), clocks.wouldMove(1_000, 0n)], [-(2n ** 63n), false]);
  assert.deepEqual([clocks.slowest(), clocks.furthestAhead(5), clocks.mostSkewed()], [undefined, [], []]);
  assert.equal(clocks.stats().sources, 0);
});
