import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { budgetOf, predict } from "../../bench/support/stage-budget.ts";

const BUDGET = { mainNs: 100, ingestNs: 200, windowNs: 80, storageNs: 30, otherNs: 40 };
const SHAPE = { cores: 8, ingestWorkers: 7, windowWorkers: 1, clientNs: 0, windowFactor: 1 };

describe("the budget of the stages", () => {
  it("is CPU time by the threads' names, and what is of no stage is other", () => {
    const times = new Map([
      ["MainThread", 100],
      ["ingest", 200],
      ["window", 80],
      ["storage", 30],
      ["V8Worker", 25],
      ["libuv-worker", 15],
    ]);
    const { otherNs, ...stages } = budgetOf(times, 1_000_000);
    assert.deepEqual(stages, { mainNs: 100, ingestNs: 200, windowNs: 80, storageNs: 30 });
    assert.equal(Math.round(otherNs), 40);
  });

  it("ends at the slowest stage", () => {
    assert.deepEqual(predict(BUDGET, SHAPE), { eventsPerSecond: 1e7, limit: "main" });
    const oneLane = { ...SHAPE, ingestWorkers: 1 };
    assert.deepEqual(predict(BUDGET, oneLane), { eventsPerSecond: 5e6, limit: "ingest" });
  });

  it("ends at the cores, which a client may take from", () => {
    // 450 ns of all threads on two cores.
    const two = { ...SHAPE, cores: 2, ingestWorkers: 3 };
    assert.deepEqual(predict(BUDGET, two), { eventsPerSecond: 1e9 / 225, limit: "cores" });
    assert.equal(predict(BUDGET, { ...two, clientNs: 50 }).eventsPerSecond, 4e6);
  });

  it("shares the window stage at the factor that sharing has", () => {
    const heavy = { ...BUDGET, windowNs: 300 };
    assert.deepEqual(predict(heavy, SHAPE), { eventsPerSecond: 1e9 / 300, limit: "window" });
    const shared = { ...SHAPE, windowWorkers: 2, windowFactor: 1.2 };
    assert.deepEqual(predict(heavy, shared), { eventsPerSecond: 1e9 / 180, limit: "window" });
  });
});
