import assert from "node:assert/strict";
import { test } from "node:test";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../../workers/core/window.ts";
import type { QueryPlan, ResultRow } from "../../workers/messages.ts";
import { explainRefusal } from "../../workers/query/correctable.ts";
import { makeOutputs, makePlan, type Rows, withBatch } from "./window-batch.ts";

const core = instantiateCore();
const NEVER_US = -(2n ** 63n);
const SELECT = makeOutputs({ n: ["count"], sum: ["sum", "v"] });
const SESSION = { kind: "session", gapUs: 10 } as const;

interface Engine {
  readonly local: LocalAggregator;
  windows: Windows;
  readonly plan: QueryPlan;
  /** Merges events (device, time in µs, value) under the watermark, then fires under the next one. */
  step(watermarkUs: number | null, ...events: readonly (readonly [string, number, number?])[]): string[];
  /** Late events so far. */
  late: number;
}

function makeEngine(settings: Partial<QueryPlan>): Engine {
  const plan = makePlan({ select: SELECT, ...settings });
  const local = createLocal(core, plan);
  let watermark = NEVER_US;
  const engine: Engine = {
    local,
    windows: createWindows(core, plan),
    plan,
    late: 0,
    step: (watermarkUs, ...events) => {
      if (events.length > 0) engine.late += merge(engine, watermark, events);
      if (watermarkUs !== null) watermark = BigInt(watermarkUs);
      return brief(engine.windows.fire(watermark));
    },
  };
  return engine;
}

function merge(
  { local, windows }: Engine,
  watermark: bigint,
  events: readonly (readonly [string, number, number?])[],
): number {
  const rows: Rows = {
    times: events.map(([, time]) => BigInt(time)),
    columns: [
      { name: "device", kind: "text", cells: events.map(([device]) => device) },
      { name: "v", kind: "float", cells: events.map(([, , v]) => v ?? null) },
    ],
  };
  return withBatch(core, rows, (batch) => {
    const { lateGroups, lateCount } = windows.merge(local.aggregate(batch), watermark);
    const marked =
      lateGroups === null ? [] : [...local.maskLate(batch, lateGroups)].filter((mark) => mark === 1);
    assert.equal(marked.length, lateCount);
    return lateCount;
  });
}

function brief(rows: readonly ResultRow[]): string[] {
  return rows
    .map(({ startUs, endUs, key, values, revision, kind, retracted }) => {
      const { device } = JSON.parse(key) as { device: string };
      const { n, sum } = JSON.parse(values) as { n?: number; sum?: number };
      const what = retracted ? "retracted" : `n=${n} sum=${sum}`;
      return `${device} ${startUs}-${endUs} ${what} #${revision} ${kind}`;
    })
    .toSorted();
}

test("a session is from its first event to a gap after its last; a gap is enough to part two", () => {
  const { step } = makeEngine({ window: SESSION });
  assert.deepEqual(step(0, ["a", 0, 1], ["a", 9, 2], ["a", 19, 4], ["b", 5, 8]), []);
  assert.deepEqual(step(18), ["b 5-15 n=1 sum=8 #0 on-time"]);
  assert.deepEqual(step(19), ["a 0-19 n=2 sum=3 #0 on-time"]);
  assert.deepEqual(step(29), ["a 19-29 n=1 sum=4 #0 on-time"]);
});

test("an event between two sessions joins them, and both rows that were shown are retracted", () => {
  const engine = makeEngine({ window: SESSION, latenessUs: 100 });
  const { step } = engine;
  assert.deepEqual(step(30, ["a", 0, 1], ["a", 15, 2]), [
    "a 0-10 n=1 sum=1 #0 on-time",
    "a 15-25 n=1 sum=2 #0 on-time",
  ]);
  assert.deepEqual(step(30, ["a", 8, 4]), [
    "a 0-10 retracted #1 late",
    "a 0-25 n=3 sum=7 #0 late",
    "a 15-25 retracted #1 late",
  ]);
  assert.deepEqual(step(30, ["a", 3, 1]), ["a 0-25 n=4 sum=8 #1 late"], "no bounds moved: a revision");
  assert.deepEqual(engine.windows.stats().groups, 1);
});

