import assert from "node:assert/strict";
import { test } from "node:test";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import { textOf } from "../../workers/packed-rows.ts";
import { unpackResults } from "../../workers/result-rows.ts";
import { packSnapshot } from "../../workers/snapshot.ts";
import { apply, configure, restore } from "../../workers/window.ts";
import { makeOutputs, makePlan, withBatch } from "./window-batch.ts";

test("a whole checkpoint, as earlier releases wrote it, is restored", () => {
  const core = instantiateCore();
  const plan = makePlan({ latenessUs: 0, select: makeOutputs({ n: ["count"], sum: ["sum", "v"] }) });
  const windows = createWindows(core, plan);
  const columns = [
    { name: "device", kind: "text" as const, cells: ["a", "b", "a"] },
    { name: "v", kind: "float" as const, cells: [1, 2, 4] },
  ];
  withBatch(core, { times: [1n, 2n, 3n], columns }, (batch) =>
    windows.merge(createLocal(core, plan).aggregate(batch), 0n),
  );
  const { id: _id, ...definition } = plan;
  const state = packSnapshot([
    {
      stream: plan.stream,
      watermarkUs: 0n,
      maxEventUs: 3n,
      clocks: null,
      queries: [{ name: plan.name, signature: JSON.stringify(definition), state: windows.snapshot() }],
      waiting: null,
    },
  ]);
  const stream = plan.stream;
  configure([
    { stream, boundUs: 0, idleUs: 0, maxSources: 9, per: "stream", key: ["device"], queries: [plan] },
  ]);
  assert.deepEqual(restore({ seq: 7, state }), []);
  const { rows } = apply([{ kind: "watermark", seq: 8, stream, timeUs: "end" }]);
  assert.deepEqual(
    rows
      .flatMap((packed) => unpackResults(textOf(packed)))
      .map(({ key, values }) => [key, values])
      .toSorted(),
    [
      ['{"device":"a"}', '{"n":2,"sum":5}'],
      ['{"device":"b"}', '{"n":1,"sum":2}'],
    ],
  );
});
