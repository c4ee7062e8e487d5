import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  formatBandwidth,
  formatTimeOfDayRange,
  parseBandwidth,
  parseTimeOfDayRange,
} from "../../host/config/sync-parts.ts";
import { BatchGrowth } from "../../host/sync/batch-growth.ts";
import { ByteBucket } from "../../host/sync/byte-bucket.ts";
import { CircuitBreaker } from "../../host/sync/circuit-breaker.ts";
import { ClassTurns } from "../../host/sync/class-turns.ts";
import { jittered, retryDelayMs } from "../../host/sync/retry-delay.ts";
import type { Delivery } from "../../host/sync/sink.ts";
import { isWithin } from "../../host/sync/time-windows.ts";
import { StreamTurns } from "../../workers/store/stream-turns.ts";

const DOWN: Delivery = { kind: "unreachable", reason: "no", retryAfterMs: 0 };
const DONE: Delivery = { kind: "delivered", stored: 1, isDuplicate: false };
const REJECTED: Delivery = { kind: "rejected", reason: "bad" };

test("streams share by priority, and none starves", () => {
  const turns = new StreamTurns();
  const sent = new Map<number, number>();
  let id = 0;
  const endless = (): { id: number; rows: number; bytes: number; atUs: number }[] =>
    Array.from({ length: 8 }, () => ({ id: id++, rows: 1, bytes: 100, atUs: 0 }));
  turns.begin();
  const streamOf = new Map<number, number>();
  for (const [stream, priority] of [
    [1, 5],
    [2, 5],
    [3, 9],
    [4, 3],
  ] as const) {
    turns.add(stream, priority, () => {
      const blocks = endless();
      for (const block of blocks) streamOf.set(block.id, stream);
      return blocks;
    });
  }
  for (let n = 0; n < 9_700; n++) {
    const next = turns.next();
    assert.ok(next !== null);
    const stream = streamOf.get(next.id)!;
    sent.set(stream, (sent.get(stream) ?? 0) + 1);
    turns.take();
  }
  // Weights 16, 16, 1 and 64.
  const share = (stream: number): number => Math.round((sent.get(stream)! / 9_700) * 97);
  assert.deepEqual([1, 2, 3, 4].map(share), [16, 16, 1, 64]);
});

test("a stream that was silent does not save up, and a claim that came to nothing costs no turn", () => {
  const turns = new StreamTurns();
  const blocks = (stream: number, count: number) => {
    const left = Array.from({ length: count }, () => ({ id: stream, rows: 1, bytes: 100, atUs: 0 }));
    return () => left.splice(0, left.length);
  };
  const run = (counts: Readonly<Record<number, number>>): number[] => {
    turns.begin();
    for (const [stream, count] of Object.entries(counts))
      turns.add(Number(stream), 5, blocks(Number(stream), count));
    const order: number[] = [];
    for (let next = turns.next(); next !== null; next = turns.next()) {
      order.push(next.id);
      turns.take();
    }
    return order;
  };
  run({ 1: 50 });
  const order = run({ 1: 6, 2: 6 });
  const early = order.slice(0, 6).filter((stream) => stream === 1).length;
  assert.ok(early >= 2, `of the first six, the one that had sent before has ${early}`);
  // Looked at again and again without being sent, stream 1 loses nothing.
  for (let n = 0; n < 50; n++) {
    run({ 1: 5 });
    turns.undo();
  }
  const after = run({ 1: 6, 2: 6 });
  assert.ok(after.slice(0, 6).filter((stream) => stream === 1).length >= 2, after.join(""));
});

test("results have eight bytes for each of stored events, and neither stands still", () => {
  const turns = new ClassTurns();
  const sent = { results: 0, events: 0 };
  for (let n = 0; n < 900; n++) {
    const kind = turns.order(true)[3];
    assert.ok(kind === "results" || kind === "events");
    turns.sent(kind, 1_000);
    sent[kind]++;
  }
  assert.deepEqual(sent, { results: 800, events: 100 });
  assert.deepEqual(turns.order(false), ["alerts", "losses", "attributes"]);
});

test("the breaker opens after failures in a row, tries once after a while, and closes with success", async () => {
  let nowMs = 0;
  const breaker = new CircuitBreaker(5, 30_000, () => nowMs);
  for (let n = 0; n < 4; n++) await breaker.run(async () => DOWN);
  await breaker.run(async () => DONE);
  for (let n = 0; n < 4; n++) await breaker.run(async () => DOWN);
  await breaker.run(async () => REJECTED);
  assert.equal(breaker.state, "closed", "a refusal is an answer");
  for (let n = 0; n < 5; n++) await breaker.run(async () => DOWN);
  assert.equal(breaker.state, "open");
  assert.equal(breaker.room(3), 0);
  nowMs = 29_999;
  assert.equal(breaker.room(3), 0);
  nowMs = 30_000;
  assert.equal(breaker.room(3), 1);
  const trial = breaker.run(async () => {
    assert.equal(breaker.state, "half-open");
    assert.equal(breaker.room(3), 0);
    return DOWN;
  });
  await trial;
  assert.equal(breaker.state, "open");
  assert.equal(breaker.room(3), 0, "and waits again");
  nowMs = 60_000;
  await breaker.run(async () => DONE);
  assert.equal(breaker.state, "closed");
  assert.equal(breaker.opened, 2);
  for (let n = 0; n < 5; n++) await breaker.run(async () => DOWN);
  breaker.close();
  assert.equal(breaker.state, "closed");
});

