import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../../workers/core/window.ts";
import type { Output } from "../../workers/messages.ts";
import { aggregatePlainly, type OracleValue, type TimedValue } from "../support/oracle-aggregates.ts";
import { type ColumnKind, makePlan, withBatch } from "../unit/window-batch.ts";

const core = instantiateCore();
const NEVER_US = -(2n ** 62n);
const END_US = 2n ** 60n;

type Select = Pick<Output, "fn"> & Partial<Output>;

/** One of each, and one with every parameter; shared states and separate ones. */
const SELECT: readonly Select[] = [
  { fn: "min" },
  { fn: "max" },
  { fn: "first" },
  { fn: "last" },
  { fn: "any" },
  { fn: "all" },
  { fn: "distinct" },
  { fn: "topk", parameter: 3 },
  { fn: "topk", parameter: 100 },
  { fn: "mode" },
  { fn: "histogram", bounds: [-1, 0, 0.5, 20] },
  { fn: "histogram", bounds: [7] },
  { fn: "delta" },
  { fn: "rate" },
  { fn: "twa" },
  { fn: "twa", parameter: 1 },
  { fn: "integral" },
  { fn: "integral", parameter: 1 },
];

const nameOf = ({ fn, parameter, bounds }: Select): string =>
  [fn, parameter, bounds].filter((part) => part != null).join(" ");
const outputOf = (select: Select): Output => ({
  field: "v",
  parameter: null,
  ...select,
  name: nameOf(select),
});

/** Of each kind: values that are often equal, and some at the edges. */
const VALUES: Readonly<Record<ColumnKind, fc.Arbitrary<OracleValue>>> = {
  bool: fc.boolean(),
  int: fc.oneof(
    { weight: 4, arbitrary: fc.bigInt({ min: -20n, max: 20n }) },
    { weight: 1, arbitrary: fc.bigInt({ min: 2n ** 53n - 2n, max: 2n ** 53n + 4n }) },
    { weight: 1, arbitrary: fc.constantFrom(2n ** 63n - 1n, -(2n ** 63n), -(2n ** 53n) - 1n) },
  ),
  float: fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: -30, max: 60 }).map((x) => x / 2) },
    { weight: 1, arbitrary: fc.double({ min: -1e9, max: 1e9, noNaN: true }).map((x) => x + 0) },
    { weight: 1, arbitrary: fc.constantFrom(0, 0.1, 1e15, -1e15, 1e-9, 1e200) },
  ),
  text: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom("ok", "error", "", "ö", "😀", "\uffff", "ok ", '"\\\t') },
    { weight: 1, arbitrary: fc.string({ unit: "grapheme", maxLength: 40 }) },
  ),
};
const KINDS = Object.keys(VALUES) as readonly ColumnKind[];

/** Times that often agree, or lie close together, or far apart. */
const timeUs = fc.oneof(fc.integer({ min: 0, max: 6 }), fc.integer({ min: -5_000_000, max: 9_000_000 }));
const eventsOf = (kind: ColumnKind, maxLength: number): fc.Arbitrary<TimedValue[]> =>
  fc.array(fc.record({ timeUs, value: fc.option(VALUES[kind], { freq: 8 }) }), { maxLength, size: "max" });

const WINDOW = { kind: "tumbling", sizeUs: 100_000_000, offsetUs: -50_000_000 } as const;

function withEngines(
  select: readonly Select[],
  use: (locals: readonly LocalAggregator[], createFresh: () => Windows) => void,
): void {
  const plan = makePlan({ by: [], window: WINDOW, select: select.map(outputOf) });
  const locals = [0, 1, 2].map(() => createLocal(core, plan));
  const made: Windows[] = [];
  try {
    use(locals, () => {
      const windows = createWindows(core, plan);
      made.push(windows);
      return windows;
    });
  } finally {
    for (const engine of [...locals, ...made]) engine.dispose();
  }
}

