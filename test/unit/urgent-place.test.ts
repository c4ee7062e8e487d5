import assert from "node:assert/strict";
import { test } from "node:test";
import pino from "pino";
import { buildSync } from "../../host/config/sync-config.ts";
import { RelayForwarder } from "../../host/relay/relay-forwarder.ts";
import type { Delivery, Sink } from "../../host/sync/sink.ts";
import { SinkRunner } from "../../host/sync/sink-runner.ts";
import type { WaitingBatch } from "../../workers/store/relay-operations.ts";
import type { SyncClass } from "../../workers/store/sync-operations.ts";
import { advancing } from "../support/advancing.ts";

const CONCURRENCY = 3;

test("an alert goes out beside batches that take all places of a slow line; further ones wait for it", async (context) => {
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
    advance: advancing({
      claim: ({ class: kind }) => {
        if (waiting[kind] === 0) return { kind: "nothing" };
        waiting[kind]--;
        const sizes = { items: 1, rows: 1, bytes: 100, strikes: 0, nextAtUs: 0, reason: null };
        return { kind: "claimed", batch: { id: ++id, sink: "hub", class: kind, ...sizes }, isFull: true };
      },
    }),
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
  context.after(async () => {
    const closing = runner.close();
    for (const { end } of underWay) end({ kind: "unreachable", reason: "over", retryAfterMs: 0 });
    await closing;
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
});

test("a relay sends an alert on beside batches that take all places", async (context) => {
  const hops: readonly string[] = [];
  const waiting: WaitingBatch[] = [];
  const kinds: SyncClass[] = [];
  const ends: ((delivery: Delivery) => void)[] = [];
  const put = (kind: SyncClass): void => {
    const id = waiting.length + 1;
    const sizes = { rows: 1, body: new Uint8Array(1) };
    waiting.push({ id, edge: "press-1", key: `${id}`, class: kind, hops, atUs: id, ...sizes });
  };
  const forwarder = new RelayForwarder({
    config: () => buildSync({ url: "http://127.0.0.1:1", concurrency: CONCURRENCY }),
    next: async ({ classes, except }) =>
      waiting.find(({ id, class: kind }) => classes.includes(kind) && !except.includes(id)) ?? null,
    settle: async () => undefined,
    deliver: ({ key }) => {
      kinds.push(waiting[Number(key) - 1]!.class);
      return new Promise((end) => ends.push(end));
    },
    probe: async () => true,
    clock: { nowUs: () => 1_000_000, monotonicMs: () => 1_000 },
    log: pino({ level: "silent" }),
  });
  const settled = async (): Promise<readonly SyncClass[]> => {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    return kinds;
  };
  context.after(async () => {
    const closing = forwarder.close();
    for (const end of ends) end({ kind: "unreachable", reason: "over", retryAfterMs: 0 });
    await closing;
  });
  for (let n = 0; n < 5; n++) put("events");
  forwarder.wake();
  assert.deepEqual(await settled(), ["events", "events", "events"]);
  for (const kind of ["results", "alerts", "alerts"] as const) put(kind);
  forwarder.wake();
  assert.deepEqual(await settled(), ["events", "events", "events", "alerts"]);
});
