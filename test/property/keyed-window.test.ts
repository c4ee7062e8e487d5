import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileHaving } from "../../host/config/expression/compile.ts";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { keepHaving } from "../../workers/core/having.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../../workers/core/window.ts";
import type { AggregateName, Output, QueryPlan, ResultRow } from "../../workers/messages.ts";
import { Captures } from "../support/captures.ts";
import { parsed, streamOf } from "../support/expression-fixture.ts";
import { type KeyedEvent, KeyedOracle, type KeyedRow, type KeyedWindow } from "../support/keyed-oracle.ts";
import { fireInPortions } from "../support/portions.ts";
import { Random } from "../support/random.ts";
import { aggregateExactly } from "./window-model.ts";

const RUNS = 400;
const core = instantiateCore();
/** So far, in all runs. */
let earlyRows = 0;
const BEFORE_ALL = -(2n ** 63n);
const KEYS = ["a", "b", "a key of more than sixteen bytes"];

const SELECT: readonly Omit<Output, "bounds">[] = [
  { name: "n", fn: "count", field: null, parameter: null },
  { name: "nv", fn: "count", field: "v", parameter: null },
  ...(["sum", "avg", "min", "max", "range", "first", "last", "variance", "stddev"] as const).map(
    (fn: AggregateName) => ({ name: fn, fn, field: "v", parameter: null }),
  ),
];

interface Scenario {
  readonly window: KeyedWindow;
  readonly latenessUs: number;
  readonly boundUs: number;
  readonly isPerKey: boolean;
  /** null: no early results. */
  readonly earlyUs: number | null;
  readonly steps: readonly Step[];
}

type Step =
  | { readonly kind: "block"; readonly worker: number; readonly events: readonly KeyedEvent[] }
  | { readonly kind: "watermark"; readonly timeUs: number }
  | { readonly kind: "restart" };

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

