import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { computeWindows, windowId } from "../support/oracle.ts";
import { Random } from "../support/random.ts";

const ROUNDS = 14;
const DEVICES = 6;
const WINDOW_MS = 10_000;
/** Long enough for some devices to become idle, short enough for others not to. */
const LONGEST_PAUSE_MS = 250;

const CONFIG = `
checkpoint: { every: 300ms }
workers: { ingest: 2 }
streams:
  machines:
    key: device
    time: { field: ts, unit: ms }
    watermark: { bound: 2s, per: source, idle: 150ms, maxAhead: 36500d }
    lateness: 5s
queries:
  counts:
    from: machines
    window: { tumbling: 10s }
    by: [device]
    select: { n: count(), total: sum(v) }
`;

interface Sent {
  readonly device: string;
  readonly ts: number;
  readonly v: number;
}

test("devices that come, go silent and return, and kills in between: nothing that was said is unsaid, every event is in its window or set aside", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = new NodeProcess({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  const clocksMs = Array.from({ length: DEVICES }, () => Date.UTC(2026, 0, 1) + random.integer(0, 60_000));
  const sent: Sent[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (let body = random.integer(1, 4); body > 0; body--) {
      const device = random.integer(0, DEVICES - 1);
      const events = Array.from({ length: random.integer(1, 15) }, () => {
        clocksMs[device]! += random.integer(0, 4_000);
        const ts = clocksMs[device]! - random.integer(0, 3_000);
        return { device: `d${device}`, ts, v: random.integer(-9, 9) };
      });
      await client.send("machines", events);
      sent.push(...events);
    }
    if (random.chance(0.6)) await sleep(random.integer(0, LONGEST_PAUSE_MS));
    if (!random.chance(0.3)) continue;
    const [rows, late] = [
      await client.results("counts", { revisions: "all" }),
      await client.late("machines"),
    ];
    await node.restart(random.chance(0.7) ? "SIGKILL" : "SIGTERM");
    const after = new Set(
      (await client.results("counts", { revisions: "all" })).map((row) => JSON.stringify(row)),
    );
    for (const row of rows) assert.ok(after.has(JSON.stringify(row)), `${JSON.stringify(row)} is gone`);
    assert.deepEqual((await client.late("machines")).slice(0, late.length), late);
  }
  await client.watermark("machines", { end: true });
  const late = await client.late("machines");
  const counted = (await client.results("counts")).reduce((sum, { values }) => sum + Number(values.n), 0);
  assert.equal(counted + late.length, sent.length, "every event is in its window or set aside");
  context.diagnostic(`${sent.length} events, ${late.length} of them late`);

  const answer = await client.request("POST", "/v1/streams/machines/late/apply");
  assert.equal(answer.status, 200, answer.text);
  const expected = computeWindows(
    sent.map(({ device, ts, v }) => ({ key: device, timeUs: ts * 1_000, value: v })),
    WINDOW_MS * 1_000,
  ).map(({ key, startUs, events, sum }) => [windowId(key, startUs), { n: events, total: sum }]);
  const found = (await client.results("counts")).map(({ key, window, values }) => [
    windowId(String(key.device), Date.parse(window.start) * 1_000),
    values,
  ]);
  assert.deepEqual(Object.fromEntries(found), Object.fromEntries(expected));
});
