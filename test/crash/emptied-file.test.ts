import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

const CONFIG = `
checkpoint: { every: 30ms }
streams:
  machines: { key: device, watermark: { bound: 1m, maxAhead: 36500d }, lateness: 0s }
queries:
  n: { from: machines, window: { tumbling: 10s }, by: [device], select: { n: count() } }
`;
const BASE = Date.UTC(2026, 0, 1);
/** What is found while another program writes the file, or after the power failed meanwhile. */
const EMPTY = ["", "\n", "# the configuration of press hall 3\n"];

/** Events of one device, one in each second of a range. */
function seconds(from: number, to: number): object[] {
  return Array.from({ length: to - from }, (_, index) => ({
    device: "d",
    ts: new Date(BASE + (from + index) * 1_000).toISOString(),
  }));
}

test("a file that is found empty takes no query away: not by SIGHUP, not by PUT, not at a start", async (context) => {
  const node = new NodeProcess({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const answers = (): string[] =>
    node.lines.filter((line) => /configuration (was refused|changed)/.test(line));
  const reload = async (): Promise<string> => {
    const before = answers().length;
    process.kill(node.pid, "SIGHUP");
    while (answers().length === before) await sleep(10);
    return answers().at(-1) ?? "";
  };
  await node.start();
  await client.send("machines", seconds(0, 60));
  for (const text of EMPTY) {
    writeFileSync(node.configFile, text);
    assert.match(await reload(), /it is empty, and would take away every stream/);
    const put = await client.request("PUT", "/v1/config", text);
    assert.equal(put.status, 422, put.text);
    assert.match(put.text, /it is empty, and would take away every stream/);
  }
  rmSync(node.configFile);
  assert.match(await reload(), /there is no such file/);
  await client.send("machines", seconds(60, 90));

  writeFileSync(node.configFile, "");
  await node.kill("SIGKILL");
  node.launch();
  assert.equal(await node.exited(), 1, node.tail());
  assert.match(node.tail(), /millrace\.yaml: it is empty, .*; write what is to hold/);

  writeFileSync(node.configFile, CONFIG);
  await node.start();
  await client.send("machines", seconds(90, 100));
  await client.watermark("machines", { end: true });
  const counts = (await client.results("n")).map(({ values, revision }) => [values.n, revision]);
  assert.deepEqual(counts, new Array(10).fill([10, 0]), "every window is whole");

  writeFileSync(node.configFile, "{}\n");
  assert.match(await reload(), /"removed":\["n"\]/);
  assert.deepEqual(
    (await client.json<{ queries: { query: string }[] }>("/v1/queries")).queries.map(({ query }) => query),
    ["machines_1m"],
  );
  await node.stop();
});

test("a node whose file is empty goes on with what was put", async (context) => {
  const node = new NodeProcess({ config: "" }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  const put = await client.request("PUT", "/v1/config", CONFIG.replace("checkpoint: { every: 30ms }", ""));
  assert.equal(put.status, 200, put.text);
  await client.send("machines", seconds(0, 30));
  await node.restart("SIGKILL");
  await client.watermark("machines", { end: true });
  assert.deepEqual(
    (await client.results("n")).map(({ values }) => values.n),
    [10, 10, 10],
  );
  await node.stop();
});
