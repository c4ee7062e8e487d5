import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instantiateCore } from "../../workers/core/module.ts";
import {
  createSourceClocks,
  createSummarizer,
  type SourceClocks,
  type SourceSummarizer,
} from "../../workers/core/source-clocks.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { QueryPlan } from "../../workers/messages.ts";
import { withEvents } from "../support/clock-batch.ts";
import { type ClockEntry, type ClockEvent, ClockOracle } from "../support/clock-oracle.ts";
import { WindowModel } from "./window-model.ts";

const core = instantiateCore();
const KEY = ["k"];
const BOUND_US = 3;
const IDLE_US = 20;
const BEFORE_ALL = -(2n ** 63n);

const event: fc.Arbitrary<ClockEvent> = fc.record({
  source: fc.constantFrom("a", "b", "c", "d", "e", "f", "ü"),
  timeUs: fc.integer({ min: -60, max: 120 }),
  isSkewed: fc.nat(9).map((n) => n === 0),
});
/** Arrivals mostly go on, by small and large steps; a clock that was set back is among them. */
const stepUs = fc.oneof(
  { weight: 6, arbitrary: fc.nat(6) },
  { weight: 2, arbitrary: fc.nat(30) },
  fc.integer({ min: -40, max: 0 }),
);
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("block" as const),
      stepUs,
      events: fc.array(event, { maxLength: 6 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("tick" as const),
      stepUs,
      isResume: fc.nat(3).map((n) => n === 0),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("watermark" as const),
      stepUs,
      timeUs: fc.integer({ min: -60, max: 120 }),
    }),
  },
);
/** A log, and after which entries the node is restarted from a snapshot. */
const log = fc
  .array(
    fc.tuple(
      step,
      fc.nat(4).map((n) => n === 0),
    ),
    { minLength: 1, maxLength: 40, size: "max" },
  )
  .map((steps) => {
    let nowUs = 0;
    return steps.map(
      ([{ stepUs: us, ...entry }, isRestarted]): { entry: ClockEntry; isRestarted: boolean } => {
        nowUs += us;
        if (entry.kind === "block") return { entry: { ...entry, arrivalUs: nowUs }, isRestarted };
        return { entry: entry.kind === "tick" ? { ...entry, atUs: nowUs } : entry, isRestarted };
      },
    );
  });

function makeClocks(maxSources: number): SourceClocks {
  const clocks = createSourceClocks(core, KEY);
  clocks.configure({ boundUs: BOUND_US, idleUs: IDLE_US, isPerSource: true, maxSources });
  return clocks;
}

function restarted(clocks: SourceClocks, maxSources: number): SourceClocks {
  const state = clocks.snapshot();
  clocks.dispose();
  const again = makeClocks(maxSources);
  again.restore(state);
  assert.deepEqual(again.snapshot(), state);
  return again;
}

/** Applies an entry as the window thread does. @returns the watermark after it. */
function applyTo(clocks: SourceClocks, lane: SourceSummarizer, entry: ClockEntry, watermark: bigint): bigint {
  if (entry.kind === "watermark") return max(watermark, BigInt(entry.timeUs));
  if (entry.kind === "tick") clocks.tick(entry.atUs, entry.isResume);
  else {
    const { arrivalUs, events } = entry;
    const summary = withEvents(core, events, (batch) => lane.summarize(batch, arrivalUs));
    clocks.merge(summary, arrivalUs, watermark);
  }
  return max(watermark, clocks.watermarkUs());
}

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const asBigint = (us: number): bigint => (us === Number.NEGATIVE_INFINITY ? BEFORE_ALL : BigInt(us));

test("the watermark is the oracle's whatever the sources, arrivals, lanes and restarts", () => {
  fc.assert(
    fc.property(log, fc.integer({ min: -20, max: 60 }), (entries, aheadUs) => {
      const lanes = [0, 1].map(() => createSummarizer(core, KEY));
      const oracle = new ClockOracle(BOUND_US, IDLE_US);
      let clocks = makeClocks(100);
      let watermark = BEFORE_ALL;
      let nowUs = 0;
      for (const [index, { entry, isRestarted }] of entries.entries()) {
        watermark = applyTo(clocks, lanes[index % 2]!, entry, watermark);
        oracle.apply(entry);
        if (entry.kind !== "watermark") nowUs = entry.kind === "block" ? entry.arrivalUs : entry.atUs;
        assert.equal(watermark, asBigint(oracle.watermarkUs));
        assert.equal(clocks.stats().activeSources, oracle.activeCount);
        assert.equal(clocks.wouldMove(nowUs + aheadUs, watermark), oracle.wouldMove(nowUs + aheadUs));
        if (isRestarted) clocks = restarted(clocks, 100);
      }
      clocks.dispose();
      for (const lane of lanes) lane.dispose();
    }),
    { numRuns: 1_000 },
  );
});