function scenario(window: fc.Arbitrary<KeyedWindow>): fc.Arbitrary<Scenario> {
  return fc.record({
    window,
    latenessUs: fc.integer({ min: 0, max: 60 }),
    boundUs: fc.integer({ min: 0, max: 60 }),
    isPerKey: fc.boolean(),
    earlyUs: fc.option(fc.integer({ min: 1, max: 30 })),
    steps,
  });
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

function earlyOf({ window, earlyUs }: Scenario): { readonly earlyUs?: number } {
  return earlyUs === null || window.kind === "count" || window.kind === "none" ? {} : { earlyUs };
}

function planOf(given: Scenario): QueryPlan {
  const { window, latenessUs, boundUs, isPerKey } = given;
  return {
    ...earlyOf(given),
    id: 0,
    name: "q",
    stream: "s",
    window,
    latenessUs,
    ...(isPerKey ? { keyClock: { boundUs, maxIdleKeys: 1_000 } } : {}),
    by: [["k"]],
    select: SELECT,
  };
}

interface BatchExports {
  codecSeal(batch: number): number;
  batchDispose(batch: number): void;
}

/** Aggregates events, and says of what the windows refuse which of them it was. */
function mergeBlock(
  local: LocalAggregator,
  merge: (partial: Uint8Array) => { lateGroups: Uint8Array | null; lateCount: number },
  events: readonly KeyedEvent[],
): KeyedEvent[] {
  const builder = buildBatch(core);
  const { codecSeal, batchDispose } = core.exports as unknown as BatchExports;
  const key = builder.addColumn("k", "string");
  const column = builder.addColumn("v", "float");
  for (const { key: text, timeUs, value } of events) {
    const row = builder.addRow(BigInt(timeUs), 0);
    builder.setText(key, row, text);
    if (value !== null) builder.setFloat(column, row, value);
  }
  codecSeal(builder.batch);
  const { lateGroups, lateCount } = merge(local.aggregate(builder.batch));
  const mask = lateGroups === null ? null : local.maskLate(builder.batch, lateGroups);
  batchDispose(builder.batch);
  const late = events.filter((_, row) => mask !== null && mask[row] === 1);
  assert.equal(lateCount, late.length);
  return late;
}

const text = (value: unknown): string => JSON.stringify(value);

function expectedRow({ key, events, isRetracted, ...row }: KeyedRow): string {
  const values = isRetracted ? {} : aggregateExactly(events);
  return text([row.startUs, row.endUs, key, row.revision, row.kind, isRetracted, values]);
}

function givenRow({ startUs, endUs, key, values, revision, kind, retracted }: ResultRow): string {
  const { k } = JSON.parse(key) as { k: string };
  return text([startUs, endUs, k, revision, kind, retracted === true, JSON.parse(values)]);
}

/** Runs a scenario as a node would: a block is merged under the clock before it, then the clock moves, then rows come. */
function run(
  plan: QueryPlan,
  given: Scenario,
  check: boolean,
  filter: (rows: readonly KeyedRow[]) => readonly KeyedRow[] = (rows) => rows,
): { rows: string[]; snapshot: Uint8Array } {
  const { isPerKey, boundUs } = given;
  const locals = [0, 1, 2].map(() => createLocal(core, plan));
  const open = (): Windows => keepHaving(core, plan, createWindows(core, plan));
  let windows = open();
  const random = new Random(given.steps.length * 64 + given.latenessUs);
  let captures = new Captures(windows, open, random);
  const oracle = new KeyedOracle({
    window: given.window,
    latenessUs: given.latenessUs,
    keyBoundUs: isPerKey ? boundUs : null,
    ...earlyOf(given),
  });
  const rows: string[] = [];
  let watermark = BEFORE_ALL;
  let greatest = -Infinity;
  let portion = 0;
  const advance = (timeUs: number): void => {
    if (BigInt(timeUs) > watermark) watermark = BigInt(timeUs);
  };
  for (const step of given.steps) {
    if (step.kind === "restart") {
      if (random.chance(0.5)) {
        windows = captures.replace();
      } else {
        const state = windows.snapshot();
        windows.dispose();
        windows = open();
        windows.restore(state);
        assert.deepEqual(windows.snapshot(), state);
      }
      captures = new Captures(windows, open, random);
      continue;
    }
    if (step.kind === "watermark") advance(step.timeUs);
    else if (step.events.length > 0) {
      const late = mergeBlock(
        locals[step.worker]!,
        (partial) => windows.merge(partial, watermark),
        step.events,
      );
      if (check) {
        const expected = oracle.merge(step.events, Number(watermark));
        assert.deepEqual(late.map(text).toSorted(), expected.map(text).toSorted());
      }
      greatest = Math.max(greatest, ...step.events.map(({ timeUs }) => timeUs));
      if (!isPerKey) advance(greatest - boundUs);
    }
    captures.turn();
    portion = (portion % 5) + 1;
    const fired = fireInPortions(windows, watermark, portion).map(givenRow).toSorted();
    if (check)
      assert.deepEqual(
        fired,
        filter(oracle.fire(Number(watermark)))
          .map(expectedRow)
          .toSorted(),
      );
    captures.turn();
    if (check && plan.window.kind !== "none") assert.equal(windows.stats().groups, oracle.openWindows);
    rows.push(...fired);
    earlyRows += fired.filter((row) => row.includes('"early"')).length;
  }
  const snapshot = windows.snapshot();
  for (const local of locals) local.dispose();
  windows.dispose();
  return { rows, snapshot };
}

for (const [kind, window] of Object.entries(KINDS)) {
  test(`${kind}: rows, revisions, retractions and late events are the oracle's`, () => {
    fc.assert(
      fc.property(scenario(window), (given) => {
        // Tumbling and sliding windows are keyed only where keys have clocks.
        const scene = kind === "aligned" ? { ...given, isPerKey: true } : given;
        run(planOf(scene), scene, true);
      }),
      { numRuns: RUNS },
    );
    if (kind === "session" || kind === "aligned") assert.ok(earlyRows > RUNS, `${earlyRows} early results`);
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
