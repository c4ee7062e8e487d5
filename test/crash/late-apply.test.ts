import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { HttpClient, type Result } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { computeWindows, windowId } from "../support/oracle.ts";
import { Random } from "../support/random.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const CONFIG = `
checkpoint: { every: 10s }
streams:
  machines:
    key: device
    time: { field: ts, unit: ms }
    watermark: { bound: 0s, maxAhead: 36500d }
    lateness: 0s
queries:
  small:
    from: machines
    window: { tumbling: 10s }
    by: [device]
    select: { n: count(), total: sum(v), high: max(v), end: last(v) }
  large:
    from: machines
    window: { tumbling: 1m, offset: 7s }
    by: []
    select: { n: count(), total: sum(v) }
`;

interface Applied {
  readonly applied: number;
  readonly revisions: number;
  readonly waiting: number;
  readonly refused: readonly object[];
  readonly next: number | null;
}

interface Event {
  readonly device: string;
  readonly ts: number;
  readonly v: number;
}

async function start(context: TestContext, config = CONFIG): Promise<[NodeProcess, HttpClient]> {
  const node = new NodeProcess({ config }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  return [node, client];
}

async function applyLate(client: HttpClient, body: object = {}): Promise<Applied> {
  const answer = await client.request("POST", "/v1/streams/machines/late/apply", JSON.stringify(body));
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.text) as Applied;
}

const idOf = ({ key, window }: Result): string =>
  windowId(String(key.device ?? "all"), Date.parse(window.start) * 1_000);

/** The latest results of both queries are those of all events. */
async function checkAll(client: HttpClient, events: readonly Event[]): Promise<void> {
  const asked = events.map(({ device, ts, v }) => ({ key: device, timeUs: ts * 1_000, value: v }));
  const small = computeWindows(asked, 10_000_000).map((window) => [
    windowId(window.key, window.startUs),
    { n: window.events, total: window.sum, high: window.max, end: window.last },
  ]);
  const all = asked.map((event) => ({ ...event, key: "all" }));
  const large = computeWindows(all, 60_000_000, 7_000_000).map((window) => [
    windowId(window.key, window.startUs),
    { n: window.events, total: window.sum },
  ]);
  for (const [query, expected] of [
    ["small", small],
    ["large", large],
  ] as const) {
    const found = (await client.results(query)).map((row) => [idOf(row), row.values]);
    assert.deepEqual(Object.fromEntries(found), Object.fromEntries(expected), query);
    assert.equal(found.length, expected.length, query);
  }
}

test("late events are applied: each window as if nothing had been late, whatever crashes come between", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const [node, client] = await start(context);
  const events: Event[] = [];
  let nowMs = Date.UTC(2026, 0, 1);
  for (let round = 0; round < 8; round++) {
    const batch = Array.from({ length: random.integer(1, 40) }, () => {
      nowMs += random.integer(0, 3_000);
      const agoMs = random.chance(0.3) ? random.integer(0, 200_000) : 0;
      return { device: `m${random.integer(0, 4)}`, ts: nowMs - agoMs, v: random.integer(-50, 50) };
    });
    events.push(...batch);
    await client.send("machines", batch);
    if (random.chance(0.3)) await node.restart(random.chance(0.5) ? "SIGKILL" : "SIGTERM");
    if (random.chance(0.3)) await applyLate(client);
  }
  await client.watermark("machines", { end: true });
  const late = await client.late("machines");
  assert.ok(late.length > 0, "some events were late");
  await applyLate(client);
  await checkAll(client, events);
  const rows = await client.results("small", { revisions: "all" });
  assert.ok(rows.some(({ kind, revision }) => kind === "late" && revision > 0));

  // Again: nothing changes, also not after the log was replayed.
  const again = await applyLate(client);
  assert.deepEqual(again, { applied: 0, revisions: 0, waiting: 0, unreadable: 0, refused: [], next: null });
  await node.restart("SIGKILL");
  assert.deepEqual((await applyLate(client)).revisions, 0);
  assert.deepEqual(await client.results("small", { revisions: "all" }), rows);
  const marked = await client.request("GET", "/v1/streams/machines/late?limit=100000");
  const lines = marked.text.split("\n").filter((line) => line !== "");
  assert.equal(lines.length, late.length);
  for (const line of lines) assert.match(line, /"applied":"20/);
});

test("the same, killed while late events are applied", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const [node, client] = await start(context);
  const startMs = Date.UTC(2026, 0, 1);
  const events = Array.from({ length: 400 }, (_, n) => ({
    device: `m${n % 7}`,
    ts: startMs + random.integer(0, 600_000),
    v: n,
  }));
  await client.send("machines", [{ device: "m0", ts: startMs + 3_600_000, v: 1 }]);
  for (let at = 0; at < events.length; at += 5) await client.send("machines", events.slice(at, at + 5));
  await client.watermark("machines", { end: true });
  for (let kill = 0; kill < 2; kill++) {
    const applying = applyLate(client).catch(() => null);
    await new Promise((resolve) => setTimeout(resolve, random.integer(0, 60)));
    await node.restart("SIGKILL");
    await applying;
  }
  await applyLate(client);
  await checkAll(client, [{ device: "m0", ts: startMs + 3_600_000, v: 1 }, ...events]);
  for (const { revision } of await client.results("small", { revisions: "all" })) assert.ok(revision <= 1);
});

test("clock-skewed events stay out unless asked for, wait for their windows to close, and then stay in", async (context) => {
  const decade =
    "  decade: { from: machines, window: { tumbling: 3650d }, by: [], select: { n: count(), total: sum(v) } }\n";
  const [node, client] = await start(context, CONFIG.replace("36500d", "5m") + decade);
  const nowMs = Date.now();
  const aheadMs = nowMs + 3_600_000;
  await client.send("machines", [
    { device: "m1", ts: nowMs, v: 1 },
    { device: "m2", ts: aheadMs, v: 2 },
  ]);
  const nothing = { applied: 0, revisions: 0, waiting: 0, unreadable: 0, refused: [], next: null };
  assert.deepEqual(await applyLate(client), nothing);
  assert.deepEqual(await applyLate(client, { clockSkew: true }), { ...nothing, waiting: 1 });
  await client.watermark("machines", { end: true });
  const results = async (query: string): Promise<unknown[]> =>
    (await client.results(query)).map(({ key, values, revision }) => [
      key.device ?? "all",
      values.total,
      revision,
    ]);
  assert.deepEqual(await results("small"), [["m1", 1, 0]]);
  assert.deepEqual(await applyLate(client), nothing);
  assert.deepEqual(await applyLate(client, { clockSkew: true }), { ...nothing, applied: 1, revisions: 3 });
  assert.deepEqual(await results("small"), [
    ["m1", 1, 0],
    ["m2", 2, 0],
  ]);
  assert.deepEqual(await results("decade"), [["all", 3, 1]]);
  // A late event of the same window must not throw the skewed one out again, whether asked for or not.
  for (const [index, clockSkew] of [false, true].entries()) {
    await client.send("machines", [{ device: "m3", ts: nowMs, v: 10 }]);
    await node.restart("SIGTERM");
    assert.equal((await applyLate(client, { clockSkew })).applied, 1);
    assert.deepEqual(await results("decade"), [["all", 13 + index * 10, 2 + index]]);
  }
  assert.deepEqual(await applyLate(client, { clockSkew: true }), nothing);
});

test("where a field became a text, its query is left alone and says so", async (context) => {
  const [, client] = await start(context);
  const startMs = Date.UTC(2026, 0, 1);
  await client.send("machines", [{ device: "m1", ts: startMs, v: 1 }]);
  await client.send("machines", [{ device: "m1", ts: startMs + 600_000, v: "none" }]);
  await client.send("machines", [{ device: "m1", ts: startMs + 1, v: 3 }]);
  const { applied, revisions, refused } = await applyLate(client);
  assert.deepEqual([applied, revisions, refused.length], [0, 0, 2]);
  assert.match(JSON.stringify(refused), /field v became a text/);
});

test("where, derive and having hold for corrected windows too: a result that no longer passes is retracted", async (context) => {
  const config = CONFIG.slice(0, CONFIG.indexOf("queries:"));
  const [node, client] = await start(
    context,
    `${config}queries:
  warm:
    from: machines
    where: v > 0
    derive: { twice: v * 2 }
    window: { tumbling: 10s }
    by: [device]
    select: { n: count(), top: max(twice) }
    having: n >= 2 and top < 100
