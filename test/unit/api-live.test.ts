import assert from "node:assert/strict";
import { get, type IncomingMessage } from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { schemas } from "../../host/api/schemas.ts";
import type { ResultRow } from "../../workers/messages.ts";
import { KNOWN, startTestNode } from "./api-fixture.ts";

const PATH = `/v1/queries/${KNOWN}_1m/live`;
const START_US = 1_767_225_600_000_000;

const row = (minute: number, revision = 0, pad = ""): ResultRow => ({
  query: `${KNOWN}_1m`,
  startUs: START_US + minute * 60_000_000,
  endUs: START_US + (minute + 1) * 60_000_000,
  key: JSON.stringify({ device: `a\n${pad}` }),
  values: '{"count":2,"temp_avg":null}',
  revision,
  kind: revision === 0 ? "on-time" : "late",
});

function open(url: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(url + PATH, { agent: false }, resolve).on("error", reject);
  });
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!(await isTrue())) {
    assert.ok(performance.now() < deadline, "it never came to be");
    await sleep(5);
  }
}

const metric = async (url: string, name: string): Promise<number> => {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
};

test("rows come as events with an id, to every client of the query, until it leaves", async (context) => {
  const { url, engine } = await startTestNode(context);
  const clients = await Promise.all([open(url), open(url)]);
  const texts = clients.map((client) => {
    assert.equal(client.statusCode, 200);
    assert.equal(client.headers["content-type"], "text/event-stream");
    const got = { text: "" };
    client.setEncoding("utf8").on("data", (chunk: string) => {
      got.text += chunk;
    });
    return got;
  });
  await until(() => texts.every(({ text }) => text.includes(": connected\n\n")));
  assert.equal(engine.listeners.size, 1, "rows are written to text once for all");
  engine.publish([row(0), row(0), row(1, 0, "ß路🚌")]);
  engine.publish([row(0, 1)]);
  await until(() => texts.every(({ text }) => text.split("event: result").length === 5));
  for (const { text } of texts) {
    const events = text.split("\n\n").filter((event) => event.startsWith("event: result\n"));
    const results = events.map((event) => {
      const [, id, data] = event.split("\n");
      assert.match(id ?? "", /^id: \d+$/);
      return schemas.Result.parse(JSON.parse((data ?? "").replace(/^data: /, "")));
    });
    assert.deepEqual(
      results.map(({ key }) => key),
      ["a\n", "a\n", "a\nß路🚌", "a\n"].map((device) => ({ device })),
    );
    assert.deepEqual(
      results.map(({ window, revision, kind }) => [window.start, revision, kind]),
      [
        ["2026-01-01T00:00:00.000Z", 0, "on-time"],
        ["2026-01-01T00:00:00.000Z", 0, "on-time"],
        ["2026-01-01T00:01:00.000Z", 0, "on-time"],
        ["2026-01-01T00:00:00.000Z", 1, "late"],
      ],
    );
  }
  assert.equal(await metric(url, "millrace_live_clients"), 2);
  clients[0]?.destroy();
  await until(async () => (await metric(url, "millrace_live_clients")) === 1);
  assert.equal(engine.listeners.size, 1);
  clients[1]?.destroy();
  await until(() => engine.listeners.size === 0);
});

test("a retraction says so", async (context) => {
  const { url, engine } = await startTestNode(context);
  const client = await open(url);
  let text = "";
  client.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await until(() => text.includes(": connected\n\n"));
  engine.publish([{ ...row(0, 1), values: "{}", retracted: true }]);
  await until(() => text.includes("event: result"));
  const [, data = ""] = /^data: (.*)$/m.exec(text) ?? [];
  const { values, kind, retracted } = schemas.Result.parse(JSON.parse(data));
  assert.deepEqual([values, kind, retracted], [{}, "late", true]);
  client.destroy();
  await until(() => engine.listeners.size === 0);
});

test("clients beyond the limit are told so; HEAD takes no place", async (context) => {
  const { url, engine } = await startTestNode(context, { limits: { maxLiveClients: 1 } });
  for (let attempt = 0; attempt < 3; attempt++) {
    const head = await fetch(url + PATH, { method: "HEAD" });
    assert.deepEqual([head.status, head.headers.get("content-type")], [200, "text/event-stream"]);
  }
  assert.equal(engine.listeners.size, 0);
  const client = await open(url);
  const refused = await fetch(url + PATH);
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "5"]);
  assert.equal(((await refused.json()) as { code: string }).code, "E_LIVE_CLIENTS");
  client.destroy();
  await until(() => engine.listeners.size === 0);
  const next = await open(url);
  assert.equal(next.statusCode, 200);
  next.destroy();
});

test("a client that does not read is cut off and counted; the others get everything", async (context) => {
  const { url, engine } = await startTestNode(context);
  const stuck = await open(url);
  stuck.pause();
  const ended = new Promise<void>((resolve) => stuck.once("close", () => resolve()));
  stuck.on("error", () => {});
  const good = await open(url);
  let bytes = 0;
  good.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  const rows = Array.from({ length: 1_000 }, (_, minute) => row(minute, 0, "x".repeat(2_000)));
  let sentBytes = 0;
  const publish = async (): Promise<void> => {
    const before = bytes;
    engine.publish(rows);
    sentBytes++;
    // The good one keeps up: nothing is published before it has read the rest.
    await until(() => bytes - before > 2_000_000);
  };
  for (let round = 0; round < 60 && (await metric(url, "millrace_live_clients_dropped_total")) === 0; round++)
    await publish();
  assert.equal(await metric(url, "millrace_live_clients_dropped_total"), 1);
  assert.equal(await metric(url, "millrace_live_clients"), 1);
  stuck.resume();
  await ended;
  await publish();
  assert.ok(sentBytes > 5, "some waiting is granted");
  good.destroy();
});

test("at shutdown feeds end, so that the node need not wait for them", async (context) => {
  const { url, engine, close } = await startTestNode(context, { timeouts: { drainMs: 60_000 } });
  const client = await open(url);
  const ended = new Promise<void>((resolve) => client.resume().once("end", () => resolve()));
  await close();
  await ended;
  assert.equal(engine.listeners.size, 0);
});

test("windows that stand still: lists say so, the state is still shown", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { url, engine } = await startTestNode(context);
  engine.settled = new Promise(() => {});
  const ask = async (path: string): Promise<Response> => {
    const settles = engine.settles;
    const answer = fetch(url + path);
    await untilTurned(() => engine.settles > settles);
    context.mock.timers.tick(10_000);
    return answer;
  };
  const status = schemas.Status.parse(await (await ask("/v1/status")).json());
  assert.equal(status.settled, false);
  const list = await ask(`/v1/queries/${KNOWN}_1m/results`);
  assert.deepEqual([list.status, list.headers.get("retry-after")], [503, "5"]);
  assert.equal(((await list.json()) as { code: string }).code, "E_NOT_SETTLED");
  context.mock.timers.reset();
});

/** As `until`, without timers. */
async function untilTurned(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}
