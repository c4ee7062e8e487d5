import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import { millrace, StandIn } from "./cli-stand-in.ts";

const row = (minute: number, revision = 0): string =>
  JSON.stringify({
    query: "q",
    window: { start: `2026-01-01T00:0${minute}:00.000Z`, end: `2026-01-01T00:0${minute + 1}:00.000Z` },
    key: { device: "m1" },
    values: { n: minute },
    revision,
    kind: "on-time",
  });

test("query follows the pages and prints rows as they are", async (context) => {
  const standIn = await StandIn.start(
    ({ path }) =>
      path.includes("after=")
        ? { body: `${row(2)}\n` }
        : {
            headers: { link: `</v1/queries/q/results?after=c1>; rel="next"` },
            body: `${row(0)}\n${row(1)}\n`,
          },
    context,
  );
  const run = await millrace([
    "query",
    "q",
    "--from",
    "2026-01-01",
    "--key",
    "m1",
    "--revisions",
    "--url",
    standIn.url,
  ]);
  assert.equal(run.code, 0, run.stderr);
  assert.equal(run.stdout, `${row(0)}\n${row(1)}\n${row(2)}\n`);
  const { pathname, searchParams } = new URL(standIn.requests[0]?.path ?? "", standIn.url);
  assert.equal(pathname, "/v1/queries/q/results");
  assert.deepEqual(
    [
      searchParams.get("from"),
      searchParams.get("key"),
      searchParams.get("revisions"),
      searchParams.get("to"),
    ],
    ["2026-01-01", "m1", "all", null],
  );
  const limited = await millrace(["query", "q", "--limit", "1", "--url", standIn.url]);
  assert.equal(limited.stdout, `${row(0)}\n`);
});

test("query without a name lists the queries", async (context) => {
  const entry = { query: "q", from: "s" };
  const standIn = await StandIn.start(() => ({ body: JSON.stringify({ queries: [entry] }) }), context);
  const run = await millrace(["query", "--url", standIn.url]);
  assert.deepEqual(JSON.parse(run.stdout), entry);
});

test("late, dlq and losses print what the node lists", async (context) => {
  const standIn = await StandIn.start(({ path }) => ({ body: `${JSON.stringify({ path })}\n` }), context);
  const cases = [
    [["late", "s"], "/v1/streams/s/late"],
    [["dlq", "--stream", "s"], "/v1/dlq"],
    [["losses"], "/v1/losses"],
  ] as const;
  for (const [args, path] of cases) {
    const run = await millrace([...args, "--url", standIn.url]);
    assert.equal(new URL((JSON.parse(run.stdout) as { path: string }).path, standIn.url).pathname, path);
  }
  assert.match(standIn.requests[1]?.path ?? "", /stream=s/);
});

test("late --apply goes on until all is applied, adds up, and says what was left alone", async (context) => {
  const answers: object[] = [
    { applied: 1_200, revisions: 3, waiting: 0, unreadable: 0, refused: [], next: 7 },
    { applied: 34, revisions: 1, waiting: 2, unreadable: 0, refused: [], next: null },
  ];
  const standIn = await StandIn.start((_, index) => ({ body: JSON.stringify(answers[index % 2]) }), context);
  const run = await millrace(["late", "s", "--apply", "--clock-skew", "--url", standIn.url]);
  assert.deepEqual([run.code, run.stdout], [0, "1,234 late events applied, 4 results revised\n"]);
  assert.match(run.stderr, /2 events wait/);
  assert.deepEqual(
    standIn.requests.map(({ method, path, body }) => [method, path, JSON.parse(body)]),
    [
      ["POST", "/v1/streams/s/late/apply", { clockSkew: true }],
      ["POST", "/v1/streams/s/late/apply", { clockSkew: true, after: 7 }],
    ],
  );
  const json = await millrace(["late", "s", "--apply", "--json", "--url", standIn.url]);
  assert.deepEqual(JSON.parse(json.stdout), {
    applied: 1_234,
    revisions: 4,
    waiting: 2,
    unreadable: 0,
    refused: [],
  });
  const refused = [{ query: "q", reason: "windows of kind session are not corrected by this release" }];
  answers.splice(0, 2, { ...answers[1], refused }, { ...answers[1], refused });
  const partial = await millrace(["late", "s", "--apply", "--url", standIn.url]);
  assert.equal(partial.code, 1);
  assert.match(partial.stderr, /query q was left alone: windows of kind session/);
});

test("clocks lists devices", async (context) => {
  const devices = [
    { device: "press-9", medianOffsetMs: 720_000, samples: 3 },
    { device: "press-1", medianOffsetMs: -40, samples: 9 },
  ];
  const standIn = await StandIn.start(() => ({ body: JSON.stringify({ stream: "s", devices }) }), context);
  const run = await millrace(["clocks", "s", "--limit", "5", "--url", standIn.url]);
  assert.deepEqual(
    run.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object),
    devices,
  );
  assert.equal(standIn.requests[0]?.path, "/v1/streams/s/clocks?limit=5");
});