test("a session that grows beyond the watermark keeps its old row until it is shown anew", () => {
  const { step } = makeEngine({ window: SESSION, latenessUs: 100 });
  assert.deepEqual(step(10, ["a", 0, 1]), ["a 0-10 n=1 sum=1 #0 on-time"]);
  assert.deepEqual(step(10, ["a", 5, 2]), []);
  assert.deepEqual(step(15), ["a 0-10 retracted #1 late", "a 0-15 n=2 sum=3 #0 on-time"]);
});

test("a session event is late when it joins no open session and its own window is closed", () => {
  const engine = makeEngine({ window: SESSION, latenessUs: 5 });
  engine.step(30, ["a", 20, 1]);
  // Its own window ended at 12, and closed at 17; but the session from 20 on is near, and still open.
  assert.deepEqual(engine.step(30, ["a", 12, 2]), ["a 12-30 n=2 sum=3 #0 late", "a 20-30 retracted #1 late"]);
  assert.deepEqual(engine.step(30, ["a", 2, 4], ["b", 12, 4]), []);
  assert.equal(engine.late, 2);
  engine.step(35);
  engine.step(35, ["a", 20, 1]);
  assert.equal(engine.late, 3, "the session is closed");
});

test("what comes in one block comes at once: the order of its rows decides nothing", () => {
  const blocks = [
    [["a", 12, 2] as const, ["a", 5, 1] as const],
    [["a", 5, 1] as const, ["a", 12, 2] as const],
  ];
  for (const block of blocks) {
    const engine = makeEngine({ window: SESSION });
    engine.step(24, ["a", 20, 1]);
    engine.step(24, ...block);
    assert.equal(engine.late, 0);
    assert.deepEqual(engine.step(30), ["a 5-30 n=3 sum=4 #0 on-time"]);
  }
});

test("counts go by event time, whatever the order of arrival, once the watermark has passed", () => {
  const engine = makeEngine({ window: { kind: "count", size: 2 } });
  const { step } = engine;
  assert.deepEqual(step(5, ["a", 9, 8], ["a", 1, 1], ["a", 5, 4]), []);
  assert.deepEqual(step(5, ["a", 7, 2], ["a", 4, 100]), []);
  assert.equal(engine.late, 1, "4 is before the watermark");
  assert.deepEqual(step(6), ["a 1-5 n=2 sum=5 #0 on-time"]);
  assert.deepEqual(step(9), []);
  assert.deepEqual(step(10), ["a 7-9 n=2 sum=10 #0 on-time"]);
  assert.deepEqual(engine.windows.stats().groups, 0);
  assert.equal(engine.windows.lastEndUs(), null);
});

// Of equal times the order is that of the values' bytes, little-endian: 2, 3, 4, 9, 1.
test("full windows of one instant have revisions of their own", () => {
  const { step } = makeEngine({ window: { kind: "count", size: 2 } });
  assert.deepEqual(step(6, ["a", 5, 4], ["a", 5, 1], ["a", 5, 2], ["a", 5, 3], ["a", 5, 9]), [
    "a 5-5 n=2 sum=13 #1 on-time",
    "a 5-5 n=2 sum=5 #0 on-time",
  ]);
  assert.deepEqual(step(9, ["a", 8, 1]), ["a 5-8 n=2 sum=2 #0 on-time"], "the rest waited");
});

test("the end of the stream shows all count windows that are full, and no other", () => {
  const { step, windows } = makeEngine({ window: { kind: "count", size: 2 } });
  step(0, ["a", 1, 1], ["a", 2, 1], ["a", 3, 1]);
  assert.equal(windows.lastEndUs(), 4n);
  assert.deepEqual(step(4), ["a 1-2 n=2 sum=2 #0 on-time"]);
  assert.deepEqual(step(9, ["a", 7, 1]), ["a 3-7 n=2 sum=2 #0 on-time"]);
});

