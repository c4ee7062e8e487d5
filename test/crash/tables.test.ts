import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const ROUNDS = Number(process.env.MILLRACE_KILLS ?? 6);
const BASE_MS = Date.UTC(2026, 0, 1);
const WINDOW_MS = 10_000;

const CONFIG = `
checkpoint: { every: 10s }
workers: { ingest: 2 }
streams:
  load: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1m, maxAhead: 36500d }, lateness: 0s }
tables:
  sites: { key: device }
queries:
  by_site:
    from: load
    derive: { site: sites.site }
    where: coalesce(sites.least, 0) <= v
    window: { tumbling: 10s }
    by: [site]
    select: { n: count(), total: sum(v) }
`;

interface Row {
  readonly device: string;
  readonly site: string;
  readonly least: number | null;
}
interface Event {
  readonly device: string;
  readonly ts: number;
  readonly v: number;
}

/** Tells again and again until it is done: the node may be down. */
async function until200(
  send: () => Promise<{ readonly status: number; readonly text: string }>,
): Promise<void> {
  for (;;) {
    const answer = await send().catch(() => null);
    if (answer?.status === 200) return;
    if (answer !== null && answer.status !== 503) assert.fail(`${answer.status} ${answer.text}`);
    await sleep(10);
  }
}

function putRows(client: HttpClient, rows: readonly Row[]): Promise<void> {
  const headers = { "content-type": "application/json" };
  return until200(() => client.request("PUT", "/v1/tables/sites", JSON.stringify(rows), headers));
}

/** The windows as a plain join by the rows in force gives them. */
class Oracle {
  rows = new Map<string, Row>();
  readonly windows = new Map<string, { n: number; total: number }>();

  take(events: readonly Event[]): void {
    for (const { device, ts, v } of events) {
      const row = this.rows.get(device);
      if ((row?.least ?? 0) > v) continue;
      const id = `${Math.floor((ts - BASE_MS) / WINDOW_MS)} ${row?.site ?? null}`;
      const { n, total } = this.windows.get(id) ?? { n: 0, total: 0 };
      this.windows.set(id, { n: n + 1, total: total + v });
    }
  }
}

async function windowsOf(client: HttpClient): Promise<Map<string, unknown>> {
  const results = await client.results("by_site");
  return new Map(
    results.map(({ window, key, values }) => [
      `${(Date.parse(window.start) - BASE_MS) / WINDOW_MS} ${String(key.site)}`,
      values,
    ]),
  );
}

function randomRows(random: Random): Row[] {
  return Array.from({ length: 6 }, (_, device) => device).flatMap((device): Row[] => {
    if (random.chance(0.2)) return [];
    const site = `site-${random.integer(0, 3)}`;
    return [{ device: `d${device}`, site, least: random.chance(0.5) ? random.integer(0, 50) : null }];
  });
}

test(`${ROUNDS} lives with tables changing between batches: each event meets the rows of its place`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = new NodeProcess({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  const oracle = new Oracle();
  let nowMs = BASE_MS;
  let batch = 0;
  const step = async (): Promise<void> => {
    if (random.chance(0.3)) {
      const rows = randomRows(random);
      await putRows(client, rows);
      oracle.rows = new Map(rows.map((row) => [row.device, row]));
      return;
    }
    const events = Array.from({ length: random.integer(1, 30) }, () => {
      nowMs += random.integer(0, 200);
      return { device: `d${random.integer(0, 6)}`, ts: nowMs, v: random.integer(0, 100) };
    });
    const idempotencyKey = `batch-${batch++}`;
    await until200(() => client.post("load", events, { idempotencyKey }));
    oracle.take(events);
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (let count = random.integer(1, 12); count > 0; count--) await step();
    const dying = step();
    await sleep(random.integer(0, 15));
    // A node that is told to stop writes a checkpoint; one that is killed replays the log.
    await node.kill(random.chance(0.3) ? "SIGTERM" : "SIGKILL");
    node.launch();
    await node.waitUntilReady();
    await dying;
  }
  await node.restart("SIGKILL");
  await client.watermark("load", { end: true });
  assert.deepEqual(await windowsOf(client), oracle.windows);
  await node.restart("SIGKILL");
  assert.deepEqual(await windowsOf(client), oracle.windows, "and so after another replay");
  await node.stop();
});

test("rows change while many send: a block counts under one version, the same in every replay", async (context) => {
  const config = CONFIG.replace("coalesce(sites.least, 0) <= v", "true");
  const node = new NodeProcess({ config }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  const versions = 40;
  let isOver = false;
  let sent = 0;
  let number = 0;
  const senders = Array.from({ length: 3 }, async () => {
    while (!isOver) {
      const events = Array.from({ length: 50 }, () => {
        number++;
        return { device: "d0", ts: BASE_MS + number, v: 1 };
      });
      await until200(() => client.post("load", events));
      sent += events.length;
    }
  });
  for (let version = 0; version < versions; version++)
    await putRows(client, [{ device: "d0", site: `v${String(version).padStart(3, "0")}`, least: 0 }]);
  isOver = true;
  await Promise.all(senders);
  await client.watermark("load", { end: true });
  const live = await client.results("by_site");
  assert.equal(
    live.reduce((sum, { values }) => sum + (values.n ?? 0), 0),
    sent,
  );
  assert.ok(new Set(live.map(({ key }) => key.site)).size > 2, "several versions met events");
  for (let life = 0; life < 2; life++) {
    await node.restart("SIGKILL");
    assert.deepEqual(await client.results("by_site"), live);
    assert.deepEqual(
      await client.results("by_site", { revisions: "all" }),
      live,
      "no window has another revision",
    );
  }
  await node.stop();
});

test("late events are found by the rows that they met, though those were replaced at once", async (context) => {
  const config = CONFIG.replace("bound: 1m", "bound: 0s").replace(
    "coalesce(sites.least, 0) <= v",
    "sites.least <= v",
  );
  const node = new NodeProcess({ config }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  const rowsOf = (least: number): Row[] => [{ device: "d", site: "a", least }];
  let expected = 0;
  for (let round = 0; round < 4; round++) {
    await putRows(client, rowsOf(0));
    await client.send("load", [{ device: "d", ts: BASE_MS + (round + 2) * WINDOW_MS, v: 10 }]);
    // Half of them are none of the windows' under the rows that come at once, while they are still looked for.
    const late = Array.from({ length: 2_000 }, (_, number) => ({
      device: "d",
      ts: BASE_MS,
      v: number % 2 ? 15 : 5,
    }));
    await Promise.all(Array.from({ length: 12 }, () => client.send("load", late)));
    expected += 12 * late.length;
    await putRows(client, rowsOf(10));
  }
  const counted = async (): Promise<number> => (await client.json<{ late: number }>("/v1/streams/load")).late;
  assert.equal(await counted(), expected);
  await node.restart("SIGKILL");
  assert.equal(await counted(), expected);
  await node.stop();
});
