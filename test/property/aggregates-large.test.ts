import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../../workers/core/window.ts";
import type { Output } from "../../workers/messages.ts";
import {
  aggregatePlainly,
  type Counted,
  countEach,
  type TimedNumber,
  type TimedValue,
  thinPlainly,
} from "../support/oracle-aggregates.ts";
import { Random } from "../support/random.ts";
import { type ColumnKind, makePlan, withBatch } from "../unit/window-batch.ts";

/** Beyond the sizes up to which the aggregates are exact. */

const core = instantiateCore();
const NEVER_US = -(2n ** 62n);
const END_US = 2n ** 60n;
/** Everything is in one window. */
const WINDOW = { kind: "tumbling", sizeUs: 10 ** 12, offsetUs: -(10 ** 11) } as const;
/** Counters that topk(x, 3) cuts back to. */
const KEPT_COUNTERS = 256;
/** Of points: so many different times are kept as they are. */
const MAX_BUCKETS = 4_096;
/** The promised bound, and the standard error that it is 3.5 times of. */
const DISTINCT_ERROR = 0.02;
const DISTINCT_DEVIATION = 1.04 / Math.sqrt(2 ** 15);

const seed = fc.integer({ min: 0, max: 2 ** 32 - 1 });

function withEngine(
  outputs: readonly Output[],
  use: (local: LocalAggregator, createFresh: () => Windows) => void,
): void {
  const plan = makePlan({ by: [], window: WINDOW, select: outputs });
  const local = createLocal(core, plan);
  const made: Windows[] = [];
  use(local, () => {
    made.push(createWindows(core, plan));
    return made.at(-1)!;
  });
  for (const engine of [local, ...made]) engine.dispose();
}

function output(fn: Output["fn"], parameter: number | null = null): Output {
  return { name: parameter === null ? fn : `${fn}_${parameter}`, fn, field: "v", parameter };
}

function partialOf(local: LocalAggregator, kind: ColumnKind, events: readonly TimedValue[]): Uint8Array {
  const rows = {
    times: events.map(({ timeUs }) => BigInt(timeUs)),
    columns: [{ name: "v", kind, cells: events.map(({ value }) => value) }],
  };
  return withBatch(core, rows, (batch) => local.aggregate(batch));
}

function valuesOf(windows: Windows): Record<string, unknown> {
  return JSON.parse(windows.fire(END_US)[0]!.values) as Record<string, unknown>;
}

/** The events in a random order, in parts of random sizes. */
function split<T>(random: Random, events: readonly T[], maxSize: number): T[][] {
  const order = events
    .map((event) => ({ event, at: random.next() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ event }) => event);
  const parts: T[][] = [];
  for (let from = 0; from < order.length; ) {
    const size = random.chance(0.3) ? random.integer(1, 5) : random.integer(1, maxSize);
    parts.push(order.slice(from, from + size));
    from += size;
  }
  return parts;
}

/** Merges parts one by one; now and then the state goes through its bytes. */
function mergeParts(
  random: Random,
  local: LocalAggregator,
  createFresh: () => Windows,
  kind: ColumnKind,
  parts: readonly (readonly TimedValue[])[],
): Windows {
  let windows = createFresh();
  for (const part of parts) {
    windows.merge(partialOf(local, kind, part), NEVER_US);
    if (!random.chance(0.1)) continue;
    const state = windows.snapshot();
    windows = createFresh();
    windows.restore(state);
    assert.deepEqual(windows.snapshot(), state);
  }
  return windows;
}

test("distinct: sparse or dense, any order and split gives the same bytes, and the error is below 2 %", () => {
  const texts = (random: Random, count: number): TimedValue[] => {
    const prefix = random.integer(0, 1e9).toString(36);
    return Array.from({ length: count }, (_, index) => ({ timeUs: 0, value: `${prefix}-${index}` }));
  };
  fc.assert(
    fc.property(seed, fc.constantFrom(3_000, 4_090, 4_100, 9_000, 30_000), (from, count) => {
      withEngine([output("distinct")], (local, createFresh) => {
        const random = new Random(from);
        const once = texts(random, count);
        const events = [...once, ...once.slice(0, count / 2)];
        const whole = mergeParts(random, local, createFresh, "text", [events]);
        const parts = mergeParts(random, local, createFresh, "text", split(random, events, 2_000));
        assert.deepEqual(parts.snapshot(), whole.snapshot());
        const { distinct } = valuesOf(parts);
        assert.equal(valuesOf(whole).distinct, distinct);
        const error = Math.abs(Number(distinct) - count) / count;
        assert.ok(error <= (count <= 4_096 ? 1e-3 : DISTINCT_ERROR), `${distinct} for ${count}`);
      });
    }),
    { numRuns: 12 },
  );
});

