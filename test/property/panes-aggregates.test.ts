import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { Output, QueryPlan, ResultRow } from "../../workers/messages.ts";
import { makeOutputs, makePlan, type Rows, withBatch } from "../unit/window-batch.ts";

/**
 * A window that is put together from slices gives what a tumbling window of the same events gives, whose aggregates have
 * tests of their own: for every aggregate, to the last character.
 */

const core = instantiateCore();
const SECOND_US = 1_000_000;
const NEVER_US = -(2n ** 63n);
const END_US = 10n ** 15n;
const SELECT: readonly Output[] = [
  ...makeOutputs({
    n: ["count"],
    texts: ["count", "s"],
    sum: ["sum", "v"],
    sd: ["stddev", "v"],
    median: ["quantile", "v", 0.5],
    firstText: ["first", "s"],
    lastText: ["last", "s"],
    minText: ["min", "s"],
    maxText: ["max", "s"],
    kinds: ["distinct", "s"],
    values: ["distinct", "v"],
    top: ["topk", "s", 2],
    often: ["mode", "s"],
    delta: ["delta", "v"],
    rate: ["rate", "v"],
    twa: ["twa", "v"],
    integral: ["integral", "v", 1],
    any: ["any", "b"],
    all: ["all", "b"],
  }),
  { name: "histogram", fn: "histogram", field: "v", parameter: null, bounds: [0, 10] },
];

interface Event {
  readonly second: number;
  readonly key: string;
  readonly v: number | null;
  readonly s: string | null;
  readonly b: boolean | null;
}

const event: fc.Arbitrary<Event> = fc.record({
  second: fc.integer({ min: -30, max: 60 }),
  key: fc.constantFrom("a", "b"),
  v: fc.option(fc.integer({ min: -500, max: 500 }).map((x) => x / 10 + 0)),
  s: fc.option(fc.constantFrom("on", "off", "ü", "a text of more than sixteen bytes")),
  b: fc.option(fc.boolean()),
});

function rowsOf(events: readonly Event[]): Rows {
  return {
    times: events.map(({ second }) => BigInt(second * SECOND_US)),
    columns: [
      { name: "device", kind: "text", cells: events.map(({ key }) => key) },
      { name: "v", kind: "float", cells: events.map(({ v }) => v) },
      { name: "s", kind: "text", cells: events.map(({ s }) => s) },
      { name: "b", kind: "bool", cells: events.map(({ b }) => b) },
    ],
  };
}

/** Merges the parts one after the other; after each, the watermark is at the second beside it, if there is one. */
function run(plan: QueryPlan, parts: readonly (readonly [readonly Event[], number | null])[]): ResultRow[] {
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  const rows: ResultRow[] = [];
  let watermarkUs = NEVER_US;
  for (const [events, second] of parts) {
    withBatch(core, rowsOf(events), (batch) => windows.merge(local.aggregate(batch), watermarkUs));
    const next = second === null ? watermarkUs : BigInt(second * SECOND_US);
    watermarkUs = next > watermarkUs ? next : watermarkUs;
    rows.push(...windows.fire(watermarkUs));
  }
  rows.push(...windows.fire(END_US));
  local.dispose();
  windows.dispose();
  return rows;
}

test("every aggregate of a sliding window is that of a tumbling window of its events", () => {
  const part = fc.tuple(
    fc.array(event, { maxLength: 25 }),
    fc.option(fc.integer({ min: -30, max: 80 }), { freq: 3 }),
  );
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 6 }),
      fc.constantFrom([3, 1], [10, 4], [70, 1], [30, 7]),
      (parts, [size = 3, every = 1]) => {
        const window = {
          kind: "sliding",
          sizeUs: size * SECOND_US,
          everyUs: every * SECOND_US,
          offsetUs: 0,
        } as const;
        // Nothing is too late: the last revision has all events.
        const plan = makePlan({ window, latenessUs: 1_000 * SECOND_US, select: SELECT });
        const latest = new Map(run(plan, parts).map((row) => [`${row.startUs} ${row.key}`, row]));
        for (const { startUs, endUs, key, values } of latest.values()) {
          const { device } = JSON.parse(key) as { device: string };
          const events = parts
            .flatMap(([items]) => items)
            .filter(
              (item) =>
                item.key === device && item.second * SECOND_US >= startUs && item.second * SECOND_US < endUs,
            );
          const alone = makePlan({
            window: { kind: "tumbling", sizeUs: size * SECOND_US, offsetUs: startUs },
            select: SELECT,
          });
          assert.deepEqual(
            run(alone, [[events, null]]).map((row) => [row.startUs, row.values]),
            [[startUs, values]],
          );
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("buckets of quantiles that overflow what a sketch keeps are merged as they are in one window", () => {
  // 3,000 buckets over many octaves, and counts: more than are kept, so that the lowest collapse.
  const values = Array.from({ length: 3_000 }, (_, index) => 1.02 ** index * (index % 2 === 0 ? 1 : 1.001));
  const select = makeOutputs({
    q0: ["quantile", "v", 0],
    q1: ["quantile", "v", 0.3],
    q9: ["quantile", "v", 0.9],
  });
  const rows = (from: number): Rows => {
    const part = values.filter((_, index) => index % 8 === from);
    return {
      times: part.map(() => BigInt(from * SECOND_US)),
      columns: [
        { name: "device", kind: "text", cells: part.map(() => "a") },
        { name: "v", kind: "float", cells: part },
      ],
    };
  };
  const results = (["sliding", "tumbling"] as const).map((kind) => {
    const shape = { sizeUs: 64 * SECOND_US, offsetUs: 0 };
    const window = kind === "sliding" ? { kind, everyUs: SECOND_US, ...shape } : { kind, ...shape };
    const plan = makePlan({ window, select });
    const local = createLocal(core, plan);
    const windows = createWindows(core, plan);
    for (let part = 0; part < 8; part++) {
      withBatch(core, rows(part), (batch) => windows.merge(local.aggregate(batch), NEVER_US));
    }
    const found = windows.fire(END_US).find(({ startUs }) => startUs === 0);
    local.dispose();
    windows.dispose();
    return found?.values;
  });
  assert.ok(results[0] !== undefined);
  assert.equal(results[0], results[1]);
});
