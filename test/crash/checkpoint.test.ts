import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const KILLS = Number(process.env["MILLRACE_KILLS"] ?? 10);
/** Enough that a checkpoint has many pieces. */
const KEYS = 20_000;
const EVENTS_PER_BATCH = 1_000;
const LONGEST_LIFE_MS = 900;
const START_MS = Date.UTC(2026, 0, 1);

const CONFIG = `
checkpoint: { every: 10ms }
streams:
  s: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 1d }
queries:
  hours: { from: s, window: { tumbling: 1h }, select: { n: count(), total: sum(v), most: max(v), p50: quantile(v, 0.5) } }
  sliding: { from: s, window: { sliding: 2h, every: 1h }, by: [], select: { n: count(), total: sum(v) } }
  visits: { from: s, window: { session: 10m }, select: { n: count(), total: sum(v) } }
`;

interface Sum {
  n: number;
  total: number;
}

test(`${KILLS} times kill -9 while checkpoints are written in pieces: windows are as without`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = new NodeProcess({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const hours = new Map<string, Sum>();
  const count = (id: string, v: number): void => {
    const sum = hours.get(id) ?? { n: 0, total: 0 };
    hours.set(id, { n: sum.n + 1, total: sum.total + v });
  };
  let batches = 0;
  let isStopped = false;
  const load = async (): Promise<void> => {
    while (!isStopped) {
      // Minutes go on slowly: hours fire now and then, and late events revise them.
      const nowMs = START_MS + batches * 20_000;
      const events = Array.from({ length: EVENTS_PER_BATCH }, () => ({
        device: `device ${random.integer(0, KEYS - 1)}`,
        ts: Math.max(START_MS, nowMs - random.integer(0, 5_400_000)),
        v: random.integer(-1_000, 1_000) / 8,
      }));
      const key = `batch-${batches++}`;
      while (!(await isTaken(client, key, events))) await sleep(20);
      for (const { device, ts, v } of events) count(`${device} ${Math.floor(ts / 3_600_000)}`, v);
    }
  };
  await node.start();
  const loading = load();
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(random.integer(100, LONGEST_LIFE_MS));
    await node.kill("SIGKILL");
    node.launch();
    await node.waitUntilReady();
  }
  isStopped = true;
  await loading;
  const restores = node.lines.filter((line) => line.includes('"checkpoint restored"')).length;
  context.diagnostic(`${batches} batches, ${restores} checkpoints restored`);
  assert.ok(restores > 0);
  const { checkpoint } = await client.json<{ checkpoint: { last: { kind: string } | null } }>("/v1/status");
  context.diagnostic(JSON.stringify(checkpoint));
  await client.watermark("s", { end: true });
  const found = new Map(
    (await client.results("hours")).map(({ key, window, values }) => [
      `${String(key["device"])} ${Date.parse(window.start) / 3_600_000}`,
      { n: values["n"], total: values["total"] },
    ]),
  );
  assert.equal(found.size, hours.size);
  for (const [id, sum] of hours) assert.deepEqual(found.get(id), sum, id);
  const total = (rows: readonly { values: Record<string, number | null> }[]): Sum => ({
    n: rows.reduce((sum, { values }) => sum + values["n"]!, 0),
    total: rows.reduce((sum, { values }) => sum + values["total"]!, 0),
  });
  const all = total([...hours.values()].map((values) => ({ values: { ...values } })));
  assert.deepEqual(total(await client.results("visits")), all, "each event is in one session");
  const sliding = total(await client.results("sliding"));
  assert.deepEqual(sliding, { n: 2 * all.n, total: 2 * all.total }, "each event is in two windows");
  await node.stop();
});

/** False when nobody answered, or not yet: it may be stored all the same, so the key says that it is the same again. */
async function isTaken(client: HttpClient, key: string, events: readonly object[]): Promise<boolean> {
  try {
    const answer = await client.post("s", events, { idempotencyKey: key });
    return answer.status === 200;
  } catch {
    return false;
  }
}