test("where room for new sources is made by forgetting idle ones, the watermark does not show it", () => {
  let forgetful = 0;
  fc.assert(
    fc.property(log, fc.integer({ min: 2, max: 6 }), (entries, limit) => {
      const lane = createSummarizer(core, KEY);
      const all = makeClocks(100);
      let few = makeClocks(limit);
      let watermark = BEFORE_ALL;
      for (const { entry, isRestarted } of entries) {
        const expected = applyTo(all, lane, entry, watermark);
        const found = applyTo(few, lane, entry, watermark);
        const { untrackedEvents, sources } = few.stats();
        assert.ok(sources <= limit);
        if (untrackedEvents > 0) break;
        assert.equal(found, expected);
        watermark = expected;
        if (all.stats().sources > limit) forgetful++;
        if (isRestarted) few = restarted(few, limit);
      }
      for (const each of [all, few, lane]) each.dispose();
    }),
    { numRuns: 1_000 },
  );
  assert.ok(forgetful > 100, `after ${forgetful} entries sources had been forgotten`);
});

const plan: QueryPlan = {
  id: 0,
  name: "q",
  stream: "s",
  window: { kind: "tumbling", sizeUs: 10, offsetUs: 0 },
  latenessUs: 5,
  by: [KEY],
  select: [{ name: "n", fn: "count", field: null, parameter: null }],
};

test("windows, revisions and late events under watermarks per source are the model's", () => {
  fc.assert(
    fc.property(log, (entries) => {
      const lane = createSummarizer(core, KEY);
      const local = createLocal(core, plan);
      const oracle = new ClockOracle(BOUND_US, IDLE_US);
      const model = new WindowModel({ sizeUs: 10, offsetUs: 0, latenessUs: 5 });
      let clocks = makeClocks(100);
      let windows = createWindows(core, plan);
      let watermark = BEFORE_ALL;
      for (const { entry, isRestarted } of entries) {
        let lateCount = 0;
        let lateExpected = 0;
        if (entry.kind === "block") {
          const partial = withEvents(core, entry.events, (batch) => local.aggregate(batch));
          ({ lateCount } = windows.merge(partial, watermark));
          const counted = entry.events.filter(({ isSkewed }) => !isSkewed);
          const modelled = counted.map(({ source, timeUs }) => ({ key: source, timeUs, value: null }));
          lateExpected = model.merge(modelled, oracle.watermarkUs).length;
        }
        watermark = applyTo(clocks, lane, entry, watermark);
        oracle.apply(entry);
        assert.equal(lateCount, lateExpected);
        const rows = windows.fire(watermark).map((row) => {
          const key = (JSON.parse(row.key) as { k: string }).k;
          return `${row.startUs} ${key} ${row.values} ${row.revision} ${row.kind}`;
        });
        const expected = model
          .fire(oracle.watermarkUs)
          .map((row) => `${row.startUs} ${row.key} {"n":${row.events.length}} ${row.revision} ${row.kind}`);
        assert.deepEqual(rows.toSorted(), expected.toSorted());
        if (!isRestarted) continue;
        clocks = restarted(clocks, 100);
        const state = windows.snapshot();
        windows.dispose();
        windows = createWindows(core, plan);
        windows.restore(state);
      }
      for (const each of [clocks, windows, local, lane]) each.dispose();
    }),
    { numRuns: 500 },
  );
});

/** A device's offsets: most of them near one another, as they are. */
const offsets = fc
  .tuple(
    fc.integer({ min: -(10 ** 12), max: 10 ** 12 }),
    fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 60, size: "max" }),
  )
  .map(([base, percents]) => percents.map((percent) => Math.round(base * (1 + percent / 100))));