`,
  );
  const event = (device: string, second: number, v: number) => ({ device, ts: second * 1_000, v });
  await client.send("machines", [
    ...[event("a", 1, 5), event("a", 2, 6), event("b", 1, 5), event("c", 1, 5), event("c", 2, 5)],
    event("z", 60, -1),
  ]);
  await client.watermark("machines", { end: true });
  // The first is no event of the query, so nothing is set aside for it.
  await client.send("machines", [event("a", 3, -7), event("a", 4, 9), event("b", 4, 1), event("c", 4, 80)]);
  assert.equal((await client.late("machines")).length, 3);
  assert.equal((await applyLate(client)).revisions, 3);
  const brief = async (revisions: "all" | "latest"): Promise<unknown[]> =>
    (await client.results("warm", { revisions })).map(({ key, revision, values }) => [
      key.device,
      revision,
      values,
    ]);
  const all = [
    ["a", 0, { n: 2, top: 12 }],
    ["a", 1, { n: 3, top: 18 }],
    ["b", 0, { n: 2, top: 10 }],
    ["c", 0, { n: 2, top: 10 }],
    ["c", 1, {}],
  ];
  assert.deepEqual(await brief("all"), all);
  assert.deepEqual(await brief("latest"), [all[1], all[2]]);
  await node.restart("SIGKILL");
  assert.deepEqual((await applyLate(client)).revisions, 0);
  assert.deepEqual(await brief("all"), all);
  await client.send("machines", [event("c", 5, 1)]);
  assert.deepEqual((await applyLate(client)).revisions, 0, "what is retracted is not retracted again");
});

test("a query that uses a table joins the rows that the table has now", async (context) => {
  const dir = makeTempDir(context);
  const file = join(dir, "sites.json");
  writeFileSync(file, JSON.stringify([{ device: "m1", site: "hall" }]));
  const config = `${CONFIG}  sites:
    from: machines
    derive: { site: sites.site }
    window: { tumbling: 10s }
    by: [site]
    select: { n: count() }