test("a count that is filling is shown early, of what the clock has passed, until more is in it", () => {
  const { step } = makeEngine({ window: { kind: "count", size: 3 }, earlyUs: 10 });
  step(0);
  assert.deepEqual(step(9, ["a", 1, 1], ["a", 12, 2], ["b", 3, 9]), [], "no multiple of 10 is passed");
  assert.deepEqual(step(11), ["a 1-1 n=1 sum=1 #0 early", "b 3-3 n=1 sum=9 #0 early"]);
  assert.deepEqual(step(15), [], "another event is in it, and no multiple is passed");
  assert.deepEqual(step(20), ["a 1-1 retracted #1 early", "a 1-12 n=2 sum=3 #0 early"]);
  assert.deepEqual(step(30), [], "nothing has changed");
  assert.deepEqual(step(42, ["a", 40, 4], ["a", 41, 8]), [
    "a 1-12 retracted #1 early",
    "a 1-40 n=3 sum=7 #0 on-time",
    "a 41-41 n=1 sum=8 #0 early",
  ]);
});

test("an early row of a count takes the place of no full window of the same instant", () => {
  const { step } = makeEngine({ window: { kind: "count", size: 2 }, earlyUs: 10 });
  assert.deepEqual(step(20, ["a", 5, 1], ["a", 5, 1], ["a", 5, 1]), ["a 5-5 n=2 sum=2 #0 on-time"]);
  assert.deepEqual(step(40), []);
  assert.deepEqual(step(60, ["a", 50, 8]), ["a 5-50 n=2 sum=9 #0 on-time"]);
});

test("local days by the key's clock, through a change of clocks", () => {
  const window = { kind: "calendar", timezone: "Europe/Berlin", unit: "day", size: 1, every: 1 } as const;
  const keyClock = { boundUs: 0, maxIdleKeys: 10 };
  const engine = makeEngine({ window: { ...window, offsetUs: 0 }, keyClock });
  const at = (time: string): number => Date.parse(time) * 1_000;
  // Clocks were set forward in the night before: the day has 23 hours.
  const [start, end] = [at("2026-03-28T23:00Z"), at("2026-03-29T22:00Z")];
  assert.deepEqual(engine.step(null, ["a", start, 1], ["a", end - 1, 2], ["b", start - 1, 4]), []);
  assert.deepEqual(engine.step(null, ["a", end, 8]), [`a ${start}-${end} n=2 sum=3 #0 on-time`]);
  assert.deepEqual(engine.step(null, ["a", start, 1]), []);
  assert.equal(engine.late, 1, "a's day is over");
  assert.deepEqual(engine.step(null, ["b", start, 1]), [
    `b ${at("2026-03-27T23:00Z")}-${start} n=1 sum=4 #0 on-time`,
  ]);
});

test("without windows each event gives a row at once; equal times take no other's place", () => {
  const { step, windows } = makeEngine({ window: { kind: "none" } });
  assert.deepEqual(step(0, ["a", 3, 5], ["b", 3, 6], ["a", 3, 7]), [
    "a 3-3 n=1 sum=5 #0 on-time",
    "a 3-3 n=1 sum=7 #1 on-time",
    "b 3-3 n=1 sum=6 #0 on-time",
  ]);
  assert.deepEqual(step(4, ["a", 3, 8]), ["a 3-3 n=1 sum=8 #2 on-time"]);
  assert.deepEqual(step(4, ["a", 2, 9], ["a", 3, 9]), ["a 2-2 n=1 sum=9 #3 late", "a 3-3 n=1 sum=9 #4 late"]);
  assert.equal(windows.stats().keys, 0, "times that have passed are forgotten");
});

test("with clocks of their own, a device ahead makes no other late, nor one behind wait", () => {
  for (const window of [SESSION, { kind: "tumbling", sizeUs: 10, offsetUs: 0 } as const]) {
    const engine = makeEngine({ window, keyClock: { boundUs: 0, maxIdleKeys: 10 } });
    const { step, windows } = engine;
    assert.deepEqual(step(null, ["ahead", 1_000, 1], ["a", 0, 1]), []);
    assert.deepEqual(step(null, ["a", 5, 2]), []);
    assert.equal(windows.earliestClockUs?.(), 5n);
    assert.equal(step(null, ["a", 20, 4]).length, 1, "a's own clock closes its window");
    step(null, ["a", 3, 4]);
    assert.equal(engine.late, 1, "late by its own clock");
    assert.equal(windows.earliestClockUs?.(), 20n);
  }
});

