import assert from "node:assert/strict";
import { test } from "node:test";
import { type HealthSample, HealthWatch } from "../../host/remote/health.ts";

const LIMITS = { watchMs: 60_000, reachMs: 600_000, maxBadShare: 0.1 };
const FIRST: HealthSample = {
  atMs: 1_000_000,
  isReady: true,
  accepted: 1_000,
  bad: 50,
  stateBytes: 10,
  maxStateBytes: 100,
  reachedMs: 999_999,
};

function judge(afterMs: number, more: Partial<HealthSample>, before = { accepted: 0, bad: 0 }): string {
  const verdict = new HealthWatch(LIMITS, FIRST, before).judge({
    ...FIRST,
    atMs: FIRST.atMs + afterMs,
    ...more,
  });
  return verdict.kind === "bad" ? verdict.reason : verdict.kind;
}

const REACHED = { reachedMs: FIRST.atMs + 1 };

test("a node is well once it was watched and has reached the hub, and not when it is ill", () => {
  assert.equal(judge(59_999, REACHED), "watching");
  assert.equal(judge(60_000, REACHED), "good");
  assert.equal(judge(60_000, {}), "watching", "the hub was reached before the change, not behind it");
  assert.match(judge(600_001, {}), /hub was not reached for 600 s/);
  assert.match(judge(10_001, { ...REACHED, isReady: false }), /not ready/);
  assert.equal(judge(9_000, { ...REACHED, isReady: false }), "watching");
  assert.match(judge(5, { stateBytes: 101 }), /limits.maxState/);
});

test("bad events count from the change on, and against what was bad before", () => {
  assert.equal(judge(60_000, { ...REACHED, accepted: 1_000, bad: 59 }), "good", "nine say nothing");
  assert.match(judge(5, { accepted: 1_080, bad: 70 }), /20 % of the events since \(20\)/);
  assert.equal(judge(60_000, { ...REACHED, accepted: 1_200, bad: 70 }), "good");
  const worse = { accepted: 600, bad: -50 };
  assert.equal(
    judge(60_000, { ...REACHED, accepted: 1_080, bad: 70 }, worse),
    "good",
    "a fifth was bad before",
  );
});
