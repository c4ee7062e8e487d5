import { test } from "node:test";
import fc from "fast-check";
import { makePlan } from "../unit/window-batch.ts";
import { slidingSpans } from "./panes-model.ts";
import { compare, logsOf, RUNS, SECOND_US, SELECT, timeAroundEpoch } from "./panes-support.ts";

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