function medianOf(batches: readonly (readonly number[])[]): number {
  const lane = createSummarizer(core, KEY);
  const clocks = makeClocks(10);
  for (const batch of batches) {
    const events = batch.map((timeUs) => ({ source: "a", timeUs, isSkewed: false }));
    clocks.merge(
      withEvents(core, events, (handle) => lane.summarize(handle, 0)),
      0,
      BEFORE_ALL,
    );
  }
  const [device] = clocks.furthestAhead(1);
  clocks.dispose();
  lane.dispose();
  return device!.medianOffsetUs;
}

test("a device's median offset is within its error, however its events come in batches", () => {
  fc.assert(
    fc.property(offsets, fc.nat(7), (values, cut) => {
      const sorted = values.toSorted((a, b) => a - b);
      const truth = sorted[sorted.length >> 1]!;
      const whole = medianOf([values]);
      // 40 % of spread are 8 of 16 buckets: nothing is collapsed.
      assert.ok(Math.abs(whole - truth) <= Math.abs(truth) * 0.032 + 1_000, `${whole} instead of ${truth}`);
      assert.equal(medianOf([values.slice(cut), values.slice(0, cut)]), whole);
      assert.equal(medianOf(values.map((value) => [value])), whole);
    }),
    { numRuns: 200 },
  );
});

test("offsets of every size give one median whatever their order and batches", () => {
  const wild = fc.array(
    fc
      .tuple(fc.integer({ min: -62, max: 62 }), fc.double({ min: 1, max: 2, noNaN: true }))
      .map(([power, mantissa]) =>
        Math.trunc(Math.sign(power) * mantissa * 2 ** Math.min(Math.abs(power), 52)),
      ),
    { minLength: 1, maxLength: 80, size: "max" },
  );
  fc.assert(
    fc.property(wild, fc.nat(40), (values, cut) => {
      const whole = medianOf([values]);
      assert.equal(medianOf([values.toReversed().slice(cut), values.toReversed().slice(0, cut)]), whole);
      assert.equal(medianOf(values.toSorted((a, b) => a - b).map((value) => [value])), whole);
    }),
    { numRuns: 200 },
  );
});

test("a sample has every event with clock skew, and of the others about as many as it should", () => {
  const lane = createSummarizer(core, KEY, { sampleRows: 100, maxSources: 100 });
  const clocks = makeClocks(50);
  const events = Array.from({ length: 10_000 }, (_, row) => ({
    source: `d${row % 20}`,
    timeUs: row % 20 === 7 ? 3_600_000_000 : 5_000_000,
    isSkewed: row % 20 === 7,
  }));
  for (let batch = 0; batch < 20; batch++) {
    clocks.merge(
      withEvents(core, events, (handle) => lane.summarize(handle, 0)),
      0,
      BEFORE_ALL,
    );
  }
  const [skewed, ...others] = clocks.furthestAhead(100);
  assert.deepEqual([skewed?.device, skewed?.skewedEvents, others.length], ["d7", 10_000, 19]);
  const samples = others.reduce((sum, source) => sum + source.samples, 0);
  assert.ok(samples > 1_500 && samples < 2_500, `${samples} samples`);
  for (const { medianOffsetUs } of others) assert.ok(Math.abs(medianOffsetUs - 5_000_000) < 200_000);
  assert.deepEqual(
    clocks.mostSkewed().map(({ device }) => device),
    ["d7"],
  );
  clocks.dispose();
  lane.dispose();
});

test("the sources with the most clock skew are named, whatever restarts are in between", () => {
  const rounds = fc.array(
    fc.tuple(
      fc.array(
        fc.nat(59).map((n) => ({ source: `d${n % 7}-${n}`, timeUs: 0, isSkewed: true })),
        { maxLength: 40, size: "max" },
      ),
      fc.boolean(),
    ),
    { maxLength: 12, size: "max" },
  );
  fc.assert(
    fc.property(rounds, (batches) => {
      const lane = createSummarizer(core, KEY, { sampleRows: 1, maxSources: 100 });
      let clocks = makeClocks(100);
      const counts = new Map<string, number>();
      for (const [events, isRestarted] of batches) {
        for (const { source } of events) counts.set(source, (counts.get(source) ?? 0) + 1);
        clocks.merge(
          withEvents(core, events, (batch) => lane.summarize(batch, 0)),
          0,
          BEFORE_ALL,
        );
        if (isRestarted) clocks = restarted(clocks, 100);
      }
      const named = clocks.mostSkewed();
      for (const { device, skewedEvents } of named) assert.equal(skewedEvents, counts.get(device ?? ""));
      const expected = [...counts.values()].toSorted((a, b) => b - a).slice(0, 20);
      assert.deepEqual(
        named.map(({ skewedEvents }) => skewedEvents),
        expected,
      );
      assert.equal(
        clocks.stats().skewedEvents,
        [...counts.values()].reduce((sum, n) => sum + n, 0),
      );
      clocks.dispose();
      lane.dispose();
    }),
    { numRuns: 200 },
  );
});

