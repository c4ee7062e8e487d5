import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { asRow, plainAlerts, sorted, standing } from "../support/alert-fixture.ts";
import { eventually, startHook } from "../support/hook.ts";
import { type AlertLine, HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";

const config = (hook: string): string => `
streams:
  s:
    key: device
    time: { field: ts, unit: s }
    watermark: { bound: 0s, maxAhead: 36500d }
    lateness: 30s
queries:
  q: { from: s, window: { tumbling: 10s }, select: { mean: avg(temp) } }
alerts:
  hot: { from: q, when: mean > 90, clear: mean < 85, for: 2, severity: critical, notify: [{ webhook: "${hook}" }] }
  broken: { from: s, when: state == "broken", notify: [{ webhook: "${hook}" }] }
`;

const short = ({ alert, key, state, since, at, value, revision }: AlertLine): string =>
  `${alert} ${String(key.device)} ${state} ${since.slice(17, 19)}-${at.slice(17, 19)} ${JSON.stringify(value)} ${revision}`;

test("alerts of windows and of events, told once each, and the same after kill -9", async (context) => {
  const hook = await startHook(context);
  const node = new NodeProcess({ config: config(hook.url) }, context);
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const alerts = async (query = "revisions=all"): Promise<string[]> =>
    (await (await fetch(`${node.url}/v1/alerts?${query}`)).text())
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => short(JSON.parse(line) as AlertLine));
  const send = (ts: number, temp: number, state = "ok"): Promise<unknown> =>
    client.send("s", [{ device: "a", ts, temp, state }]);
  await send(1, 95);
  await send(11, 96);
  await node.restart("SIGKILL");
  await send(21, 87);
  assert.deepEqual(await alerts(), ['hot a pending 00-10 {"mean":95} 0', 'hot a firing 00-20 {"mean":96} 1']);
  await node.restart("SIGKILL");
  await send(31, 84, "broken");
  await send(41, 84);
  const all = [
    'hot a pending 00-10 {"mean":95} 0',
    'hot a firing 00-20 {"mean":96} 1',
    'hot a resolved 00-40 {"mean":84} 2',
    'broken a firing 31-31 {"state":"broken"} 0',
    'broken a resolved 31-41 {"state":"ok"} 1',
  ];
  assert.deepEqual(await alerts(), all);
  await node.restart("SIGKILL");
  assert.deepEqual(await alerts(), all);
  assert.deepEqual(await alerts("alert=broken"), [all[4]]);
  assert.deepEqual(await alerts("state=firing"), []);
  const told = (): Set<string> => new Set(hook.posts.map(({ body }) => short(JSON.parse(body) as AlertLine)));
  await eventually(() => told().size >= 4, "webhooks");
  assert.deepEqual([...told()].sort(), all.slice(1).sort());
  await node.stop();
});

const KILLS = Number(process.env.MILLRACE_KILLS ?? 8);
const SECOND_US = 1_000_000;
const WINDOW_SECONDS = 5;
const DEVICES = ["a", "b", "c"];

const LOADED = (hook: string): string => `
checkpoint: { every: 300ms }
limits: { maxWebhooksPerSecond: 2000 }
streams:
  s:
    key: device
    time: { field: ts, unit: s }
    watermark: { bound: 0s, maxAhead: 36500d }
    lateness: 0s
queries:
  q: { from: s, window: { tumbling: ${WINDOW_SECONDS}s }, select: { top: max(temp) } }
alerts:
  windows: { from: q, when: top > 96, clear: top < 90, for: 2, notify: [{ webhook: "${hook}" }] }
  events: { from: s, when: temp > 97, clear: temp < 20, notify: [{ webhook: "${hook}" }] }
`;

