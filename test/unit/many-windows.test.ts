import assert from "node:assert/strict";
import { test } from "node:test";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { QueryPlan } from "../../workers/messages.ts";
import { makeOutputs, makePlan, withBatch } from "./window-batch.ts";

const core = instantiateCore();
const HOUR_US = 3_600_000_000;
const ALL = 2n ** 60n;
const hours = {
  kind: "calendar",
  timezone: "Europe/Berlin",
  unit: "time",
  size: HOUR_US,
  every: HOUR_US,
} as const;

/** Years of history in one request: with work that grows as the square of the windows, none of these would end. */
const CASES: readonly (readonly [string, number, Partial<QueryPlan>])[] = [
  ["tumbling", 100_000, { window: { kind: "tumbling", sizeUs: HOUR_US, offsetUs: 0 } }],
  ["hours of a time zone", 8_000, { window: { ...hours, offsetUs: 0 } }],
  [
    "hours of a time zone by the clocks of keys",
    8_000,
    { window: { ...hours, offsetUs: 0 }, keyClock: { boundUs: 0, maxIdleKeys: 10 } },
  ],
];

for (const [what, days, settings] of CASES) {
  test(`a batch of ${days} windows, one a day: ${what}`, () => {
    const plan = makePlan({ select: makeOutputs({ n: ["count"] }), ...settings });
    const [local, windows] = [createLocal(core, plan), createWindows(core, plan)];
    const rows = {
      times: Array.from({ length: days }, (_, day) => BigInt(day * 24 * HOUR_US)),
      columns: [{ name: "device", kind: "text" as const, cells: Array.from({ length: days }, () => "a") }],
    };
    const { lateCount } = withBatch(core, rows, (batch) =>
      windows.merge(local.aggregate(batch), -(2n ** 63n)),
    );
    assert.equal(lateCount, 0);
    const fired = windows.fire(ALL);
    assert.equal(fired.length, days);
    assert.ok(fired.every(({ values }) => values === '{"n":1}'));
    local.dispose();
    windows.dispose();
  });
}