test("an idle source whose watermark is ahead of the stream's is not forgotten", () => {
  const lane = createSummarizer(core, KEY);
  const clocks = makeClocks(3);
  let watermark = BEFORE_ALL;
  const send = (arrivalUs: number, source: string, timeUs: number): void => {
    const events = [{ source, timeUs, isSkewed: false }];
    watermark = applyTo(clocks, lane, { kind: "block", arrivalUs, events }, watermark);
  };
  send(0, "slow", 13);
  send(0, "gone", 3);
  send(0, "ahead", 103);
  send(IDLE_US, "slow", 13);
  assert.equal(watermark, 10n);
  // Room is made by forgetting what is idle and behind.
  send(IDLE_US + 1, "new", 203);
  assert.deepEqual([clocks.stats().sources, clocks.stats().untrackedEvents], [3, 0]);
  // Its clock is where it was, not where its old event stands.
  send(IDLE_US + 2, "ahead", 53);
  send(IDLE_US + 2, "slow", 303);
  assert.equal(watermark, 100n);
  send(IDLE_US + 2, "too many", 23);
  assert.deepEqual([clocks.stats().sources, clocks.stats().untrackedEvents, watermark], [3, 1, 100n]);
  clocks.dispose();
  lane.dispose();
});

test("a device whose clock was set right is soon reported as it is, and no few events decide", () => {
  const lane = createSummarizer(core, KEY);
  const clocks = makeClocks(3);
  const sendAt = (offsetUs: number, count: number): number => {
    const events = Array.from({ length: count }, () => ({ source: "a", timeUs: offsetUs, isSkewed: false }));
    clocks.merge(
      withEvents(core, events, (batch) => lane.summarize(batch, 0)),
      0,
      BEFORE_ALL,
    );
    return clocks.furthestAhead(1)[0]!.medianOffsetUs / 1e6;
  };
  const isNear = (median: number, seconds: number): void =>
    assert.ok(Math.abs(median - seconds) <= seconds * 0.032, `${median} s instead of ${seconds} s`);
  isNear(sendAt(3_600e6, 100), 3_600);
  isNear(sendAt(3_600e6, 4_000), 3_600);
  isNear(sendAt(10e6, 500), 3_600);
  isNear(sendAt(10e6, 600), 10);
  clocks.dispose();
  lane.dispose();
});

test("of a batch with more sources than are told apart, the others are counted, and their greatest time", () => {
  const clocks = makeClocks(100);
  const lane = createSummarizer(core, KEY, { sampleRows: 1_000, maxSources: 3 });
  const events = Array.from({ length: 60 }, (_, row) => ({
    source: `d${row % 6}`,
    timeUs: row,
    isSkewed: row % 6 === 5,
  }));
  clocks.merge(
    withEvents(core, events, (batch) => lane.summarize(batch, 0)),
    0,
    BEFORE_ALL,
  );
  assert.deepEqual(
    clocks
      .furthestAhead(9)
      .map(({ device, samples }) => [device, samples])
      .toSorted(),
    [
      ["d0", 10],
      ["d1", 10],
      ["d2", 10],
    ],
  );
  const { untrackedEvents, skewedEvents, sources } = clocks.stats();
  assert.deepEqual([untrackedEvents, skewedEvents, sources], [30, 10, 3]);
  assert.equal(clocks.watermarkUs(), BigInt(54 - BOUND_US));
  clocks.tick(IDLE_US, false);
  assert.equal(clocks.watermarkUs(), BigInt(58 - BOUND_US));
  clocks.dispose();
  lane.dispose();
});