test("an event that the query's condition drops moves its key's clock, and is in no window", () => {
  const engine = makeEngine({ window: SESSION, keyClock: { boundUs: 0, maxIdleKeys: 10 } });
  engine.step(null, ["a", 0, 1]);
  const dropped: Rows = {
    times: [30n, 40n, 90n],
    flags: [3, 3, 1],
    columns: [{ name: "device", kind: "text", cells: ["a", "b", "a"] }],
  };
  withBatch(core, dropped, (batch) => {
    engine.windows.merge(engine.local.aggregate(batch), NEVER_US);
    assert.deepEqual([...engine.local.maskLate(batch, new Uint8Array(0))], [0, 0, 0]);
  });
  assert.deepEqual(brief(engine.windows.fire(NEVER_US)), ["a 0-10 n=1 sum=1 #0 on-time"]);
  engine.step(null, ["a", 15, 1], ["b", 25, 1]);
  assert.equal(engine.late, 2);
});

test("what is said of the stream as a whole holds for every clock", () => {
  const engine = makeEngine({ window: SESSION, keyClock: { boundUs: 100, maxIdleKeys: 10 } });
  assert.deepEqual(engine.step(null, ["a", 0, 1], ["b", 50, 2]), []);
  assert.deepEqual(engine.step(40), ["a 0-10 n=1 sum=1 #0 on-time"]);
  engine.step(40, ["c", 0, 1]);
  assert.equal(engine.late, 1);
  assert.equal(engine.windows.lastEndUs(), 60n);
});

test("sliding windows by the key's clock: an event too late for some still counts in the others", () => {
  const engine = makeEngine({
    window: { kind: "sliding", sizeUs: 3, everyUs: 1, offsetUs: 0 },
    keyClock: { boundUs: 0, maxIdleKeys: 10 },
  });
  engine.step(null, ["a", 3, 1]);
  // The clock stands at 3: of the windows of 2, the one that ended at 3 is closed.
  assert.deepEqual(engine.step(10, ["a", 2, 1]), [
    "a 1-4 n=2 sum=2 #0 on-time",
    "a 2-5 n=2 sum=2 #0 on-time",
    "a 3-6 n=1 sum=1 #0 on-time",
  ]);
  assert.equal(engine.late, 0);
});

test("the clock of an idle key is remembered, up to the limit; then unknown keys start with the latest forgotten", () => {
  const engine = makeEngine({ window: SESSION, keyClock: { boundUs: 0, maxIdleKeys: 4 } });
  const { step, plan } = engine;
  for (let key = 1; key <= 4; key++) step(null, [`k${key}`, 0, 1], [`k${key}`, key * 100, 1]);
  // Each has a session left open by its own clock: a floor closes them.
  step(500);
  const restart = (): void => {
    const state = engine.windows.snapshot();
    engine.windows.dispose();
    engine.windows = createWindows(core, plan);
    engine.windows.restore(state);
    assert.deepEqual(engine.windows.snapshot(), state);
  };
  restart();
  assert.equal(engine.windows.stats().keys, 0);
  for (let key = 5; key <= 9; key++) step(null, [`k${key}`, key * 100, 1], [`k${key}`, key * 100 + 50, 1]);
  step(1_000);
  restart();
  const before = engine.late;
  step(null, ["new", 700, 1]);
  assert.equal(engine.late, before + 1);
});

