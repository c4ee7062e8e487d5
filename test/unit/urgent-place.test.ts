import assert from "node:assert/strict";
import { test } from "node:test";
import pino from "pino";
import { buildSync } from "../../host/config/sync-config.ts";
import type { Delivery, Sink } from "../../host/sync/sink.ts";
import { SinkRunner } from "../../host/sync/sink-runner.ts";
import type { SyncClass } from "../../workers/store/sync-operations.ts";

const CONCURRENCY = 3;

test("an alert goes out beside batches that take all places of a slow line; further ones wait for it", async () => {
  const waiting: Record<SyncClass, number> = { alerts: 0, losses: 0, attributes: 0, results: 0, events: 10 };
  const underWay: { readonly kind: SyncClass; readonly end: (delivery: Delivery) => void }[] = [];
  let id = 0;
  const sink: Sink = {
    name: "hub",
    form: "wire",
    // Ends when the test says so.
    deliver: ({ claimed }) => new Promise((end) => underWay.push({ kind: claimed.class, end })),
    probe: async () => true,
    close: async () => undefined,
  };
  const runner = new SinkRunner({
    sink,
    config: buildSync({ url: "http://127.0.0.1:1", concurrency: CONCURRENCY }),
    clock: { nowUs: () => 1_000_000, monotonicMs: () => 1_000 },
    claim: async ({ class: kind }) => {
      if (waiting[kind] === 0) return { kind: "nothing" };
      waiting[kind]--;
      const sizes = { items: 1, rows: 1, bytes: 100, strikes: 0, nextAtUs: 0, reason: null };
      return { kind: "claimed", batch: { id: ++id, sink: "hub", class: kind, ...sizes }, isFull: true };
    },
    settle: async () => [],
    pack: async () => ({
      key: "0",
      items: 1,
      rows: 1,
      tables: [],
      incarnation: "0",
      body: new Uint8Array(1),
    }),
    unsettled: [],
    log: pino({ level: "silent" }),
  });
  const settled = async (): Promise<readonly SyncClass[]> => {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    return underWay.map(({ kind }) => kind);
  };
  const events: readonly SyncClass[] = Array.from({ length: CONCURRENCY }, () => "events");
  runner.wake();
  assert.deepEqual(await settled(), events, "all places are taken");
  Object.assign(waiting, { alerts: 2, losses: 1, results: 5 });
  runner.wake();
  assert.deepEqual(await settled(), [...events, "alerts"], "one alert beside them, and nothing else");
  underWay[CONCURRENCY]!.end({ kind: "delivered", stored: 1, isDuplicate: false });
  assert.deepEqual(await settled(), [...events, "alerts", "alerts"]);
  underWay[CONCURRENCY + 1]!.end({ kind: "delivered", stored: 1, isDuplicate: false });
  assert.deepEqual(await settled(), [...events, "alerts", "alerts", "losses"]);
  for (const { end } of underWay) end({ kind: "unreachable", reason: "over", retryAfterMs: 0 });
  await runner.close();
});
