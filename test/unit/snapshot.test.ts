import assert from "node:assert/strict";
import { test } from "node:test";
import { instantiateCore } from "../../workers/core/module.ts";
import { createSourceClocks, createSummarizer, type SourceClocks } from "../../workers/core/source-clocks.ts";
import { packSnapshot, type SnapshotPart, unpackSnapshot } from "../../workers/snapshot.ts";
import { withEvents } from "../support/clock-batch.ts";

const part: SnapshotPart = {
  stream: "s",
  watermarkUs: -(2n ** 63n),
  maxEventUs: 2n ** 60n,
  clocks: { key: ["device", "id"], state: Uint8Array.of(1, 2, 3) },
  queries: [
    { name: "q", signature: "{}", state: Uint8Array.of(9) },
    { name: "r", signature: "[]", state: new Uint8Array(0) },
  ],
  waiting: null,
};
const plain = (parts: readonly SnapshotPart[]): unknown =>
  parts.map(({ clocks, queries, waiting, ...rest }) => ({
    ...rest,
    waiting: waiting === null ? null : [...waiting],
    clocks: clocks === null ? null : { key: clocks.key, state: [...clocks.state] },
    queries: queries.map((query) => ({ ...query, state: [...query.state] })),
  }));

test("a snapshot holds streams, clocks and queries as they were", () => {
  const parts = [part, { ...part, stream: "t", queries: [], waiting: Uint8Array.of(4, 5) }];
  assert.deepEqual(plain(unpackSnapshot(packSnapshot(parts))), plain(parts));
});

test("a checkpoint of version 1 has no clocks; one of a later version is refused", () => {
  const bytes = packSnapshot([{ ...part, clocks: null }]);
  const version = new DataView(bytes.buffer);
  version.setUint32(0, 1, true);
  assert.deepEqual(plain(unpackSnapshot(bytes)), plain([{ ...part, clocks: null }]));
  version.setUint32(0, 4, true);
  assert.throws(() => unpackSnapshot(bytes), { code: "E_CHECKPOINT_VERSION" });
});

test("clocks that are damaged or of another version are refused, and those there are stay", () => {
  const core = instantiateCore();
  const make = (): SourceClocks => {
    const clocks = createSourceClocks(core, ["k"]);
    clocks.configure({ boundUs: 0, idleUs: 10, isPerSource: true, maxSources: 10 });
    return clocks;
  };
  const events = ["a", "b"].map((source, n) => ({ source, timeUs: n * 5, isSkewed: false }));
  const summary = withEvents(core, events, (batch) => createSummarizer(core, ["k"]).summarize(batch, 7));
  const clocks = make();
  clocks.merge(summary, 7, 0n);
  const state = clocks.snapshot();
  const restored = make();
  restored.restore(state);
  for (let at = 0; at < state.length; at++) {
    const damaged = state.slice();
    damaged[at]! ^= 0x20;
    assert.throws(() => restored.restore(damaged), { code: "E_CHECKPOINT_VERSION" });
    assert.throws(() => restored.restore(state.slice(0, at)), { code: "E_CHECKPOINT_VERSION" });
  }
  assert.deepEqual(restored.snapshot(), state);
  assert.equal(restored.watermarkUs(), 0n);
  for (const bytes of [new Uint8Array(0), new Uint8Array(8).fill(9)])
    assert.throws(() => restored.merge(bytes, 7, 0n), { code: "E_PARTIAL_VERSION" });
});
