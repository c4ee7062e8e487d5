import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../support/http-client.ts";
import { EventClock, LoadClient } from "../support/load.ts";
import { NodeProcess } from "../support/node-process.ts";
import { computeWindows, windowId } from "../support/oracle.ts";
import { Random } from "../support/random.ts";

const KILLS = Number(process.env.MILLRACE_KILLS ?? 12);
const CLIENTS = 4;
const WINDOW_US = 10_000_000;
const LONGEST_LIFE_MS = 700;
/** Some lives end before the node is ready. */
const EARLY_DEATH_SHARE = 0.2;

const CONFIG = `
checkpoint: { every: 400ms }
streams:
  load:
    key: client
    time: { field: ts, unit: ms }
    watermark: { bound: 1m, maxAhead: 36500d }
    lateness: 0s
queries:
  per_client:
    from: load
    window: { tumbling: 10s }
    by: [client]
    select: { n: count(), total: sum(v), top: max(v), end: last(v) }
`;

test(`${KILLS} times kill -9 under load: nothing acknowledged is lost, nothing counts twice`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = new NodeProcess({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const clock = new EventClock(Date.UTC(2026, 0, 1), 5);
  const clients = Array.from(
    { length: CLIENTS },
    (_, index) =>
      new LoadClient({
        client,
        stream: "load",
        name: `client-${index}`,
        clock,
        random: new Random(random.integer(0, 2 ** 31)),
        eventsPerBatch: 40,
      }),
  );

  await node.start();
  let failure: unknown = null;
  const load = Promise.all(clients.map((each) => each.run())).catch((cause: unknown) => {
    failure = cause;
    for (const each of clients) each.stop();
  });
  for (let kill = 0; kill < KILLS && failure === null; kill++) {
    await sleep(random.integer(0, LONGEST_LIFE_MS));
    await node.kill("SIGKILL");
    node.launch();
    if (random.chance(EARLY_DEATH_SHARE)) continue;
    await node.waitUntilReady();
  }
  if (!node.isRunning) node.launch();
  await node.waitUntilReady();
  for (const each of clients) each.stop();
  await load;
  if (failure !== null) throw failure;
  const sent = clients.flatMap((each) => each.events);
  const resent = clients.reduce((sum, each) => sum + each.resentBatches, 0);
  context.diagnostic(`${sent.length} events, ${resent} acknowledged batches sent again`);

  const numbers = new Map<string, number>();
  for (const event of await client.events("load")) {
    const id = `${String(event.client)} ${String(event.number)}`;
    numbers.set(id, (numbers.get(id) ?? 0) + 1);
  }
  const lost = sent.filter((event) => !numbers.has(`${event.client} ${event.number}`));
  const twice = [...numbers].filter(([, times]) => times > 1);
  assert.deepEqual(lost.slice(0, 10), [], `${lost.length} acknowledged events are lost`);
  assert.deepEqual(twice.slice(0, 10), [], `${twice.length} events are there more than once`);
  assert.equal(numbers.size, sent.length, "no event is there that was never sent");

  await client.watermark("load", { end: true });
  assert.deepEqual(await client.late("load"), [], "no event was late");
  const expected = computeWindows(
    sent.map(({ client: key, ts, v }) => ({ key, timeUs: ts * 1_000, value: v })),
    WINDOW_US,
  ).map(({ key, startUs, events, sum, max, last }) => [
    windowId(key, startUs),
    { n: events, total: sum, top: max, end: last },
  ]);
  const results = await client.results("per_client");
  const found = results.map(({ key, window, values }) => [
    windowId(String(key.client), Date.parse(window.start) * 1_000),
    values,
  ]);
  assert.equal(found.length, expected.length, "there is one result for each window and key");
  assert.deepEqual(Object.fromEntries(found), Object.fromEntries(expected));
  for (const row of await client.results("per_client", { revisions: "all" })) {
    assert.equal(row.revision, 0, "no window was revised, since no event was late");
  }
  await node.stop();
});

test("SIGTERM under load: drains, exits 0, and everything acknowledged is there", async (context) => {
  const random = Random.fromEnvironment();
  const node = new NodeProcess({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  const loader = new LoadClient({
    client,
    stream: "load",
    name: "only",
    clock: new EventClock(Date.UTC(2026, 0, 1), 5),
    random,
    eventsPerBatch: 200,
  });
  const load = loader.run();
  await sleep(300);
  await node.stop();
  await node.start();
  loader.stop();
  await load;
  assert.equal((await client.events("load")).length, loader.events.length);
});
