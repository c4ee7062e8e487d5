import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { makeTempDir } from "../support/temp-dir.ts";
import { millrace, type Reply, type Seen, StandIn } from "./cli-stand-in.ts";

const lines = (count: number): string =>
  Array.from({ length: count }, (_, index) => `{"device":"d${index % 7}","n":${index}}\n`).join("");

/** Takes every line, and a known key as a duplicate. */
function taker(): (seen: Seen) => Reply {
  const counts = new Map<string, number>();
  return ({ path, headers, body }) => {
    if (path.endsWith("/watermark")) return { body: '{"watermark":"2026-01-01T00:00:00.000Z"}' };
    const key = String(headers["idempotency-key"]);
    const known = counts.get(key);
    const header = headers["content-type"] === "text/csv" ? 1 : 0;
    const accepted = known ?? body.trim().split("\n").length - header;
    counts.set(key, accepted);
    return {
      body: JSON.stringify({ accepted, deadLettered: 0, duplicate: known !== undefined, errors: [] }),
    };
  };
}

const keys = (standIn: StandIn): string[] =>
  standIn.requests.map(({ headers }) => String(headers["idempotency-key"]));

test("files go in batches of 4,000 lines, in order, and a second run sends nothing twice", async (context) => {
  const standIn = await StandIn.start(taker(), context);
  const dir = makeTempDir(context);
  writeFileSync(join(dir, "b.ndjson"), lines(9_000));
  writeFileSync(join(dir, "a.ndjson"), lines(10));
  const args = ["send", "my.stream", join(dir, "*.ndjson"), "--url", standIn.url];
  const first = await millrace([...args, "--json"]);
  assert.equal(first.code, 0, first.stderr);
  const figures = JSON.parse(first.stdout) as Record<string, unknown>;
  assert.deepEqual(
    [figures.events, figures.accepted, figures.duplicates, figures.batches, figures.sources],
    [9_010, 9_010, 0, 4, 2],
  );
  assert.deepEqual(
    standIn.requests.map(({ body }) => body.split("\n").length - 1),
    [10, 4_000, 4_000, 1_000],
  );
  assert.equal(standIn.requests.map(({ body }) => body).join(""), lines(10) + lines(9_000));
  assert.ok(standIn.requests.every(({ path }) => path === "/v1/streams/my.stream/events"));
  assert.equal(new Set(keys(standIn)).size, 4);

  const second = await millrace(args);
  assert.match(second.stdout, /^my\.stream: 0 accepted, 9,010 sent before/);
  assert.deepEqual(keys(standIn).slice(4), keys(standIn).slice(0, 4));

  const again = await millrace([...args, "--again"]);
  assert.match(again.stdout, /9,010 accepted/);
});

test("a batch is full at 1 MiB, too", async (context) => {
  const standIn = await StandIn.start(taker(), context);
  const file = join(makeTempDir(context), "wide.ndjson");
  writeFileSync(file, `{"text":"${"x".repeat(300_000)}"}\n`.repeat(10));
  assert.equal((await millrace(["send", "s", file, "--url", standIn.url])).code, 0);
  assert.deepEqual(
    standIn.requests.map(({ body }) => body.trim().split("\n").length),
    [4, 4, 2],
  );
});

test("every CSV batch begins with the header", async (context) => {
  const standIn = await StandIn.start(taker(), context);
  const file = join(makeTempDir(context), "x.csv");
  const rows = Array.from({ length: 25 }, (_, index) => `${index},"a ""b"", c"\n`).join("");
  writeFileSync(file, `n,text\n${rows}`);
  const run = await millrace(["send", "s", file, "--batch", "10", "--url", standIn.url]);
  assert.match(run.stdout, /^s: 25 accepted/);
  assert.deepEqual(
    standIn.requests.map(({ body, headers }) => [
      headers["content-type"],
      body.split("\n")[0],
      body.split("\n").length,
    ]),
    [
      ["text/csv", "n,text", 12],
      ["text/csv", "n,text", 12],
      ["text/csv", "n,text", 7],
    ],
  );
  assert.equal(standIn.requests.map(({ body }) => body.slice("n,text\n".length)).join(""), rows);
});

test("stdin: sniffed; new in every run unless it has a name", async (context) => {
  const standIn = await StandIn.start(taker(), context);
  const args = ["send", "s", "--url", standIn.url];
  const input = '[{"a":1},\n{"a":2}]';
  assert.match((await millrace(args, input)).stdout, /^s: 2 accepted/);
  assert.equal(standIn.requests[0]?.headers["content-type"], "application/x-ndjson");
  assert.equal(standIn.requests[0]?.body, '{"a":1}\n{"a":2}\n');
  assert.match((await millrace([...args, "-"], input)).stdout, /^s: 2 accepted/);
  const named = [...args, "--name", "batch-7"];
  assert.match((await millrace(named, input)).stdout, /^s: 2 accepted/);
  assert.match((await millrace(named, input)).stdout, /^s: 0 accepted, 2 sent before/);
});

test("--end closes the windows after the last batch", async (context) => {
  const standIn = await StandIn.start(taker(), context);
  const run = await millrace(["send", "s", "--end", "--url", standIn.url], lines(3));
  assert.match(run.stdout, /3 accepted, all windows closed/);
  assert.deepEqual(
    standIn.requests.map(({ method, path, body }) => [method, path, body === lines(3) ? "lines" : body]),
    [
      ["POST", "/v1/streams/s/events", "lines"],
      ["POST", "/v1/streams/s/watermark", '{"end":true}'],
    ],
  );
});

