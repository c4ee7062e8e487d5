import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

interface Hook {
  readonly url: string;
  readonly posts: { readonly key: string; readonly body: AlertLine }[];
  /** Status of the next answers, first to last; then 200. */
  readonly answers: number[];
}

interface AlertLine {
  readonly alert: string;
  readonly key: Readonly<Record<string, unknown>>;
  readonly state: string;
  readonly since: string;
  readonly at: string;
  readonly value: Readonly<Record<string, unknown>>;
  readonly id: string;
  readonly revision: number;
}

async function startHook(context: TestContext): Promise<Hook> {
  const posts: Hook["posts"] = [];
  const answers: number[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as AlertLine;
      posts.push({ key: String(request.headers["idempotency-key"]), body });
      response.writeHead(answers.shift() ?? 200).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, posts, answers };
}

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
  const deadline = performance.now() + 10_000;
  const told = (): Set<string> => new Set(hook.posts.map(({ body }) => short(body)));
  while (told().size < 4 && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual([...told()].sort(), all.slice(1).sort());
  await node.stop();
});