test("waits double up to the longest, by chance, and are no shorter than asked for", () => {
  const times = { firstMs: 1_000, longestMs: 60_000 };
  for (const [failures, most] of [
    [1, 1_000],
    [2, 2_000],
    [5, 16_000],
    [50, 60_000],
  ] as const) {
    assert.equal(
      retryDelayMs(failures, times, 0, () => 0),
      0,
    );
    assert.equal(
      retryDelayMs(failures, times, 0, () => 1),
      most,
    );
  }
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (n, r) => {
      assert.ok(retryDelayMs(n, times, 5_000, () => r) >= 5_000);
      const period = jittered(1_000, () => r);
      assert.ok(period >= 750 && period < 1_250);
    }),
  );
});

test("the bucket keeps its rate, whatever the portions, and gives all of it", async () => {
  let nowMs = 0;
  const rate = 1_000_000;
  const bucket = new ByteBucket(
    rate,
    () => nowMs,
    async (ms) => {
      nowMs += ms;
    },
  );
  const { signal } = new AbortController();
  let sent = 0;
  for (let n = 0; n < 500; n++) {
    const bytes = 1 + ((n * 7_919) % 60_000);
    await bucket.take(bytes, signal);
    sent += bytes;
  }
  const line = (nowMs / 1_000) * rate;
  assert.ok(sent <= line + rate / 4, "no more than the line and what was saved up");
  assert.ok(sent >= line, "and no less than the line");
  assert.equal(new ByteBucket(1_000, () => 0).portionBytes, 512);
});

test("batches double while they are full, stay within the line, and become small again", () => {
  const sizes = { first: { rows: 1_000, bytes: 2 ** 20 }, largest: { rows: 200_000, bytes: 2 ** 23 } };
  const growth = new BatchGrowth({ ...sizes, bandwidth: null });
  assert.deepEqual(growth.size, sizes.first);
  for (let n = 0; n < 20; n++) growth.claimed(true, sizes.largest);
  assert.deepEqual(growth.size, sizes.largest);
  growth.delivered(60_000);
  assert.ok(growth.size.rows < 200_000);
  for (let n = 0; n < 20; n++) growth.claimed(true, sizes.largest);
  growth.claimed(false, { rows: 100_000, bytes: 1 });
  assert.deepEqual(growth.size, sizes.largest, "half of it was needed");
  for (let n = 0; n < 20; n++) growth.claimed(false, { rows: 1, bytes: 1 });
  assert.deepEqual(growth.size, sizes.first);
  const capped = new BatchGrowth({ ...sizes, bandwidth: 125_000 });
  for (let n = 0; n < 20; n++) capped.claimed(true, sizes.largest);
  assert.equal(capped.size.bytes, 125_000);
});

test("parts of the day go over midnight; without any it is always time", () => {
  const night = parseTimeOfDayRange("22:00-06:00");
  assert.deepEqual(night, { fromMinute: 1_320, toMinute: 360 });
  assert.ok(night !== null);
  const at = (hour: number, minute: number): Date => new Date(2026, 0, 5, hour, minute);
  assert.deepEqual(
    [at(21, 59), at(22, 0), at(3, 0), at(5, 59), at(6, 0)].map((now) => isWithin([night], now)),
    [false, true, true, true, false],
  );
  assert.ok(isWithin([], at(12, 0)));
  assert.equal(formatTimeOfDayRange(night), "22:00-06:00");
  for (const bad of ["", "22:00", "25:00-01:00", "10:00-10:00", "1:60-2:00", "10:00-24:01"])
    assert.equal(parseTimeOfDayRange(bad), null, bad);
});

test("bandwidths are read in bits and kept in bytes", () => {
  assert.equal(parseBandwidth("10Mbps"), 1_250_000);
  assert.equal(parseBandwidth("500kbps"), 62_500);
  for (const bad of ["10", "10MB", "-1Mbps", "Mbps"]) assert.equal(parseBandwidth(bad), null, bad);
  for (const text of ["10Mbps", "500kbps", "1Gbps"])
    assert.equal(formatBandwidth(parseBandwidth(text)!), text);
});