tables:
  sites: { file: ${JSON.stringify(file)}, key: device }
`;
  const [node, client] = await start(context, config);
  const startMs = Date.UTC(2026, 0, 1);
  await client.send("machines", [{ device: "m1", ts: startMs, v: 3 }]);
  await client.send("machines", [{ device: "m1", ts: startMs + 600_000, v: 1 }]);
  await client.send("machines", [{ device: "m1", ts: startMs, v: 3 }]);
  const { applied, revisions, refused } = await applyLate(client);
  assert.deepEqual([applied, revisions, refused], [1, 3, []]);
  const sites = async (): Promise<unknown[]> =>
    (await client.results("sites")).map(({ key, values, revision }) => [key.site, values.n, revision]);
  assert.deepEqual(await sites(), [["hall", 2, 1]]);
  writeFileSync(file, JSON.stringify([{ device: "m1", site: "yard" }]));
  await node.restart("SIGTERM");
  await client.send("machines", [{ device: "m1", ts: startMs, v: 4 }]);
  assert.equal((await applyLate(client)).applied, 1);
  assert.deepEqual(await sites(), [
    ["hall", 2, 1],
    ["yard", 3, 0],
  ]);
  await node.restart("SIGKILL");
  assert.equal((await applyLate(client)).revisions, 0);
});

test("windows that close by a clock of each key are corrected once their key has closed them", async (context) => {
  const [node, client] = await start(context, CONFIG.replace("bound: 0s", "bound: 0s, per: key"));
  const startMs = Date.UTC(2026, 0, 1);
  await client.send("machines", [
    { device: "m1", ts: startMs + 600_000, v: 1 },
    { device: "m2", ts: startMs + 1_000, v: 5 },
  ]);
  await client.send("machines", [
    { device: "m1", ts: startMs, v: 3 },
    { device: "m2", ts: startMs + 2_000, v: 6 },
  ]);
  assert.equal((await client.late("machines")).length, 2, "that of m2 is late for the window of all");
  await node.restart("SIGKILL");
  const { applied, revisions, refused } = await applyLate(client);
  assert.deepEqual([applied, refused], [2, []]);
  assert.equal(revisions, 2, "a window of m1, and the one of all");
  const small = (await client.results("small")).map(({ key, values }) => [key.device, values.total]);
  assert.deepEqual(small, [["m1", 3]], "m2's window is open");
  assert.deepEqual((await applyLate(client)).revisions, 0);
});