function merge(
  windows: Windows,
  local: LocalAggregator,
  kind: ColumnKind,
  events: readonly TimedValue[],
): void {
  const rows = {
    times: events.map((event) => BigInt(event.timeUs)),
    columns: [{ name: "v", kind, cells: events.map(({ value }) => value) }],
  };
  withBatch(core, rows, (batch) => windows.merge(local.aggregate(batch), NEVER_US));
}

function valuesOf(windows: Windows): Record<string, unknown> | null {
  const [row] = windows.fire(END_US);
  return row === undefined ? null : (JSON.parse(row.values) as Record<string, unknown>);
}

/** Numbers as JSON.parse gives them. */
function asJson(value: unknown): unknown {
  const text = JSON.stringify(value, (_, member: unknown) =>
    typeof member === "bigint" ? Number(member) : member,
  );
  return JSON.parse(text) as unknown;
}

/** Ints that a double holds are the same value as that double. */
function normal(events: readonly TimedValue[]): TimedValue[] {
  return events.map((event) => {
    const { value } = event;
    return typeof value === "bigint" && BigInt(Number(value)) === value
      ? { ...event, value: Number(value) }
      : event;
  });
}

function expectedOf(select: readonly Select[], events: readonly TimedValue[]): Record<string, unknown> {
  const plain = normal(events);
  return Object.fromEntries(
    select.map((item) => [nameOf(item), asJson(aggregatePlainly(item.fn, plain, item))]),
  );
}

for (const kind of KINDS) {
  for (const select of [...SELECT.map((item) => [item]), SELECT]) {
    const name = select.length === 1 ? nameOf(select[0]!) : "all of them";
    test(`${name} of ${kind}s: merging parts is aggregating their union, in any order and split, and equals the oracle`, () => {
      const parts = fc.array(eventsOf(kind, 40), { maxLength: 5, size: "max" });
      fc.assert(
        fc.property(parts, fc.infiniteStream(fc.nat()), fc.boolean(), (batches, picks, isRestored) => {
          withEngines(select, (locals, createFresh) => {
            const all = batches.flat();
            const whole = createFresh();
            merge(whole, locals[0]!, kind, shuffle(all, picks));
            let split = createFresh();
            shuffle(batches, picks).forEach((events, index) => {
              merge(split, locals[index % 3]!, kind, events);
              if (!isRestored) return;
              const state = split.snapshot();
              split = createFresh();
              split.restore(state);
              assert.deepEqual(split.snapshot(), state);
            });
            if (all.length > 0) assert.deepEqual(split.snapshot(), whole.snapshot());
            const values = valuesOf(split);
            assert.deepEqual(values, valuesOf(whole));
            assert.deepEqual(values, all.length === 0 ? null : expectedOf(select, all));
          });
        }),
        { numRuns: 60 },
      );
    });
  }
}

test("all of them, where the type changes from batch to batch, equal the oracle in any order", () => {
  const batch = fc
    .constantFrom(...KINDS)
    .chain((kind) => eventsOf(kind, 12).map((events) => ({ kind, events })));
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 6, size: "max" }), (batches) => {
      withEngines(SELECT, (locals, createFresh) => {
        const windows = [batches, batches.toReversed()].map((order) => {
          const made = createFresh();
          order.forEach(({ kind, events }, index) => {
            merge(made, locals[index % 3]!, kind, events);
          });
          return made;
        });
        const [forwards, backwards] = windows.map((each) => each.snapshot());
        assert.deepEqual(forwards, backwards);
        const all = batches.flatMap(({ events }) => events);
        const expected = all.length === 0 ? null : expectedOf(SELECT, all);
        for (const each of windows) assert.deepEqual(valuesOf(each), expected);
      });
    }),
    { numRuns: 200 },
  );
});

function shuffle<T>(items: readonly T[], picks: Iterable<number>): T[] {
  const from = picks[Symbol.iterator]();
  return items
    .map((item) => ({ item, at: Number(from.next().value) }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