test("forgetting: the earliest clocks go first, and nothing closed is opened again", () => {
  const window = { kind: "tumbling", sizeUs: 10, offsetUs: 0 } as const;
  const engine = makeEngine({ window, keyClock: { boundUs: -10, maxIdleKeys: 4 } });
  // A bound below zero lets each event close its own window, so that keys are idle at once.
  for (let key = 1; key <= 5; key++) assert.equal(engine.step(null, [`k${key}`, key * 100, 1]).length, 1);
  assert.equal(engine.step(null, ["k5", 450, 1]).length, 0, "k5 is remembered");
  assert.equal(engine.late, 1);
  assert.equal(engine.windows.stats().idleKeys, 2, "half as many as may be");
  assert.equal(
    engine.step(null, ["k1", 300, 1]).length,
    0,
    "k1 is forgotten, and held to the latest forgotten clock",
  );
  assert.equal(engine.late, 2);
  assert.equal(engine.step(null, ["k1", 400, 1]).length, 1);
  assert.equal(engine.late, 2);
});

test("keys that nobody sends any more are let go", () => {
  const engine = makeEngine({ window: SESSION });
  for (let round = 0; round < 4; round++) {
    const events = Array.from({ length: 20_000 }, (_, key) => [`${round}-${key}`, round * 100, 1] as const);
    const rows = engine.step(round * 100 + 50, ...events);
    assert.equal(rows.length, 20_000, "more rows than are handed over at once");
    assert.deepEqual(engine.windows.stats().groups, 0);
  }
  assert.ok(engine.windows.stats().bytes < 40_000 * 200, `${engine.windows.stats().bytes} bytes`);
  assert.deepEqual(engine.step(1_000, ["x", 900, 5]), ["x 900-910 n=1 sum=5 #0 on-time"]);
});

test("state memory comes back", () => {
  for (const window of [SESSION, { kind: "count", size: 3 } as const, { kind: "none" } as const]) {
    const engine = makeEngine({ window });
    const round = (at: number): void => {
      engine.step(at, ...Array.from({ length: 500 }, (_, i) => [`k${i % 7}`, at + i, i] as const));
      engine.step(at + 600);
    };
    round(0);
    const { bytes } = engine.windows.stats();
    for (let i = 1; i < 20; i++) round(i * 1_000);
    assert.ok(
      engine.windows.stats().bytes <= bytes + 1_000,
      `${window.kind}: ${engine.windows.stats().bytes} after ${bytes}`,
    );
  }
});

test("a damaged snapshot, or one of another selection, is refused and changes nothing", () => {
  const engine = makeEngine({ window: SESSION });
  engine.step(0, ["a", 1, 1]);
  const state = engine.windows.snapshot();
  const damaged = state.map((byte, at) => (at === state.length - 1 ? byte ^ 1 : byte));
  const other = makeEngine({ window: SESSION, select: makeOutputs({ x: ["max", "v"] }) });
  assert.throws(() => engine.windows.restore(damaged), { code: "E_CHECKPOINT_VERSION" });
  assert.throws(() => other.windows.restore(state), { code: "E_CHECKPOINT_VERSION" });
  assert.throws(() => engine.windows.restore(new Uint8Array(3)), { code: "E_CHECKPOINT_VERSION" });
  assert.deepEqual(engine.windows.snapshot(), state);
});

test("windows of so many events are never corrected, and say why; other windows of a key are", () => {
  const refusal = (plan: Partial<QueryPlan>, includesSkewed = false) =>
    explainRefusal(makePlan({ select: SELECT, ...plan }), new Map(), includesSkewed);
  const tumbling = { kind: "tumbling", sizeUs: 10, offsetUs: 0 } as const;
  const keyClock = { boundUs: 0, maxIdleKeys: 10 };
  assert.equal(refusal({ window: tumbling, keyClock }), null);
  assert.equal(refusal({ window: SESSION }), null);
  const count = refusal({ window: { kind: "count", size: 3 } });
  assert.equal(count?.isForGood, true);
  assert.match(count.reason, /shift every later window of its key/);
  // Late events have had their rows; clock-skewed ones get none.
  assert.equal(refusal({ window: { kind: "none" } }), null);
  assert.match(refusal({ window: { kind: "none" } }, true)?.reason ?? "", /a row for each event as it comes/);
});

test('such windows take named values, not "*"', () => {
  assert.throws(() => makeEngine({ window: SESSION, select: "*" }), { code: "E_WINDOW_KIND" });
});
