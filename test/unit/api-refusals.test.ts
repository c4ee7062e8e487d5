import assert from "node:assert/strict";
import { test } from "node:test";
import { spawnNode } from "../support/node-process.ts";

interface Documented {
  readonly paths: Readonly<Record<string, { get?: { responses: Record<string, unknown> } }>>;
}

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

async function refusalOf(url: string, path: string): Promise<Refusal> {
  const answer = await fetch(url + path);
  const { code, detail } = (await answer.json()) as Refusal;
  return { status: answer.status, code, detail };
}

async function documented(url: string): Promise<Documented> {
  return (await (await fetch(`${url}/openapi.json`)).json()) as Documented;
}

test("what a hub does not know it refuses with calls that the hub has", async (context) => {
  const hub = await spawnNode({ config: null, command: "hub" }, context);
  const { paths } = await documented(hub.url);
  for (const [path, code] of [
    ["/v1/streams/nope/events", "E_UNKNOWN_STREAM"],
    ["/v1/queries/nope/results", "E_UNKNOWN_QUERY"],
    ["/v1/edges/nope", "E_UNKNOWN_EDGE"],
  ] as const) {
    const refusal = await refusalOf(hub.url, path);
    assert.deepEqual([refusal.status, refusal.code], [404, code]);
    for (const [, named = ""] of refusal.detail.matchAll(/GET ([^ ]+)/g))
      assert.ok(paths[named]?.get !== undefined, `${refusal.detail}: ${named}`);
  }
});

test("every call of a node that takes a limit says so when it is wrong, as documented", async (context) => {
  const config = "streams: { s: }\nsync: { url: 'http://127.0.0.1:1' }\n";
  const node = await spawnNode({ config }, context);
  const { paths } = await documented(node.url);
  let checked = 0;
  for (const [path, { get }] of Object.entries(paths)) {
    const given = path.replace("{stream}", "s").replace("{device}", "d");
    if (get === undefined || given.includes("{") || path.endsWith("/live")) continue;
    const answer = await fetch(`${node.url}${given}?limit=0`);
    await answer.arrayBuffer();
    assert.ok(String(answer.status) in get.responses, `${path}: ${answer.status} is not documented`);
    if (answer.status === 400) checked++;
  }
  assert.ok(checked >= 8, `${checked} calls take a limit`);
});
