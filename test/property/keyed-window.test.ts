import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileHaving } from "../../host/config/expression/compile.ts";
import { parsed, streamOf } from "../support/expression-fixture.ts";
import type { KeyedWindow } from "../support/keyed-oracle.ts";
import { planOf, run, type Scenario, SELECT, type Step } from "./keyed-support.ts";

const RUNS = 400;
const KEYS = ["a", "b", "a key of more than sixteen bytes"];

const event = fc.record({
  key: fc.constantFrom(...KEYS),
  timeUs: fc.integer({ min: -40, max: 40 }),
  value: fc.option(
    fc.oneof(
      fc.integer({ min: -3, max: 3 }),
      fc.integer({ min: -1e9, max: 1e9 }).map((x) => x / 1_000),
    ),
    {
      freq: 5,
    },
  ),
});
/** How far time goes on from step to step. */
const STEP_US = 12;
/** Times are relative to their step. */
const relativeSteps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("block" as const),
        worker: fc.nat(2),
        events: fc.oneof(fc.array(event, { maxLength: 6 }), fc.array(event, { maxLength: 25 })),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("watermark" as const),
        timeUs: fc.integer({ min: -100, max: 100 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  ),
  { maxLength: 20 },
);
const steps: fc.Arbitrary<readonly Step[]> = relativeSteps.map((items) =>
  items.map((step, index) => {
    const nowUs = (index - 5) * STEP_US;
    if (step.kind === "restart") return step;
    if (step.kind === "watermark") return { ...step, timeUs: step.timeUs + nowUs };
    return { ...step, events: step.events.map((one) => ({ ...one, timeUs: one.timeUs + nowUs })) };
  }),
);

/** Every event has a value where lanes are to pass them on as they came. */
const withValues = (items: readonly Step[]): readonly Step[] =>
  items.map((step) =>
    step.kind === "block"
      ? { ...step, events: step.events.map((one) => ({ ...one, value: one.value ?? 0 })) }
      : step,
  );

function scenario(window: fc.Arbitrary<KeyedWindow>): fc.Arbitrary<Scenario> {
  return fc
    .record({
      window,
      latenessUs: fc.integer({ min: 0, max: 60 }),
      boundUs: fc.integer({ min: 0, max: 60 }),
      isPerKey: fc.boolean(),
      earlyUs: fc.option(fc.integer({ min: 1, max: 30 })),
      isUntimed: fc.boolean(),
      keepsTexts: fc.boolean(),
      steps,
    })
    .map((given) => (given.isUntimed ? { ...given, steps: withValues(given.steps) } : given));
}

const aligned: fc.Arbitrary<KeyedWindow> = fc.oneof(
  fc.record({
    kind: fc.constant("tumbling" as const),
    sizeUs: fc.integer({ min: 1, max: 40 }),
    offsetUs: fc.nat(40),
  }),
  fc
    .tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 40 }), fc.nat(40))
    .map(([everyUs, more, offsetUs]) => ({
      kind: "sliding" as const,
      sizeUs: everyUs + more,
      everyUs,
      offsetUs,
    })),
);
const KINDS: Readonly<Record<string, fc.Arbitrary<KeyedWindow>>> = {
  session: fc.record({ kind: fc.constant("session" as const), gapUs: fc.integer({ min: 1, max: 15 }) }),
  count: fc.record({ kind: fc.constant("count" as const), size: fc.integer({ min: 1, max: 6 }) }),
  none: fc.constant({ kind: "none" as const }),
  aligned,
};

for (const [kind, window] of Object.entries(KINDS)) {
  test(`${kind}: rows, revisions, retractions and late events are the oracle's`, () => {
    let earlyRows = 0;
    fc.assert(
      fc.property(scenario(window), (given) => {
        // Tumbling and sliding windows are keyed only where keys have clocks.
        const scene = kind === "aligned" ? { ...given, isPerKey: true } : given;
        earlyRows += run(planOf(scene), scene, true).earlyRows;
      }),
      { numRuns: RUNS },
    );
    if (kind !== "none") assert.ok(earlyRows > RUNS, `${earlyRows} early results`);
  });

  // The revisions of equal times tell the order of arrival.
  if (kind === "none") continue;
  test(`${kind}: the order within blocks and the worker show in no bit of rows and state`, () => {
    fc.assert(
      fc.property(scenario(window), fc.integer(), (given, seed) => {
        const scene = kind === "aligned" ? { ...given, isPerKey: true } : given;
        const shuffled = scene.steps.map((step) =>
          step.kind === "block"
            ? { ...step, worker: Math.abs(seed) % 3, events: shuffle(step.events, seed) }
            : step,
        );
        const plan = planOf(scene);
        const [as, too] = [run(plan, scene, false), run(plan, { ...scene, steps: shuffled }, false)];
        assert.deepEqual(too.rows, as.rows);
        assert.deepEqual(too.snapshot, as.snapshot);
      }),
      { numRuns: 200 },
    );
  });
}

test("having over sessions and windows by a key's clock: what is given and taken back is the oracle's", () => {
  const having = compileHaving(
    { having: parsed("n % 2 == 1"), by: ["k"], select: SELECT },
    streamOf({ k: "string", v: "float" }),
    new Map(),
  );
  assert.ok(having?.ok);
  fc.assert(
    fc.property(scenario(fc.oneof(...Object.values(KINDS))), (given) => {
      const isAligned = given.window.kind === "tumbling" || given.window.kind === "sliding";
      const scene = isAligned ? { ...given, isPerKey: true } : given;
      const standing = new Set<string>();
      run({ ...planOf(scene), having: having.value }, scene, true, (rows) =>
        rows.flatMap((row) => {
          const id = `${row.key} ${row.startUs} ${row.endUs}`;
          if (!row.isRetracted && row.events.length % 2 === 1) {
            standing.add(id);
            return [row];
          }
          return standing.delete(id) ? [{ ...row, isRetracted: true }] : [];
        }),
      );
    }),
    { numRuns: 400 },
  );
});

function shuffle<T>(items: readonly T[], seed: number): T[] {
  return items
    .map((item, index) => ({ item, place: Math.imul(index + 1, seed | 1) >>> 0 }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ item }) => item);
}
