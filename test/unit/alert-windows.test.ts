import assert from "node:assert/strict";
import { test } from "node:test";
import { QueryAlert } from "../../workers/alert/query-alert.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { QueryPlan, ResultRow } from "../../workers/messages.ts";
import { alertFixture } from "../support/alert-fixture.ts";

const core = instantiateCore();
const SECOND = 1_000_000;

interface Look {
  readonly take: (...rows: Partial<ResultRow>[]) => string[];
}

/** An alert over windows of another kind; rows are given in seconds. */
function look(window: QueryPlan["window"], settings: string): Look {
  const { alert: plan, query } = alertFixture(`from: q, ${settings}`);
  const alert = new QueryAlert(core, plan, { ...query, window });
  return {
    take: (...rows) => {
      const full = rows.map((row): ResultRow => {
        const { startUs = 0, endUs = startUs, values = "{}", ...rest } = row;
        const times = { startUs: startUs * SECOND, endUs: endUs * SECOND };
        return { query: "q", key: '{"device":"a"}', revision: 0, kind: "on-time", ...rest, ...times, values };
      });
      const last = Math.max(...full.map(({ endUs }) => endUs));
      return alert.take(full, BigInt(last)).map(({ state, sinceUs, atUs, revision, isRetracted }) => {
        return `${state} ${sinceUs / SECOND}-${atUs / SECOND} ${revision}${isRetracted ? " retracted" : ""}`;
      });
    },
  };
}

test("a session that grows takes its alert with it: the old one is retracted, the longer one fires", () => {
  const { take } = look({ kind: "session", gapUs: 10 * SECOND }, "when: mean > 5");
  assert.deepEqual(take({ startUs: 0, endUs: 10, values: '{"mean":9}' }), ["firing 0-10 0"]);
  assert.deepEqual(
    take(
      { startUs: 0, endUs: 10, revision: 1, retracted: true },
      { startUs: 0, endUs: 25, values: '{"mean":7}' },
    ),
    ["resolved 0-10 1 retracted", "firing 0-25 0"],
  );
  assert.deepEqual(
    take(
      { startUs: 0, endUs: 25, revision: 1, retracted: true },
      { startUs: 0, endUs: 30, values: '{"mean":3}' },
    ),
    ["resolved 0-25 1 retracted"],
  );
});

test("rows of one instant are samples each, where windows are counts or single events", () => {
  for (const window of [{ kind: "count", size: 2 }, { kind: "none" }] as const) {
    const { take } = look(window, "when: mean > 5, for: 2");
    const steps = take(
      { startUs: 5, revision: 3, values: '{"mean":1}' },
      { startUs: 5, revision: 1, values: '{"mean":9}' },
      { startUs: 5, revision: 2, values: '{"mean":8}' },
    );
    assert.deepEqual(steps, ["pending 5-5 0", "firing 5-5 1", "resolved 5-5 2"]);
    assert.deepEqual(
      take({ startUs: 4, values: '{"mean":9}' }, { startUs: 4, revision: 9, values: '{"mean":9}' }),
      ["pending 4-4 0", "firing 4-4 1"],
    );
  }
});

test("sliding windows: `for` as a duration goes from the first window's start to the last one's end", () => {
  const window = { kind: "sliding", sizeUs: 60 * SECOND, everyUs: 10 * SECOND, offsetUs: 0 } as const;
  const { take } = look(window, "when: mean > 5, for: 80s");
  const at = (end: number): Partial<ResultRow> => ({ startUs: end - 60, endUs: end, values: '{"mean":9}' });
  assert.deepEqual(take(at(60)), ["pending 0-60 0"]);
  assert.deepEqual(take(at(70)), []);
  assert.deepEqual(take(at(80)), ["firing 0-80 1"]);
});

test("where when and clear are both true, when holds; without clear a null ends the alert", () => {
  const both = look({ kind: "none" }, "when: mean > 5, clear: mean > 7");
  assert.deepEqual(both.take({ startUs: 1, values: '{"mean":8}' }, { startUs: 2, values: '{"mean":9}' }), [
    "firing 1-1 0",
  ]);
  const without = look({ kind: "none" }, "when: mean > 5");
  assert.deepEqual(
    without.take({ startUs: 1, values: '{"mean":8}' }, { startUs: 2, values: '{"mean":null}' }),
    ["firing 1-1 0", "resolved 1-2 1"],
  );
  const withClear = look({ kind: "none" }, "when: mean > 5, clear: mean < 3");
  assert.deepEqual(
    withClear.take({ startUs: 1, values: '{"mean":8}' }, { startUs: 2, values: '{"mean":null}' }),
    ["firing 1-1 0"],
  );
});