test("distinct: over many sizes and types the errors are those of the stated deviation", () => {
  const errors: number[] = [];
  withEngine([output("distinct")], (local, createFresh) => {
    for (const count of [5_000, 20_000, 50_000, 100_000, 200_000]) {
      for (const start of [0, 1e6, 0.5]) {
        const windows = createFresh();
        for (let from = 0; from < count; from += 50_000) {
          const part = Array.from({ length: Math.min(50_000, count - from) }, (_, index) => ({
            timeUs: 0,
            value: start + from + index,
          }));
          windows.merge(partialOf(local, "float", part), NEVER_US);
        }
        errors.push((Number(valuesOf(windows).distinct) - count) / count);
      }
    }
  });
  // Deterministic: hashes have no seed.
  const deviation = Math.sqrt(errors.reduce((sum, error) => sum + error ** 2, 0) / errors.length);
  assert.ok(deviation <= 1.5 * DISTINCT_DEVIATION, `${deviation}`);
  for (const error of errors) assert.ok(Math.abs(error) <= DISTINCT_ERROR, `${error}`);
});

test("topk: with more values than counters, counts are within their error and the frequent are there", () => {
  fc.assert(
    fc.property(seed, fc.integer({ min: 600, max: 6_000 }), fc.boolean(), fc.boolean(), (...chosen) => {
      const [from, variety, isText, isFlat] = chosen;
      withEngine([output("topk", 100), output("mode")], (local, createFresh) => {
        const random = new Random(from);
        // A tenth of all is one value; the others are spread evenly, or by a power law.
        const events = Array.from({ length: 12_000 }, () => {
          const spread = isFlat ? variety * random.next() : variety ** random.next();
          const rank = random.chance(0.1) ? 0 : Math.floor(spread);
          return { timeUs: 0, value: isText ? `v${rank}` : rank };
        });
        const kind = isText ? "text" : "float";
        const windows = mergeParts(random, local, createFresh, kind, split(random, events, 3_000));
        const { topk_100: top, mode } = valuesOf(windows) as {
          topk_100: (Counted & { error?: number })[];
          mode: unknown;
        };
        const truth = new Map(countEach(events).map(({ value, count }) => [value, count]));
        const bound = events.length / (KEPT_COUNTERS * 3 + 1);
        for (const { value, count, error = 0 } of top) {
          const true_ = truth.get(value) ?? 0;
          assert.ok(error <= bound, `${value}: error ${error} above ${bound}`);
          assert.ok(true_ <= count && true_ >= count - error, `${value}: ${count} − ${error} for ${true_}`);
        }
        const listed = new Set(top.map(({ value }) => value));
        const hundredth = top.at(-1)!.count;
        for (const [value, count] of truth) {
          if (count > Math.max(bound, hundredth))
            assert.ok(listed.has(value), `${value} (${count}) is missing`);
        }
        assert.equal(mode, countEach(events)[0]!.value);
      });
    }),
    { numRuns: 40 },
  );
});

test("topk: exact in any order and split while the values are as few as twice the counters", () => {
  fc.assert(
    fc.property(seed, (from) => {
      withEngine([output("topk", 100), output("mode")], (local, createFresh) => {
        const random = new Random(from);
        const events = Array.from({ length: 8_000 }, () => ({
          timeUs: 0,
          value: `value ${Math.floor(1_600 * random.next() ** 2)}`,
        }));
        const whole = mergeParts(random, local, createFresh, "text", [events]);
        const parts = mergeParts(random, local, createFresh, "text", split(random, events, 1_500));
        assert.deepEqual(parts.snapshot(), whole.snapshot());
        const values = valuesOf(parts);
        assert.deepEqual(values, {
          topk_100: aggregatePlainly("topk", events, { parameter: 100 }),
          mode: aggregatePlainly("mode", events),
        });
      });
    }),
    { numRuns: 10 },
  );
});

