import assert from "node:assert/strict";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { spawnNode } from "../support/node-process.ts";

const MIB = 1024 * 1024;

test("small good bodies are taken beside large compressed ones", async (context) => {
  const node = await spawnNode({ config: null }, context);
  const post = (
    body: string | Uint8Array<ArrayBuffer>,
    headers: Record<string, string> = {},
  ): Promise<Response> =>
    fetch(`${node.url}/v1/streams/s/events`, {
      method: "POST",
      headers: { "content-type": "application/x-ndjson", ...headers },
      body,
    });
  // Each is under the limit by itself; together they are more than a batch may be.
  const line = `{"device":"m1","ts":1000,"pad":"${"x".repeat(200)}"}\n`;
  const large = zstdCompressSync(line.repeat(Math.floor((15 * MIB) / line.length)));
  const small = `${'{"device":"m2","ts":1000}\n'.repeat(3)}`;
  const answers = await Promise.all([
    ...Array.from({ length: 24 }, () => post(new Uint8Array(large), { "content-encoding": "zstd" })),
    ...Array.from({ length: 8 }, () => post(small)),
  ]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    answers.map(() => 200),
  );
});

test("a duplicate leaves no trace in the types of fields", async (context) => {
  const config =
    "streams: { s: {} }\nqueries: { q: { from: s, window: { tumbling: 1m }, select: { n: count() } } }\n";
  const node = await spawnNode({ config }, context);
  const post = async (body: string, key?: string): Promise<unknown> => {
    const headers = { "content-type": "application/x-ndjson", ...(key ? { "idempotency-key": key } : {}) };
    const answer = await fetch(`${node.url}/v1/streams/s/events`, { method: "POST", headers, body });
    return ((await answer.json()) as { duplicate: unknown }).duplicate;
  };
  assert.equal(await post('{"ts":1,"x":2}', "K"), false);
  assert.equal(await post('{"ts":1,"x":"text"}', "K"), true);
  assert.equal(await post('{"ts":1,"x":5}'), false);
  const events = await (await fetch(`${node.url}/v1/streams/s/events`)).text();
  assert.deepEqual(
    events
      .trim()
      .split("\n")
      .map((event) => (JSON.parse(event) as { x: unknown }).x),
    [2, 5],
  );
});
