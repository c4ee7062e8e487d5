import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../../host/config/load.ts";
import { StateGuard } from "../../host/pipeline/state-guard.ts";
import { StreamRegistry } from "../../host/pipeline/stream-registry.ts";

const SECOND = 1_000_000;
const MIB = 1024 * 1024;
const CONFIG = `
streams:
  s: { key: device, watermark: { bound: 5s } }
  bare: { key: device }
queries:
  minutes: { from: s, window: { tumbling: 1m }, select: { n: count() } }
  hours: { from: minutes, window: { tumbling: 1h }, select: { n: sum(n) } }
`;

/** A guard of 1 MiB, and ways to say how much the windows hold. */
function guarded(): {
  guard: StateGuard;
  hold(query: string, mib: number, nextCloseS: number | null): void;
  ask(maxEventS: number | null, stream?: string): string | null;
  pending: { bytes: number };
} {
  const loaded = parseConfig(CONFIG, "test.yaml", {}, {});
  assert.ok(loaded.ok, JSON.stringify(loaded));
  const registry = new StreamRegistry(loaded.config);
  const pending = { bytes: 0 };
  const guard = new StateGuard(registry, MIB, () => pending.bytes);
  return {
    guard,
    pending,
    hold: (name, mib, nextCloseS) => {
      const query = registry.query(name)!;
      const nextCloseUs = nextCloseS === null ? null : nextCloseS * SECOND;
      const groups = mib === 0 ? 0 : 20;
      query.stats = { queryId: query.plan.id, keys: 10, idleKeys: 0, groups, bytes: mib * MIB, nextCloseUs };
    },
    ask: (maxEventS, name = "s") => {
      const maxEventUs = maxEventS === null ? null : maxEventS * SECOND;
      const refusal = guard.refusal(registry.stream(name)!, { maxEventUs }, 3);
      if (refusal === null) return null;
      assert.ok(refusal.kind === "overloaded" && refusal.status === 503 && refusal.retryAfterSeconds > 0);
      return refusal.detail;
    },
  };
}

test("up to the limit everything is taken, beyond it what closes a window of the stream", () => {
  const { guard, hold, ask } = guarded();
  assert.equal(ask(1), null);
  hold("minutes", 1, 90);
  assert.equal(ask(1), null);
  hold("hours", 0.5, 3_600);
  assert.match(ask(1)!, /hold 1\.5 MiB.*query minutes: 1\.0 MiB, 10 keys, 20 open groups.*00:01:35/);
  assert.notEqual(ask(94.9), null);
  assert.equal(ask(95), null);
  assert.notEqual(ask(null), null, "clock-skewed events move nothing");
  assert.equal(ask(1, "bare"), null, "it has no windows");
  assert.equal(guard.use().refusedRequests, 9);
  assert.deepEqual(
    guard.use().largest.map(({ query }) => query),
    ["minutes", "hours"],
  );
});

test("windows over results close too, and what waits to be merged counts", () => {
  const { hold, ask, pending } = guarded();
  hold("minutes", 0, null);
  hold("hours", 0.75, 3_600);
  assert.equal(ask(1), null);
  pending.bytes = MIB / 2;
  assert.match(ask(1)!, /query hours/);
  assert.equal(ask(3_605), null);
});

test("over twice the limit only a watermark helps; with no window open everything is taken", () => {
  const { hold, ask } = guarded();
  hold("minutes", 2.5, 90);
  assert.match(ask(1_000)!, /once a watermark closes windows/);
  hold("minutes", 0, null);
  assert.equal(ask(1), null);
});
