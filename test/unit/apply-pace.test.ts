import assert from "node:assert/strict";
import { test } from "node:test";
import type { CommittedEntry } from "../../host/pipeline/apply-loop.ts";
import { ApplyPace } from "../../host/pipeline/apply-pace.ts";
import type { StreamRegistry } from "../../host/pipeline/stream-registry.ts";
import type { QueryPlan } from "../../workers/messages.ts";

const SECOND_US = 1_000_000;
const TUMBLING = { kind: "tumbling", sizeUs: 10 * SECOND_US, offsetUs: 0 } as const;
const FEW = { entries: 1, bytes: 1_000 };
/** Of the clock that the calls below are given. */
const LAST_MS = 1_000;

interface Stream {
  readonly plans?: readonly Partial<QueryPlan>[];
  readonly per?: "stream" | "source" | "key";
  readonly watermarkUs?: number | null;
  readonly alerts?: number;
  readonly isAbove?: boolean;
}

/** A stream with a bound of 1 s, whose watermark is at 15 s, and windows of 10 s. */
function paceOf({ plans = [{ window: TUMBLING }], per = "stream", alerts = 0, ...other }: Stream): ApplyPace {
  const { watermarkUs = 15 * SECOND_US, isAbove = false } = other;
  const stream = {
    config: { watermark: { per, boundUs: SECOND_US } },
    alerts: Array.from({ length: alerts }),
    queries: plans.map((plan) => ({ plan, asStream: isAbove ? {} : null })),
    watermarkUs,
  };
  return new ApplyPace({ stream: () => stream } as unknown as StreamRegistry);
}

function blockTo(maxEventUs: number | null): CommittedEntry {
  const entry = { kind: "block", seq: 1, stream: "s", arrivalUs: 0, partials: [], maxEventUs, sources: null };
  return { entry, block: null, arrivalUs: 0 } as CommittedEntry;
}

function waits(stream: Stream, maxEventUs: number | null): boolean {
  return paceOf(stream).waitMs(blockTo(maxEventUs), FEW, LAST_MS, LAST_MS) > 0;
}

test("a block that closes no window waits, one that may close one does not", () => {
  assert.equal(waits({}, 20 * SECOND_US), true);
  // The watermark is 1 s behind: the window to 20 s closes with an event of 21 s, and no earlier.
  assert.equal(waits({}, 21 * SECOND_US - 1), true);
  assert.equal(waits({}, 21 * SECOND_US), false);
  assert.equal(waits({}, 90 * SECOND_US), false);
  assert.equal(waits({}, 3 * SECOND_US), true, "an event of a closed window brings a revision at most");
  assert.equal(waits({}, null), true);
  assert.equal(waits({ plans: [] }, 90 * SECOND_US), true);
});

test("windows that do not begin at multiples of their size, or overlap, close at their own ends", () => {
  const shifted = { plans: [{ window: { ...TUMBLING, offsetUs: 7 * SECOND_US } }] };
  assert.equal(waits(shifted, 18 * SECOND_US - 1), true);
  assert.equal(waits(shifted, 18 * SECOND_US), false);
  const window = { kind: "sliding", sizeUs: 10 * SECOND_US, everyUs: 4 * SECOND_US, offsetUs: 0 } as const;
  // Ends are at 10, 14, 18, …
  assert.equal(waits({ plans: [{ window }] }, 19 * SECOND_US - 1), true);
  assert.equal(waits({ plans: [{ window }] }, 19 * SECOND_US), false);
  assert.equal(waits({ plans: [{ window: TUMBLING }, { window }] }, 19 * SECOND_US), false);
});

test("where only the window thread knows what a block brings, it does not wait", () => {
  const atUs = 16 * SECOND_US;
  assert.equal(waits({}, atUs), true);
  assert.equal(waits({ alerts: 1 }, atUs), false);
  assert.equal(waits({ watermarkUs: null }, atUs), false);
  assert.equal(waits({ per: "source" }, atUs), false);
  assert.equal(waits({ isAbove: true }, atUs), false);
  for (const plan of [
    { window: TUMBLING, earlyUs: SECOND_US },
    { window: TUMBLING, keyClock: { boundUs: 0, maxIdleKeys: 1 } },
    { window: { kind: "session", gapUs: SECOND_US } },
    { window: { kind: "count", size: 3 } },
    { window: { kind: "none" } },
  ] as const)
    assert.equal(waits({ plans: [plan] }, atUs), false, JSON.stringify(plan));
});

test("what is no block, or is not there yet, does not wait", () => {
  const pace = paceOf({});
  const tick = { kind: "tick", seq: 1, stream: "s", atUs: 1, isResume: false } as const;
  assert.equal(pace.waitMs({ entry: tick, block: null, arrivalUs: 0 }, FEW, LAST_MS, LAST_MS), 0);
  const late = { ...blockTo(16 * SECOND_US), later: Promise.resolve(tick) };
  assert.equal(pace.waitMs(late, FEW, LAST_MS, LAST_MS), 0);
});

test("nothing waits long, or in great number", () => {
  const pace = paceOf({});
  const block = blockTo(16 * SECOND_US);
  const whole = pace.waitMs(block, FEW, LAST_MS, LAST_MS);
  assert.equal(pace.waitMs(block, FEW, LAST_MS, LAST_MS + 10), whole - 10);
  assert.equal(pace.waitMs(block, FEW, LAST_MS, LAST_MS + whole), 0);
  assert.equal(pace.waitMs(block, FEW, Number.NEGATIVE_INFINITY, LAST_MS), 0, "the first");
  assert.equal(pace.waitMs(block, { entries: 16, bytes: 1_000 }, LAST_MS, LAST_MS), 0);
  assert.equal(pace.waitMs(block, { entries: 2, bytes: 256 * 1024 }, LAST_MS, LAST_MS), 0);
});
