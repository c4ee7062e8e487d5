import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createParser } from "../../workers/core/parse.ts";
import { createSourceClocks, createSummarizer, type SourceClocks } from "../../workers/core/source-clocks.ts";
import { withEvents } from "../support/clock-batch.ts";
import { ARRIVAL_US, core, makePlan } from "../unit/parse-support.ts";

/** Batches from lanes, whose texts stay from batch to batch, whether their rows are passed on or summed up first. */

const KEY = ["k"];
const BOUND_US = 3_000;
const IDLE_US = 40_000;
const BEFORE_ALL = -(2n ** 63n);

const batch = fc.record({
  lane: fc.nat(1),
  stepUs: fc.integer({ min: 0, max: 30_000 }),
  events: fc
    .tuple(
      fc.constantFrom(2, 7, 60),
      fc.array(fc.tuple(fc.nat(59), fc.integer({ min: -50_000, max: 1_000 })), {
        minLength: 1,
        maxLength: 80,
        size: "max",
      }),
    )
    .map(([sources, drawn]) =>
      drawn.map(([n, offsetUs]) => ({
        source: n % 7 === 3 ? `a device with a longer name ${n % sources}` : `d${n % sources}`,
        offsetUs,
      })),
    ),
  isRestored: fc.nat(4).map((n) => n === 0),
});

function makeClocks(): SourceClocks {
  const clocks = createSourceClocks(core, KEY);
  clocks.configure({ boundUs: BOUND_US, idleUs: IDLE_US, isPerSource: true, maxSources: 1_000 });
  return clocks;
}

test("clocks are those of the events one by one, whatever the batches that tell of them", () => {
  fc.assert(
    fc.property(fc.array(batch, { minLength: 1, maxLength: 8, size: "max" }), (batches) => {
      const lanes = [0, 1].map(() => ({
        parser: createParser(core, makePlan({ key: KEY, time: { fields: ["ts"], unit: "us" } })),
        summarizer: createSummarizer(core, KEY),
      }));
      const plain = createSummarizer(core, KEY);
      const clocks = makeClocks();
      const oneByOne = makeClocks();
      let nowUs = ARRIVAL_US;
      for (const { lane, stepUs, events: drawn, isRestored } of batches) {
        nowUs += stepUs;
        const events = drawn.map(({ source, offsetUs }) => ({ source, timeUs: nowUs + offsetUs }));
        if (isRestored) clocks.restore(clocks.snapshot());
        if (isRestored) oneByOne.restore(oneByOne.snapshot());
        const { parser, summarizer } = lanes[lane]!;
        const lines = events.map(({ source, timeUs }) => JSON.stringify({ k: source, ts: timeUs }));
        parser.begin(nowUs);
        parser.parse("ndjson", new TextEncoder().encode(`${lines.join("\n")}\n`));
        clocks.merge(summarizer.summarize(parser.finish(), nowUs), nowUs, BEFORE_ALL);
        for (const one of events) {
          const summary = withEvents(core, [{ ...one, isSkewed: false }], (rows) =>
            plain.summarize(rows, nowUs),
          );
          oneByOne.merge(summary, nowUs, BEFORE_ALL);
        }
        assert.equal(clocks.watermarkUs(), oneByOne.watermarkUs());
        assert.deepEqual(clocks.snapshot(), oneByOne.snapshot());
        assert.equal(
          clocks.wouldMove(nowUs + IDLE_US - 10_000, clocks.watermarkUs()),
          oneByOne.wouldMove(nowUs + IDLE_US - 10_000, clocks.watermarkUs()),
        );
      }
      for (const { parser, summarizer } of lanes) {
        parser.dispose();
        summarizer.dispose();
      }
      for (const each of [plain, clocks, oneByOne]) each.dispose();
    }),
    { numRuns: 50 },
  );
});
