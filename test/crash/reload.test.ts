import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient, type Result } from "../support/http-client.ts";
import { EventClock, LoadClient } from "../support/load.ts";
import { NodeProcess } from "../support/node-process.ts";
import { computeWindows, windowId } from "../support/oracle.ts";
import { Random } from "../support/random.ts";

const ROUNDS = Number(process.env.MILLRACE_KILLS ?? 8);
const CLIENTS = 3;
const WINDOW_US = 10_000_000;
const LONGEST_LIFE_MS = 500;

const QUERY = "from: load, window: { tumbling: 10s }, by: [client]";
const SELECT = "select: { n: count(), total: sum(v), top: max(v), end: last(v) }";

/** The first query is there from the beginning; the others come, change and go. */
function configWith(others: string): string {
  return `
checkpoint: { every: 10s }
streams:
  load:
    key: client
    time: { field: ts, unit: ms }
    watermark: { bound: 1m, maxAhead: 36500d }
    lateness: 0s
queries:
  first: { ${QUERY}, ${SELECT} }
${others}`;
}

const LATER = `  later: { ${QUERY}, ${SELECT}, backfill: all }\n`;
const FROM_HERE = `  from_here: { ${QUERY}, ${SELECT} }\n`;

test(`${ROUNDS} times kill -9 around changes of the queries: none loses or doubles an event`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = new NodeProcess({ config: configWith("") }, context);
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
  const put = async (others: string): Promise<void> => {
    for (;;) {
      try {
        const answer = await client.request("PUT", "/v1/config", configWith(others));
        assert.equal(answer.status, 200, answer.text);
        return;
      } catch (cause) {
        if (cause instanceof assert.AssertionError) throw cause;
        await sleep(10);
      }
    }
  };
  await sleep(300);
  // What changes meanwhile, in turn: a query comes, another comes, the first of them changes and comes back, one goes.
  const other = LATER.replace("sum(v)", "min(v)");
  const changes = [LATER, `${LATER}${FROM_HERE}`, `${other}${FROM_HERE}`, `${LATER}${FROM_HERE}`];
  for (let round = 0; round < ROUNDS && failure === null; round++) {
    const change = put(changes[Math.min(round, changes.length - 1)]!);
    await sleep(random.integer(0, LONGEST_LIFE_MS));
    await node.kill("SIGKILL");
    node.launch();
    await node.waitUntilReady();
    await change;
    await sleep(random.integer(0, LONGEST_LIFE_MS));
  }
  await put(changes.at(-1)!);
  for (const each of clients) each.stop();
  await load;
  if (failure !== null) throw failure;
  await waitForBackfill(client, "later");
  await client.watermark("load", { end: true });
  await node.restart("SIGKILL");

  const sent = clients.flatMap((each) => each.events);
  context.diagnostic(`${sent.length} events`);
  assert.deepEqual(await client.late("load"), [], "no event was late");
  const expected = Object.fromEntries(
    computeWindows(
      sent.map(({ client: key, ts, v }) => ({ key, timeUs: ts * 1_000, value: v })),
      WINDOW_US,
    ).map(({ key, startUs, events, sum, max, last }) => [
      windowId(key, startUs),
      { n: events, total: sum, top: max, end: last },
    ]),
  );
  assert.deepEqual(valuesById(await client.results("first")), expected);
  assert.deepEqual(valuesById(await client.results("later")), expected);
  const fromHere = await client.results("from_here");
  for (const [id, values] of Object.entries(valuesById(fromHere))) assert.deepEqual(values, expected[id], id);
  assert.ok(fromHere.length > 0);
  const since = Math.min(...fromHere.map(({ window }) => Date.parse(window.start)));
  const missing = Object.keys(expected).length - fromHere.length;
  const before = Object.keys(
    valuesById((await client.results("first")).filter(({ window }) => Date.parse(window.start) < since)),
  );
  assert.equal(
    missing,
    before.length,
    "from its first window on, the query without backfill has every window",
  );
  await node.stop();
});

test("kill -9 while a backfill reads: it starts again, and has every event once", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = new NodeProcess({ config: configWith("") }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  let number = 0;
  const send = async (batches: number): Promise<void> => {
    for (let batch = 0; batch < batches; batch++) {
      const events = Array.from({ length: 200 }, () => {
        number++;
        return { client: `client-${number % 7}`, ts: Date.UTC(2026, 0, 1) + number * 7, v: number };
      });
      await client.send("load", events);
    }
  };
  await send(150);
  const answer = await client.request("PUT", "/v1/config", configWith(LATER));
  assert.deepEqual((JSON.parse(answer.text) as { backfilling: string[] }).backfilling, ["later"]);
  for (let kill = 0; kill < 4; kill++) {
    await sleep(random.integer(0, 120));
    await node.restart("SIGKILL");
    await send(2);
  }
  await waitForBackfill(client, "later");
  await send(20);
  await client.watermark("load", { end: true });
  const first = valuesById(await client.results("first"));
  assert.ok(Object.keys(first).length > 100);
  assert.deepEqual(valuesById(await client.results("later")), first);
  assert.equal(await totalOf(client, "later"), number);
  await node.restart("SIGKILL");
  assert.deepEqual(valuesById(await client.results("later")), first);
});

async function totalOf(client: HttpClient, query: string): Promise<number> {
  const rows = await client.results(query);
  return rows.reduce((sum, { values }) => sum + (values.n ?? 0), 0);
}

function valuesById(rows: readonly Result[]): Record<string, unknown> {
  return Object.fromEntries(
    rows.map(({ key, window, values }) => [
      windowId(String(key.client), Date.parse(window.start) * 1_000),
      values,
    ]),
  );
}

async function waitForBackfill(client: HttpClient, query: string): Promise<void> {
  for (;;) {
    const { backfill } = await client.json<{ backfill: { state: string; reason: string | null } | null }>(
      `/v1/queries/${query}`,
    );
    if (backfill === null || backfill.state === "done") return;
    assert.notEqual(backfill.state, "failed", String(backfill.reason));
    await sleep(20);
  }
}