test(`${KILLS} times kill -9: each step of each alert once, and every webhook at least once under one key`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const hook = await startHook(context);
  const taken = new Set<string>();
  hook.answer = ({ key }, index) => {
    if (index % 7 === 3) return 500;
    taken.add(key);
    return 200;
  };
  const node = new NodeProcess({ config: LOADED(hook.url) }, context);
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const sent: { device: string; ts: number; temp: number }[] = [];
  let ts = Date.UTC(2026, 0, 1) / 1_000;
  let isOver = false;
  const load = (async () => {
    for (let batch = 0; !isOver; batch++) {
      const events = Array.from({ length: random.integer(1, 40) }, () => {
        ts += random.integer(0, 1);
        const device = DEVICES[random.integer(0, DEVICES.length - 1)]!;
        return { device, ts, temp: random.integer(0, 99) };
      });
      sent.push(...events);
      await sendUntilTaken(client, events, `batch-${batch}`);
    }
  })();
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(random.integer(50, 700));
    await node.kill("SIGKILL");
    node.launch();
    if (random.chance(0.2)) continue;
    await node.waitUntilReady();
  }
  if (!node.isRunning) node.launch();
  await node.waitUntilReady();
  isOver = true;
  await load;
  await client.watermark("s", { end: true });
  const lines = (await (await fetch(`${node.url}/v1/alerts?revisions=all&limit=100000`)).text()).split("\n");
  const steps = lines.filter((line) => line !== "").map((line) => JSON.parse(line) as AlertLine);
  for (const [alert, expected] of [
    ["windows", DEVICES.flatMap((device) => windowAlerts(device, sent))],
    ["events", DEVICES.flatMap((device) => eventAlerts(device, sent))],
  ] as const) {
    const own = steps.filter((step) => step.alert === alert).map(asRow);
    assert.deepEqual(sorted(standing(own)), sorted(expected), alert);
    context.diagnostic(`${alert}: ${own.length} steps`);
  }
  const told = new Set(steps.filter(isTold(steps)).map(({ id, revision }) => `${id}-${revision}`));
  const posted = (): Set<string> => new Set(hook.posts.map(({ key }) => key));
  await eventually(() => posted().size >= told.size, "webhooks");
  assert.deepEqual([...posted()].sort(), [...told].sort());
  const byKey = Map.groupBy(hook.posts, ({ key }) => key);
  for (const [key, posts] of byKey) {
    assert.equal(new Set(posts.map(({ body }) => body)).size, 1, key);
    const { id, revision } = JSON.parse(posts[0]!.body) as AlertLine;
    assert.equal(key, `${id}-${revision}`);
  }
  // Those that were refused last are due again whenever their wait is over, now or after the restart.
  const [before, takenBefore] = [hook.posts.length, new Set(taken)];
  await node.stop();
  await node.start();
  await fetch(`${node.url}/v1/alerts`);
  await node.stop();
  const again = hook.posts
    .slice(before)
    .filter(({ key }) => takenBefore.has(key))
    .map(({ key }) => key);
  assert.ok(again.length <= 4, `what was delivered is not sent again: ${again.join()}`);
});

async function sendUntilTaken(client: HttpClient, events: readonly object[], key: string): Promise<void> {
  while (true) {
    try {
      await client.send("s", events, { idempotencyKey: key });
      return;
    } catch {
      await sleep(20);
    }
  }
}

type Sent = readonly { readonly device: string; readonly ts: number; readonly temp: number }[];

function windowAlerts(device: string, sent: Sent): ReturnType<typeof plainAlerts> {
  const tops = new Map<number, number>();
  for (const { ts, temp } of sent.filter((event) => event.device === device)) {
    const start = ts - (ts % WINDOW_SECONDS);
    tops.set(start, Math.max(temp, tops.get(start) ?? 0));
  }
  const samples = [...tops]
    .sort(([one], [other]) => one - other)
    .map(([start, top]) => ({
      startUs: start * SECOND_US,
      endUs: (start + WINDOW_SECONDS) * SECOND_US,
      when: top > 96,
      clear: top < 90,
    }));
  return plainAlerts(JSON.stringify({ device }), samples, (inARow) => inARow >= 2);
}

function eventAlerts(device: string, sent: Sent): ReturnType<typeof plainAlerts> {
  const samples = sent
    .filter((event) => event.device === device)
    .map(({ ts, temp }) => {
      return { startUs: ts * SECOND_US, endUs: ts * SECOND_US, when: temp > 97, clear: temp < 20 };
    });
  return plainAlerts(JSON.stringify({ device }), samples, () => true);
}

/** Those that fire, and what follows. */
function isTold(steps: readonly AlertLine[]): (step: AlertLine) => boolean {
  const fired = new Map(
    steps.filter(({ state }) => state === "firing").map(({ id, revision }) => [id, revision]),
  );
  return ({ id, revision }) => revision >= (fired.get(id) ?? Number.POSITIVE_INFINITY);
}

test("alerts over a query on a query, and over the results of one whose definition changes", async (context) => {
  const text = (limit: number): string => `
checkpoint: { every: 10s }
streams:
  s: { key: device, time: { field: ts, unit: s }, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 0s }
queries:
  q: { from: s, window: { tumbling: 10s }, select: { mean: avg(temp) } }
  above: { from: q, window: { tumbling: 20s }, select: { top: max(mean) } }
alerts:
  high: { from: above, when: top > ${limit} }
`;
  const before = new NodeProcess({ config: text(90) }, context);
  await before.start();
  const client = new HttpClient(() => before.url);
  context.after(() => client.close());
  const listed = async (node: NodeProcess): Promise<string[]> =>
    (await (await fetch(`${node.url}/v1/alerts?revisions=all`)).text())
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => short(JSON.parse(line) as AlertLine));
  await client.send("s", [
    { device: "a", ts: 1, temp: 80 },
    { device: "a", ts: 11, temp: 95 },
    { device: "a", ts: 45, temp: 1 },
  ]);
  const firing = 'high a firing 00-20 {"top":95} 0';
  assert.deepEqual(await listed(before), [firing]);
  await before.stop();
  const after = new NodeProcess({ config: text(99), dataDir: before.dataDir }, context);
  await after.start();
  assert.deepEqual(await listed(after), [firing, 'high a resolved 00-20 {"top":95} 1']);
  await after.restart("SIGKILL");
  assert.equal((await listed(after)).length, 2);
  await after.stop();
});