test("an answer of the node's is passed on", async (context) => {
  const standIn = await StandIn.start(
    () => ({ status: 404, body: '{"detail":"there is no query q"}' }),
    context,
  );
  const run = await millrace(["query", "q", "--url", standIn.url]);
  assert.equal(run.code, 1);
  assert.match(run.stderr, /there is no query q/);
});

test("top prints once where there is no terminal", async (context) => {
  const status = {
    node: { id: "hall", startedAt: "2026-01-01T00:00:00.000Z", ready: true },
    streams: [
      {
        stream: "s",
        rate: 12.4,
        accepted: 1234,
        lagMs: 5000,
        late: 1,
        deadLettered: 2,
        clockSkewed: 3,
        storedBytes: 2048,
        skewedDevices: [{ device: "press-9", events: 3, medianOffsetMs: 720_000 }],
      },
    ],
    queries: [{ query: "s_1m", keys: 4, openGroups: 5, results: 6, stateBytes: 1024, watermark: null }],
    queue: { bytes: 0, maxBytes: 67_108_864, rejected: 0 },
    buffer: {
      level: "give-up",
      refusing: true,
      usedBytes: 1024 ** 2,
      capacityBytes: 2 * 1024 ** 2,
      imbalance: 0,
      streams: [
        { downsampled: 1200, givenUp: 0, expired: 0, corrupt: 3 },
        { downsampled: 34, givenUp: 0, expired: 0, corrupt: 0 },
      ],
    },
    store: { databaseBytes: 4096, commits: 9 },
    checkpoint: { ageMs: null },
    state: { largestKeys: { query: "s_1m", keys: [{ key: '{"device":"press-9"}', bytes: 2048 }] } },
    memory: { rssBytes: 1024 ** 2 },
  };
  const standIn = await StandIn.start(() => ({ body: JSON.stringify(status) }), context);
  const text = await millrace(["top", "--url", standIn.url]);
  assert.equal(text.code, 0, text.stderr);
  assert.match(text.stdout, /^hall: ready/);
  assert.match(
    text.stdout,
    /^buffer 1\.0 MiB of 2\.0 MiB, level give-up, refusing events; lost: 1,234 downsampled, 3 corrupt$/m,
  );
  assert.match(text.stdout, /^s +12 +1,234 +5 s +1 +2 +3 +2\.0 KiB$/m);
  assert.match(text.stdout, /^s: press-9 +12 min +3$/m);
  assert.match(text.stdout, /^s_1m: \{"device":"press-9"\} +2\.0 KiB$/m);
  assert.deepEqual(JSON.parse((await millrace(["top", "--json", "--url", standIn.url])).stdout), status);
});

/** A node with one query whose feed can be written to. */
async function liveNode(cleanup: { after(task: () => void): void }): Promise<{
  url: string;
  feed: Promise<{ write(text: string): void }>;
}> {
  let open: (feed: { write(text: string): void }) => void = () => {};
  const feed = new Promise<{ write(text: string): void }>((resolve) => (open = resolve));
  const server = createServer((request, response) => {
    if (request.url === "/v1/queries") {
      response.end(JSON.stringify({ queries: [{ query: "q", from: "s" }] }));
    } else if (request.url?.endsWith("/live")) {
      response.writeHead(200, { "content-type": "text/event-stream" });
      // A row that is in the history as well.
      response.write(`: connected\n\nevent: result\nid: 1\ndata: ${row(1)}\n\n`);
      open(response);
    } else {
      response.end(`${row(0)}\n${row(1)}\n`);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanup.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, feed };
}

function follow(args: readonly string[], cleanup: { after(task: () => void): void }): AsyncIterator<string> {
  const child = spawn(process.execPath, [join(REPOSITORY_ROOT, "host/cli/bin.js"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  cleanup.after(() => void child.kill("SIGKILL"));
  return createInterface({ input: child.stdout })[Symbol.asyncIterator]();
}

test("query --follow prints history, then what comes, each row once", async (context) => {
  const { url, feed } = await liveNode(context);
  const printed = follow(["query", "q", "--follow", "--url", url], context);
  assert.equal((await printed.next()).value, row(0));
  assert.equal((await printed.next()).value, row(1));
  const text = `event: result\ndata: ${row(2)}\n\n: still here\n\nevent: result\ndata: ${row(3)}\n\n`;
  const { write } = await feed.then((response) => ({ write: response.write.bind(response) }));
  write(text.slice(0, 40));
  write(text.slice(40));
  assert.equal((await printed.next()).value, row(2));
  assert.equal((await printed.next()).value, row(3));
});

test("tail follows the queries of a stream, without the history", async (context) => {
  const { url, feed } = await liveNode(context);
  const printed = follow(["tail", "s", "--url", url], context);
  assert.equal((await printed.next()).value, row(1));
  (await feed).write(`data: ${row(4)}\n\n`);
  assert.equal((await printed.next()).value, row(4));
  const unknown = await millrace(["tail", "other", "--url", url]);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /no query is named other.*there are q/);
});