test("429, 503 and cut connections are tried again under the same key", async (context) => {
  const take = taker();
  const troubles: readonly Reply[] = [
    { status: 429, headers: { "retry-after": "0" }, body: '{"detail":"full"}' },
    { body: "", isCut: true },
    { status: 503, headers: { "retry-after": "1" }, body: "" },
    { body: "", isCut: true },
  ];
  const atMs: number[] = [];
  const standIn = await StandIn.start((seen, index) => {
    atMs.push(performance.now());
    return troubles[index] ?? take(seen);
  }, context);
  const run = await millrace(["send", "s", "--url", standIn.url], lines(5));
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stdout, /^s: 5 accepted/);
  assert.equal(standIn.requests.length, 5);
  assert.equal(new Set(keys(standIn)).size, 1);
  assert.equal(new Set(standIn.requests.map(({ body }) => body)).size, 1);
  assert.ok(atMs[3]! - atMs[2]! >= 990, "Retry-After is a promise, not a wish");
});

test("lines that were set aside are shown with their place in the file", async (context) => {
  const body = JSON.stringify({
    accepted: 1,
    deadLettered: 1,
    duplicate: false,
    errors: [{ line: 2, path: "", message: "not JSON" }],
  });
  const standIn = await StandIn.start(() => ({ body }), context);
  const file = join(makeTempDir(context), "x.ndjson");
  writeFileSync(file, '{"a":1}\n\n\noops\n');
  const run = await millrace(["send", "s", file, "--url", standIn.url]);
  assert.equal(run.stderr, `${file}:4: set aside: not JSON\n`);
  assert.match(run.stdout, /1 accepted, 1 set aside/);
  assert.equal(run.code, 0);
});

test("a header that was refused is line 1 of its file", async (context) => {
  const errors = [{ line: 1, path: "", message: "no comma" }];
  const body = JSON.stringify({ accepted: 0, deadLettered: 1, duplicate: false, errors });
  const standIn = await StandIn.start(() => ({ status: 422, body }), context);
  const file = join(makeTempDir(context), "x.csv");
  writeFileSync(file, "a;b\n1;2\n");
  const run = await millrace(["send", "s", file, "--url", standIn.url]);
  assert.equal(run.stderr, `${file}:1: set aside: no comma\n`);
  assert.equal(run.code, 1);
});

test("nothing but bad lines has exit code 1", async (context) => {
  const answer = {
    detail: "all 1 lines are bad",
    accepted: 0,
    deadLettered: 1,
    duplicate: false,
    errors: [],
  };
  const standIn = await StandIn.start(() => ({ status: 422, body: JSON.stringify(answer) }), context);
  const run = await millrace(["send", "s", "--url", standIn.url], "oops\n");
  assert.equal(run.code, 1);
  assert.match(run.stdout, /0 accepted, 1 set aside/);
});

test("a refusal is said in the node's words", async (context) => {
  const standIn = await StandIn.start(
    () => ({ status: 404, body: '{"detail":"stream s is not declared"}' }),
    context,
  );
  const run = await millrace(["send", "s", "--url", standIn.url], lines(1));
  assert.equal(run.code, 1);
  assert.match(run.stderr, /answered 404: stream s is not declared/);
  assert.equal(standIn.requests.length, 1);
});

test("a node that is not there has exit code 3 and a hint", async () => {
  const closed = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => closed.once("listening", resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const url = `http://127.0.0.1:${port}`;
  const send = await millrace(["send", "s", "--patience", "200ms"], lines(1), { MILLRACE_URL: url });
  assert.equal(send.code, 3);
  assert.match(send.stderr, new RegExp(`no node answers at ${url} \\(ECONNREFUSED\\); start one`));
  for (const args of [["query"], ["tail", "s"], ["top", "--once"], ["late", "s"], ["dlq"], ["losses"]]) {
    assert.equal((await millrace([...args, "--url", url])).code, 3, args.join(" "));
  }
});

test("what cannot be sent is said before anything is sent", async (context) => {
  const standIn = await StandIn.start(taker(), context);
  const dir = makeTempDir(context);
  const file = join(dir, "x.ndjson");
  writeFileSync(file, lines(1));
  for (const [name, message] of [
    [join(dir, "gone.ndjson"), /there is no file/],
    [join(dir, "*.csv"), /no file is named like/],
    [dir, /is a folder/],
  ] as const) {
    const run = await millrace(["send", "s", file, name, "--url", standIn.url]);
    assert.equal(run.code, 1);
    assert.match(run.stderr, message);
  }
  assert.equal((await millrace(["send", "s", file, "--url", "nowhere"])).code, 2);
  assert.equal((await millrace(["send", "s", file, "--rate", "fast"])).code, 2);
  assert.equal(standIn.requests.length, 0);
});

test("--rate sends small batches", async (context) => {
  const standIn = await StandIn.start(taker(), context);
  const run = await millrace(["send", "s", "--rate", "1000", "--url", standIn.url], lines(250));
  assert.match(run.stdout, /^s: 250 accepted/);
  assert.deepEqual(
    standIn.requests.map(({ body }) => body.trim().split("\n").length),
    [100, 100, 50],
  );
});
