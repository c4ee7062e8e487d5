import assert from "node:assert/strict";
import { test } from "node:test";
import pino from "pino";
import { buildSync } from "../../host/config/sync-config.ts";
import type { Sink } from "../../host/sync/sink.ts";
import { SinkRunner } from "../../host/sync/sink-runner.ts";
import type { ClaimedBatch } from "../../workers/store/sync-operations.ts";
import { Random } from "../support/random.ts";

const NODES = 200;
/** Of the virtual clock. */
const STEP_MS = 50;
const SECONDS = 12;

/** telegraf #285: a whole fleet sends on the same second. Here all start, and all lose their hub, at the same moment. */
test("thundering-second: no second has much more than its share of a fleet's attempts", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  let nowMs = 0;
  const attempts: number[] = [];
  const config = buildSync({
    url: "http://127.0.0.1:1",
    retry: { first: 2_000_000, longest: 10_000_000 },
    probe: 3_000_000,
    breaker: { failures: 5, open: 4_000_000 },
  });
  const clock = { nowUs: () => nowMs * 1_000, monotonicMs: () => nowMs };
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const packed = { key: "0", items: 1, rows: 1, tables: [], incarnation: "0" };
  const runners = Array.from({ length: NODES }, () => {
    let id = 0;
    const sink: Sink = {
      name: "hub",
      form: "wire",
      deliver: async () => {
        attempts.push(nowMs);
        return { kind: "unreachable", reason: "down", retryAfterMs: 0 };
      },
      probe: async () => {
        attempts.push(nowMs);
        return false;
      },
      close: async () => undefined,
    };
    return new SinkRunner({
      sink,
      config,
      clock,
      claim: async ({ class: kind }) => {
        if (kind !== "events") return { kind: "nothing" };
        const sizes = { items: 1, rows: 1, bytes: 100, strikes: 0, nextAtUs: 0, reason: null };
        const batch: ClaimedBatch = { id: ++id, sink: "hub", class: kind, ...sizes };
        return { kind: "claimed", batch, isFull: true };
      },
      settle: async () => [],
      pack: async () => ({ ...packed, body: new Uint8Array(1) }),
      unsettled: [],
      log: pino({ level: "silent" }),
      random: () => random.next(),
    });
  });
  for (const runner of runners) runner.wake();
  for (let step = 0; step < (SECONDS * 1_000) / STEP_MS; step++) {
    // Promises that follow a timer are let run before the next.
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    nowMs += STEP_MS;
    context.mock.timers.tick(STEP_MS);
  }
  for (const runner of runners) await runner.close();
  // The first second is the start itself.
  const later = attempts.filter((atMs) => atMs >= 3_000 && atMs < SECONDS * 1_000);
  assert.ok(later.length > NODES, `${later.length} attempts after the start`);
  const share = later.length / (SECONDS - 3);
  const bySecond = Map.groupBy(later, (atMs) => Math.floor(atMs / 1_000));
  const busiest = Math.max(...[...bySecond.values()].map((list) => list.length));
  assert.ok(busiest < share * 2.5, `${busiest} in one second, where ${share.toFixed(0)} is the mean`);
  assert.equal(bySecond.size, SECONDS - 3, "and there is none in which nobody tries");
});
