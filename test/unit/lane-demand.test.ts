import assert from "node:assert/strict";
import { test } from "node:test";
import { type Demand, LaneDemand } from "../../host/pipeline/lane-demand.ts";

/** A second of `lanes` lanes with so many tasks for the first part of it, and none for the rest. */
function second(demand: LaneDemand, atMs: number, lanes: number, tasks: number, share: number): Demand {
  const told = [demand.note(atMs, lanes, tasks), demand.note(atMs + 1_000 * share, lanes, 0)];
  assert.deepEqual(told, ["enough", "enough"], "nothing is decided within a period");
  return demand.note(atMs + 1_000, lanes, 0);
}

test("one lane more is wanted when tasks wait for one another for a quarter of the time", () => {
  assert.equal(second(new LaneDemand(), 0, 1, 2, 0.25), "more");
  assert.equal(second(new LaneDemand(), 0, 1, 2, 0.24), "enough");
  assert.equal(second(new LaneDemand(), 0, 2, 3, 0.5), "more");
});

test("a lane that is always busy is enough while nothing waits for it", () => {
  assert.equal(second(new LaneDemand(), 0, 1, 1, 0.99), "enough");
  assert.equal(second(new LaneDemand(), 0, 2, 2, 0.99), "enough");
});

test("many tasks that come at once and are soon done want no lane", () => {
  const demand = new LaneDemand();
  for (let at = 0; at < 10_000; at += 1_000) assert.equal(second(demand, at, 1, 500, 0.2), "enough");
});

test("a lane more than needed is told of after 20 seconds of it in a row, and then after 20 more", () => {
  const demand = new LaneDemand();
  const told = Array.from({ length: 60 }, (_, at) => second(demand, at * 1_000, 2, 1, 0.29));
  assert.deepEqual(
    told.flatMap((each, at) => (each === "enough" ? [] : [[at, each]])),
    [
      [19, "fewer"],
      [39, "fewer"],
      [59, "fewer"],
    ],
  );
});

test("one second of work begins the 20 anew, and the only lane is never too many", () => {
  const demand = new LaneDemand();
  const told = Array.from({ length: 39 }, (_, at) => second(demand, at * 1_000, 2, 1, at === 19 ? 0.5 : 0));
  assert.ok(told.every((each) => each === "enough"));
  const alone = new LaneDemand();
  for (let at = 0; at < 100_000; at += 1_000) assert.equal(alone.note(at, 1, 0), "enough");
});

test("a long time without tasks is one period in which nothing waited", () => {
  const demand = new LaneDemand();
  demand.note(0, 1, 5);
  demand.note(200, 1, 0);
  assert.equal(demand.note(100_000, 1, 5), "enough");
  assert.equal(demand.note(101_000, 1, 5), "more");
});