const CURVES = [
  output("rate"),
  output("twa"),
  output("twa", 1),
  output("integral"),
  output("integral", 1),
] as const;

function expectedCurves(events: readonly TimedValue[]): Record<string, unknown> {
  return Object.fromEntries(
    CURVES.map(({ name, fn, parameter }) => [name, aggregatePlainly(fn, events, { parameter })]),
  );
}

test("rate, twa, integral: exact in any order and split up to 4,096 different times", () => {
  fc.assert(
    fc.property(seed, (from) => {
      withEngine(CURVES, (local, createFresh) => {
        const random = new Random(from);
        const times = Array.from({ length: 4_096 }, (_, index) => index * 1_000_000 + random.integer(0, 9));
        const events = Array.from({ length: 9_000 }, () => ({
          timeUs: random.pick(times),
          value: random.integer(-50, 900) / 8,
        }));
        const windows = mergeParts(random, local, createFresh, "float", split(random, events, 1_000));
        assert.deepEqual(valuesOf(windows), expectedCurves(events));
      });
    }),
    { numRuns: 6 },
  );
});

/** A counter that is reset now and then, or noise with a few spikes. */
function makeSeries(random: Random, count: number, gapUs: number, isCounter: boolean): TimedNumber[] {
  let counter = 0;
  return Array.from({ length: count }, (_, index) => {
    counter = random.chance(0.0005) ? 0 : counter + random.integer(0, 5);
    const noise = random.integer(-40, 40) / 4 + (random.chance(0.01) ? random.integer(-999, 999) : 0);
    return {
      timeUs: (index - 2_000) * gapUs + random.integer(0, Math.floor(gapUs / 3)),
      value: isCounter ? counter : noise,
    };
  });
}

test("rate, twa, integral: beyond, thinned out as stated in any order and split, and within the error", () => {
  fc.assert(
    fc.property(
      seed,
      fc.integer({ min: 4_097, max: 20_000 }),
      fc.constantFrom(1, 977, 1e6),
      fc.boolean(),
      (from, count, gapUs, isCounter) => {
        withEngine(CURVES, (local, createFresh) => {
          const random = new Random(from);
          const events = makeSeries(random, count, gapUs, isCounter);
          const whole = mergeParts(random, local, createFresh, "float", [events]);
          const parts = mergeParts(random, local, createFresh, "float", split(random, events, 9_000));
          assert.deepEqual(parts.snapshot(), whole.snapshot());
          const { bytes } = parts.stats();
          assert.ok(bytes < 256 * 1_024 + 30_000, `${bytes} bytes`);
          const values = valuesOf(parts) as Record<string, number>;
          const thinned = thinPlainly(events, MAX_BUCKETS);
          assert.deepEqual(values, expectedCurves(thinned.flatMap(({ kept }) => kept)));
          const truth = expectedCurves(events) as Record<string, number>;
          // Within each bucket, the curve stays between its least and greatest value.
          const area = thinned.reduce((sum, { kept }) => {
            const times = kept.map(({ timeUs }) => timeUs);
            const numbers = kept.map(({ value }) => value);
            const width = Math.max(...times) - Math.min(...times);
            return sum + width * (Math.max(...numbers) - Math.min(...numbers));
          }, 0);
          const elapsedUs = events.at(-1)!.timeUs - events[0]!.timeUs;
          for (const suffix of ["", "_1"]) {
            const integralError = Math.abs(values[`integral${suffix}`]! - truth[`integral${suffix}`]!);
            assert.ok(
              integralError <= (area / 1e6) * (1 + 1e-9),
              `integral${suffix}: off by ${integralError}`,
            );
            const averageError = Math.abs(values[`twa${suffix}`]! - truth[`twa${suffix}`]!);
            assert.ok(
              averageError <= (area / elapsedUs) * (1 + 1e-9),
              `twa${suffix}: off by ${averageError}`,
            );
          }
          if (isCounter) assert.ok(values.rate! <= truth.rate! * (1 + 1e-12), "rate is not too great");
        });
      },
    ),
    { numRuns: 20 },
  );
});
