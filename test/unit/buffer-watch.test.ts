import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { pino } from "pino";

import { BufferWatch, type WatchParts } from "../../host/pipeline/buffer-watch.ts";
import type { BufferReport } from "../../workers/store/buffer-operations.ts";
import { testConfig } from "./api-fixture.ts";

const CALM: BufferReport = {
  usedBytes: 1,
  capBytes: 100,
  capacityBytes: 100,
  databaseBytes: 1,
  freeBytes: 0,
  walBytes: 0,
  reserveBytes: 0,
  fixedBytes: 0,
  diskFreeBytes: 100,
  level: "normal",
  levels: [],
  isFull: false,
  ledgers: [],
  removed: [],
  losses: 0,
  lastLoss: 0,
  hasMore: false,
  wantsDownsampling: false,
  wantsCheckpoint: false,
};

/** A watch over a storage thread that answers `report`, on a clock that only `pass` moves. */
async function watchOver(t: TestContext, onLook: () => void = () => undefined) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const state = { calls: 0, looks: 0, ms: 0, config: testConfig(), report: CALM };
  const storage = {
    get calls() {
      return state.calls;
    },
    maintain: async () => {
      state.calls++;
      state.looks++;
      onLook();
      return state.report;
    },
  };
  const engine = { config: () => state.config, forgetBlocks: () => undefined };
  const clock = { nowUs: () => state.ms * 1_000, monotonicMs: () => state.ms };
  const parts = { storage, engine, clock, log: pino({ enabled: false }) };
  const watch = await BufferWatch.start(parts as unknown as WatchParts);
  t.after(() => watch.close());
  /** How many looks there are within so many seconds. */
  const pass = async (seconds: number): Promise<number> => {
    const before = state.looks;
    for (let i = 0; i < seconds * 10; i++) {
      state.ms += 100;
      t.mock.timers.tick(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return state.looks - before;
  };
  return { state, pass };
}

test("a buffer that nobody writes to is looked at every five seconds", async (t) => {
  const { pass } = await watchOver(t);
  assert.equal(await pass(60), 12);
});

test("whatever is asked of the storage thread has the buffer looked at within a second", async (t) => {
  const { state, pass } = await watchOver(t);
  await pass(7);
  state.calls++;
  assert.equal(await pass(1), 1);
  assert.equal(await pass(3), 0);
});

test("what is asked during a look, and so done behind it, has the buffer looked at again", async (t) => {
  const asking = { is: false };
  const { state, pass } = await watchOver(t, () => {
    if (asking.is) state.calls++;
    asking.is = false;
  });
  asking.is = true;
  await pass(5);
  assert.equal(asking.is, false);
  assert.equal(await pass(1), 1);
});

test("another configuration has the buffer looked at within a second", async (t) => {
  const { state, pass } = await watchOver(t);
  await pass(7);
  state.config = { ...state.config };
  assert.equal(await pass(1), 1);
});

test("a buffer that is not calm is looked at as often as before, whoever writes", async (t) => {
  const { state, pass } = await watchOver(t);
  state.report = { ...CALM, level: "evict", levels: ["evict"] };
  await pass(7);
  assert.equal(await pass(10), 50);
  state.report = { ...CALM, levels: ["normal"], hasMore: true };
  await pass(1);
  // With a clock that moves by 100 ms, one that is due after 20 comes with each.
  assert.equal(await pass(1), 10);
});
