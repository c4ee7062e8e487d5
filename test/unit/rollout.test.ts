import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ConfigReport, ConfigReportState } from "../../host/hub/configs/config-records.ts";
import { readRollout } from "../../host/hub/configs/config-routes.ts";
import { diffLines } from "../../host/hub/configs/line-diff.ts";
import {
  abortRollout,
  advanceRollout,
  beginRollout,
  edgesOfStep,
  type ReportOf,
  resumeRollout,
} from "../../host/hub/configs/rollout.ts";

const SECOND_US = 1_000_000;
const edges = Array.from({ length: 10 }, (_, n) => `press-${n}`);

function reports(states: Readonly<Record<string, ConfigReportState>>, version = 8): ReportOf {
  return (edge): ConfigReport | null => {
    const state = states[edge];
    return state === undefined
      ? null
      : { scope: "group:g", version, etag: `"${version}"`, state, reason: null, atUs: 1 };
  };
}

const plan = {
  steps: [
    { percent: 20, waitMs: 10_000 },
    { percent: 100, waitMs: 0 },
  ],
  maxFailures: 0,
};

test("steps have the first so many of an order that names alone give, and grow", () => {
  const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 30 });
  const percent = fc.integer({ min: 1, max: 100 });
  fc.assert(
    fc.property(names, percent, percent, (group, a, b) => {
      const [less, more] = [edgesOfStep(group, Math.min(a, b)), edgesOfStep(group, Math.max(a, b))];
      assert.deepEqual(more.slice(0, less.length), less);
      assert.equal(less.length, Math.ceil((group.length * Math.min(a, b)) / 100));
      assert.deepEqual(edgesOfStep(group.toReversed(), 100), edgesOfStep(group, 100));
      assert.deepEqual(edgesOfStep(group, 100).toSorted(), group.toSorted());
    }),
  );
});

test("a step waits for its time and for those that try, and not for edges that are away", () => {
  const begun = beginRollout(plan, 8, 7, edges, 0);
  const [first = "", second = ""] = begun.offered;
  assert.equal(begun.offered.length, 2);
  const well = reports({ [first]: "applied" });
  assert.equal(advanceRollout(begun, edges, well, 9 * SECOND_US), begun);
  assert.equal(advanceRollout(begun, edges, reports({}), 99 * SECOND_US), begun, "nobody has shown it yet");
  const trying = reports({ [first]: "applied", [second]: "trying" });
  assert.equal(advanceRollout(begun, edges, trying, 11 * SECOND_US), begun);
  assert.equal(advanceRollout(begun, edges, reports({ [first]: "applied" }, 7), 11 * SECOND_US), begun);
  const next = advanceRollout(begun, edges, well, 11 * SECOND_US);
  assert.deepEqual([next.state, next.step, next.offered.toSorted()], ["running", 1, edges]);
  assert.equal(
    advanceRollout(next, edges, well, 12 * SECOND_US),
    next,
    "none of the step's own has shown it",
  );
  const more = reports({ [first]: "applied", [next.offered[5] ?? ""]: "applied" });
  assert.equal(advanceRollout(next, edges, more, 12 * SECOND_US).state, "done");
});

test("failures halt it; somebody may go on, or give it up", () => {
  const begun = beginRollout(plan, 8, 7, edges, 0);
  const [first = "", second = ""] = begun.offered;
  const bad = reports({ [first]: "refused", [second]: "applied" });
  const halted = advanceRollout(begun, edges, bad, 1);
  assert.equal(halted.state, "halted");
  assert.match(halted.reason ?? "", new RegExp(first));
  assert.equal(advanceRollout(halted, edges, bad, 99 * SECOND_US), halted);
  const lenient = beginRollout({ ...plan, maxFailures: 1 }, 8, 7, edges, 0);
  assert.equal(advanceRollout(lenient, edges, bad, 1), lenient);
  const resumed = resumeRollout(halted, bad, SECOND_US);
  assert.deepEqual(resumed.excused, [first]);
  assert.equal(advanceRollout(resumed, edges, bad, 12 * SECOND_US).step, 1);
  const worse = reports({ [first]: "refused", [second]: "rolled-back" });
  assert.equal(advanceRollout(resumed, edges, worse, 12 * SECOND_US).state, "halted");
  assert.deepEqual(abortRollout(halted, false, bad).offered, []);
  assert.deepEqual(abortRollout(halted, true, bad).offered, [first, second]);
});

test("a rollout is written as steps that grow to 100", () => {
  assert.deepEqual(readRollout("5,50,100", "1m,2m", "3"), {
    steps: [
      { percent: 5, waitMs: 60_000 },
      { percent: 50, waitMs: 120_000 },
      { percent: 100, waitMs: 120_000 },
    ],
    maxFailures: 3,
  });
  assert.equal(readRollout(undefined), null);
  for (const percents of ["5", "50,50,100", "0,100", "100,200", "x", "", "5,,100"])
    assert.equal(readRollout(percents), "wrong", percents);
  assert.equal(readRollout("100", "soon"), "wrong");
  assert.equal(readRollout("100", "1m", "-1"), "wrong");
});

test("a diff gives both texts back, and keeps what is the same", () => {
  const text = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(text, text, (before, after) => {
      const lines = diffLines(before.join("\n"), after.join("\n")).trimEnd().split("\n");
      const of = (signs: string): string[] =>
        lines.filter((line) => signs.includes(line[0] ?? " ")).map((line) => line.slice(2));
      assert.deepEqual(of(" -"), before);
      assert.deepEqual(of(" +"), after);
      assert.equal(lines.filter((line) => line.startsWith(" ")).length, longestCommon(before, after));
    }),
  );
});

/** Slow and plain. */
function longestCommon(a: readonly string[], b: readonly string[]): number {
  const memo = new Map<string, number>();
  const of = (i: number, j: number): number => {
    if (i === a.length || j === b.length) return 0;
    const known = memo.get(`${i},${j}`);
    if (known !== undefined) return known;
    const length = a[i] === b[j] ? of(i + 1, j + 1) + 1 : Math.max(of(i + 1, j), of(i, j + 1));
    memo.set(`${i},${j}`, length);
    return length;
  };
  return of(0, 0);
}
