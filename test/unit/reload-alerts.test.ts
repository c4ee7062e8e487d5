import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { eventually, startHook } from "../support/hook.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

const BASE = Date.UTC(2026, 0, 1);

function config(alerts: string): string {
  return `
streams:
  machines: { key: device, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 0s }
queries:
  n: { from: machines, window: { tumbling: 10s }, select: { n: count(), top: max(v) } }
  on_n: { from: n, window: { tumbling: 1m }, by: [], select: { windows: count() } }
${alerts === "" ? "" : `alerts:\n${alerts}`}`;
}

const A = "  a: { from: n, when: top > 10, for: 2 }\n";
const B = "  b: { from: machines, when: v > 20 }\n";
const C = "  c: { from: n, when: top > 15 }\n";

async function start(
  context: TestContext,
  text: string,
  environment = {},
): Promise<[NodeProcess, HttpClient]> {
  const node = new NodeProcess({ config: text, environment }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  return [node, client];
}

async function put(client: HttpClient, text: string): Promise<Record<string, unknown>> {
  const answer = await client.request("PUT", "/v1/config", text);
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.text) as Record<string, unknown>;
}

function at(second: number, v: number): object[] {
  return [{ device: "d", ts: new Date(BASE + second * 1_000).toISOString(), v }];
}

async function alertsOf(client: HttpClient): Promise<string[]> {
  const { text } = await client.request("GET", "/v1/alerts");
  const rows = text.split("\n").filter((line) => line !== "");
  return rows
    .map((line) => JSON.parse(line) as { alert: string; state: string; since: string })
    .map(({ alert, state, since }) => `${alert} ${state} since ${(Date.parse(since) - BASE) / 1_000}`)
    .toSorted();
}

async function webhooksWaiting(client: HttpClient): Promise<number> {
  return (await client.json<{ webhooks: { waiting: number } }>("/v1/status")).webhooks.waiting;
}

test("alerts come, change and go while the others keep their state; open episodes of those that go end", async (context) => {
  const [node, client] = await start(context, config(A + B));
  await client.send("machines", [...at(1, 30), ...at(12, 30)]);
  assert.deepEqual(await alertsOf(client), ["a pending since 0", "b firing since 1"]);
  const came = await put(client, config(A + B + C));
  assert.deepEqual(came.alerts, { added: ["c"], changed: [], removed: [] });
  await client.send("machines", at(23, 30));
  assert.deepEqual(
    await alertsOf(client),
    ["a firing since 0", "b firing since 1", "c firing since 10"],
    "a counted a window before the change and one behind it",
  );
  const changed = await put(client, config(A.replace("top > 10", "top > 11") + C));
  assert.deepEqual(changed.alerts, { added: [], changed: ["a"], removed: ["b"] });
  const open = ["a resolved since 0", "b resolved since 1", "c firing since 10"];
  assert.deepEqual(await alertsOf(client), open, "answered once they have ended");
  await node.restart("SIGKILL");
  assert.deepEqual(await alertsOf(client), open, "and so after a replay");
  await client.send("machines", [...at(34, 5), ...at(45, 30)]);
  assert.deepEqual(await alertsOf(client), [
    "a resolved since 0",
    "a resolved since 20",
    "b resolved since 1",
    "c resolved since 10",
  ]);
  const none = await put(client, config(""));
  assert.deepEqual(none.alerts, { added: [], changed: [], removed: ["a", "c"] });
  await client.send("machines", at(56, 99));
  assert.equal((await alertsOf(client)).filter((line) => !line.includes("resolved")).length, 0);
});

test("severity and webhooks of an alert change without its state", async (context) => {
  const hook = await startHook(context);
  const [, client] = await start(context, config(A));
  await client.send("machines", [...at(1, 30), ...at(12, 30)]);
  const notified = A.replace(" }", `, severity: critical, notify: [{ webhook: ${hook.url} }] }`);
  assert.deepEqual((await put(client, config(notified))).alerts, { added: [], changed: ["a"], removed: [] });
  await client.send("machines", at(23, 30));
  assert.deepEqual(await alertsOf(client), ["a firing since 0"]);
  await eventually(() => hook.posts.length > 0, "a post");
  assert.match(hook.posts[0]?.body ?? "", /"severity":"critical".*"state":"firing"/);
});

test("addresses that are shown as *** and put back are the real ones, after a restart too", async (context) => {
  const hook = await startHook(context);
  const environment = { HOOK: `${hook.url}?secret=1` };
  const notify = `notify: [{ webhook: "\${HOOK}" }, { webhook: "${hook.url}/second" }]`;
  const [node, client] = await start(context, config(C.replace(" }", `, ${notify} }`)), environment);
  const shown = (await client.request("GET", "/v1/config")).text;
  assert.doesNotMatch(shown, /secret|second/);
  const { alerts: _none, ...change } = await put(client, shown);
  assert.deepEqual([change.added, change.changed, change.removed, _none], [[], [], [], undefined]);
  const told = async (second: number, count: number): Promise<void> => {
    await client.send("machines", [...at(second, 30), ...at(second + 10, 1), ...at(second + 20, 1)]);
    // Also in the outbox: a restart would send again what was posted and not yet taken out.
    await eventually(
      async () => hook.posts.length >= count && (await webhooksWaiting(client)) === 0,
      `${count} posts`,
    );
    assert.equal(hook.posts.length, count);
  };
  await told(1, 4);
  await node.restart("SIGTERM");
  assert.equal((await client.request("GET", "/v1/config")).text, shown);
  await told(41, 8);
  const foreign = shown.replaceAll(new URL(hook.url).origin, "http://127.0.0.1:9");
  const refused = await client.request("PUT", "/v1/config", foreign);
  assert.equal(refused.status, 422);
  assert.match(refused.text, /alerts\.c\.notify\.0\.webhook.*is how an address is shown/);
});

test("a query on a query that changes is listed among those that start anew", async (context) => {
  const [, client] = await start(context, config(""));
  const { added, changed, removed } = await put(client, config("").replace("tumbling: 10s", "tumbling: 20s"));
  assert.deepEqual({ added, changed, removed }, { added: [], changed: ["n", "on_n"], removed: [] });
});
