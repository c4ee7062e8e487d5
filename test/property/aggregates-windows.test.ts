import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseSelect } from "../../host/config/select.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { Output, QueryPlan } from "../../workers/messages.ts";
import { aggregatePlainly, type TimedValue } from "../support/oracle-aggregates.ts";
import { type ColumnKind, makePlan, withBatch } from "../unit/window-batch.ts";

/** Aggregates of every type where windows are put together from several states. */

const core = instantiateCore();
const BEFORE_ALL_US = -(2n ** 62n);
const END_US = 2n ** 60n;

const SELECT = [
  "min(x)",
  "max(x)",
  "first(x)",
  "last(x)",
  "any(x)",
  "all(x)",
  "distinct(x)",
  "topk(x, 3)",
  "mode(x)",
  "histogram(x, 0, 5)",
  "delta(x)",
  "rate(x)",
  "twa(x)",
  "twa(x, step)",
  "integral(x)",
].map((call): Output => {
  const parsed = parseSelect(call);
  assert.ok(parsed.ok, call);
  return { name: call, ...parsed.expression };
});

const WINDOWS: Readonly<Record<string, QueryPlan["window"]>> = {
  sliding: { kind: "sliding", sizeUs: 60, everyUs: 10, offsetUs: 3 },
  session: { kind: "session", gapUs: 8 },
};

const value: Readonly<Record<"float" | "bool" | "text", fc.Arbitrary<number | boolean | string>>> = {
  float: fc.integer({ min: -20, max: 40 }).map((x) => x / 2),
  bool: fc.boolean(),
  text: fc.constantFrom("ok", "error", "", "ö", "ok "),
};
const batch = fc.constantFrom("float", "bool", "text").chain((kind) =>
  fc.record({
    kind: fc.constant<ColumnKind>(kind),
    events: fc.array(
      fc.record({ timeUs: fc.integer({ min: -50, max: 200 }), value: fc.option(value[kind], { freq: 8 }) }),
      { minLength: 1, maxLength: 40, size: "max" },
    ),
    isRestored: fc.boolean(),
  }),
);

for (const [name, window] of Object.entries(WINDOWS)) {
  test(`aggregates of every type over ${name} windows equal the oracle, in any order and with restarts`, () => {
    fc.assert(
      fc.property(fc.array(batch, { minLength: 1, maxLength: 6 }), (batches) => {
        const plan = makePlan({ by: [], window, select: SELECT });
        const local = createLocal(core, plan);
        let windows = createWindows(core, plan);
        const all: TimedValue[] = [];
        for (const { kind, events, isRestored } of batches) {
          all.push(...events);
          const times = events.map(({ timeUs }) => BigInt(timeUs));
          const columns = [{ name: "x", kind, cells: events.map((event) => event.value) }];
          withBatch(core, { times, columns }, (each) => windows.merge(local.aggregate(each), BEFORE_ALL_US));
          if (!isRestored) continue;
          const state = windows.snapshot();
          windows.dispose();
          windows = createWindows(core, plan);
          windows.restore(state);
        }
        const rows = windows.fire(END_US);
        assert.ok(rows.length > 0);
        for (const { startUs, endUs, values } of rows) {
          const inside = all.filter(({ timeUs }) => timeUs >= startUs && timeUs < endUs);
          const expected = SELECT.map(({ name: call, fn, ...parameters }) => [
            call,
            aggregatePlainly(fn, inside, parameters),
          ]);
          assert.deepEqual(JSON.parse(values), Object.fromEntries(expected));
        }
        windows.dispose();
        local.dispose();
      }),
      { numRuns: 150 },
    );
  });
}
