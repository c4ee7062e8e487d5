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

test("the sample of a session that has outgrown it is kept for its retraction, through a restart too", () => {
  const { alert: plan, query: fixture } = alertFixture("from: q, when: mean > 5");
  const query: QueryPlan = { ...fixture, window: { kind: "session", gapUs: 10 * SECOND } };
  const row = (endUs: number, rest: Partial<ResultRow>): ResultRow => {
    const plain = { query: "q", key: "{}", startUs: 0, values: '{"mean":9}', revision: 0 } as const;
    return { ...plain, endUs, kind: "on-time", ...rest };
  };
  const before = new QueryAlert(core, plan, query);
  before.take([row(10 * SECOND, {})], BigInt(10 * SECOND));
  before.keepOpen([{ startUs: 0, endUs: 10 * SECOND, key: "{}" }]);
  const passedUs = BigInt(1_000 * SECOND);
  const saved = before.save(passedUs);
  const after = new QueryAlert(core, plan, query);
  after.restore(saved);
  assert.equal(after.save(passedUs), saved);
  const retracted = row(10 * SECOND, { revision: 1, retracted: true, values: "{}" });
  const told = after.take([retracted, row(1_000 * SECOND, {})], passedUs);
  assert.deepEqual(
    told.map(({ state, atUs, isRetracted }) => [state, atUs / SECOND, isRetracted]),
    [
      ["resolved", 10, true],
      ["firing", 1_000, false],
    ],
  );
  assert.equal(after.stats().ignoredRevisions, 0);
  before.dispose();
  after.dispose();
});

test("of windows that are revised together and closed by then, each is judged again", () => {
  const { alert: plan, query } = alertFixture("from: q, when: mean > 5");
  const alert = new QueryAlert(core, plan, query);
  const take = (watermark: number, revision: number, means: readonly number[]): string[] => {
    const rows = means.map((mean, window): ResultRow => {
      const times = { startUs: window * 10 * SECOND, endUs: (window + 1) * 10 * SECOND };
      const kind = revision === 0 ? "on-time" : "late";
      return { query: "q", key: "{}", ...times, values: `{"mean":${mean}}`, revision, kind };
    });
    return alert
      .take(rows, BigInt(watermark * SECOND))
      .map(({ state, sinceUs, revision }) => `${state} ${sinceUs / SECOND} ${revision}`);
  };
  assert.deepEqual(take(20, 0, [9, 9]), ["firing 0 0"]);
  assert.deepEqual(take(1_000, 1, [8, 1]), ["resolved 0 1"]);
  assert.equal(alert.stats().ignoredRevisions, 0);
  alert.dispose();
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
