import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import { makePlan, withBatch } from "../unit/window-batch.ts";
import { slidingSpans } from "./panes-model.ts";
import { compare, logsOf, RUNS, SECOND_US, SELECT, timeAroundEpoch } from "./panes-support.ts";

const core = instantiateCore();
const blocks = logsOf(timeAroundEpoch, [0, 2 * SECOND_US, 20 * SECOND_US, 1_000 * SECOND_US]);
const latenessUs = fc.constantFrom(0, 1, 5 * SECOND_US, 100 * SECOND_US);
const earlyUs = fc.constantFrom(0, 0, SECOND_US, 7 * SECOND_US);
const offsetUs = fc.constantFrom(0, 3 * SECOND_US, -500_000);

test("sliding windows equal the plain model, whatever the batches, workers, lateness and restarts", () => {
  const shape = fc
    .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 20 }))
    .filter(([size, every]) => size > every)
    .map(([size, every]) => ({ sizeUs: size * SECOND_US, everyUs: every * SECOND_US }));
  fc.assert(
    fc.property(
      shape,
      offsetUs,
      latenessUs,
      earlyUs,
      blocks,
      ({ sizeUs, everyUs }, offset, lateness, early, log) => {
        const plan = makePlan({
          window: { kind: "sliding", sizeUs, everyUs, offsetUs: offset },
          latenessUs: lateness,
          earlyUs: early,
          select: SELECT,
        });
        compare(
          plan,
          { windowsOf: slidingSpans(sizeUs, everyUs, offset), latenessUs: lateness, earlyUs: early },
          log,
        );
      },
    ),
    { numRuns: RUNS },
  );
});

test("sliding windows of many slices equal the plain model", () => {
  fc.assert(
    fc.property(
      fc.constantFrom([90, 100_000], [30, 62_500], [64, 1_000_000], [7, 13_000]),
      latenessUs,
      blocks,
      (shape, lateness, log) => {
        const [seconds, everyUs] = shape as [number, number];
        const sizeUs = seconds * SECOND_US;
        const plan = makePlan({
          window: { kind: "sliding", sizeUs, everyUs, offsetUs: 0 },
          latenessUs: lateness,
          select: SELECT,
        });
        // Each event is in a thousand windows: a few are enough.
        const few = log.slice(0, 3).map((item) => ({
          ...item,
          batches: item.batches.map(({ worker, events }) => ({ worker, events: events.slice(0, 2) })),
        }));
        compare(plan, { windowsOf: slidingSpans(sizeUs, everyUs, 0), latenessUs: lateness, earlyUs: 0 }, few);
      },
    ),
    { numRuns: Math.ceil(RUNS / 20) },
  );
});

test("sliding windows give back the memory of what is over", () => {
  const plan = makePlan({
    window: { kind: "sliding", sizeUs: 40 * SECOND_US, everyUs: SECOND_US, offsetUs: 0 },
    latenessUs: 5 * SECOND_US,
    select: SELECT,
  });
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  const bytes: number[] = [windows.stats().bytes];
  for (let second = 0; second < 400; second++) {
    // Values of many sizes: they have buckets and sums outside the records. Some seconds have late events.
    const devices = Array.from({ length: 20 }, (_, device) => (device * 7 + second) % 50);
    const rows = {
      times: devices.map((device) => BigInt((second - (device % 4)) * SECOND_US)),
      columns: [
        { name: "device", kind: "text", cells: devices.map((device) => `device-${device}`) },
        { name: "v", kind: "float", cells: devices.map((device) => 1.7 ** (device + second / 8) - 1e-9) },
      ],
    } as const;
    const watermarkUs = BigInt(Math.max(0, second - 2) * SECOND_US);
    withBatch(core, rows, (batch) => windows.merge(local.aggregate(batch), watermarkUs));
    windows.fire(watermarkUs);
    bytes.push(windows.stats().bytes);
  }
  windows.fire(10n ** 15n);
  const [fresh = 0, ...used] = bytes;
  const left = windows.stats().bytes;
  assert.ok(Math.min(...used.slice(50)) > fresh + 100_000, "there is something to give back");
  assert.ok(left >= fresh && left < fresh + 20_000, `${left} bytes are left of ${fresh}`);
  // It rises and falls as what was worked out ahead is used up.
  const peak = (from: number): number => Math.max(...used.slice(from, from + 150));
  assert.ok(peak(250) < 1.5 * peak(50), "what slides does not grow");
  local.dispose();
  windows.dispose();
});

test("tumbling windows with early results equal the plain model", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 7, 10),
      offsetUs,
      latenessUs,
      earlyUs,
      blocks,
      (size, offset, lateness, early, log) => {
        const sizeUs = size * SECOND_US;
        const plan = makePlan({
          window: { kind: "tumbling", sizeUs, offsetUs: offset },
          latenessUs: lateness,
          earlyUs: early,
          select: SELECT,
        });
        compare(
          plan,
          { windowsOf: slidingSpans(sizeUs, sizeUs, offset), latenessUs: lateness, earlyUs: early },
          log,
        );
      },
    ),
    { numRuns: RUNS },
  );
});
