import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess, REPOSITORY_ROOT } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const config = (dir: string): string => `
streams:
  s:
    key: device
    time: { field: ts, unit: s }
    watermark: { bound: 1h, maxAhead: 36500d }
    lateness: 1h
tables:
  devices: { file: ${join(dir, "devices.csv")}, key: device }
checkpoint: { every: 20ms }
queries:
  q:
    from: s
    where: state != "off" and devices.site is not null
    derive: { site: upper(devices.site), over: temp - devices.limit }
    window: { tumbling: 10s }
    by: [site]
    select: { n: count(), worst: max(over) }
    having: n >= 2 and worst < 50
`;

interface Fixture {
  readonly node: NodeProcess;
  readonly client: HttpClient;
  readonly trapFile: string;
}

async function start(context: TestContext, trap: string): Promise<Fixture> {
  const dir = makeTempDir(context);
  writeFileSync(join(dir, "devices.csv"), "device,site,limit\na,ulm,80\nb,ulm,70\nc,bonn,60\n");
  const trapFile = join(dir, "armed");
  const environment = {
    NODE_OPTIONS: `--import ${join(REPOSITORY_ROOT, "test/support/trap.js")}`,
    MILLRACE_TRAP: trap,
    MILLRACE_TRAP_FILE: trapFile,
  };
  const node = new NodeProcess({ config: config(dir), environment }, context);
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  return { node, client, trapFile };
}

const event = (device: string, ts: number, temp: number, state = "on"): object => ({
  device,
  ts,
  temp,
  state,
});
const at = (second: number): string => new Date(second * 1_000).toISOString();

async function rows(client: HttpClient, revisions: "latest" | "all"): Promise<string[]> {
  const results = await client.results("q", { revisions });
  return results.map(
    ({ key, values, revision, retracted }) =>
      `${JSON.stringify(key)} ${JSON.stringify(values)} ${revision}${retracted ? " retracted" : ""}`,
  );
}

test("where, derive, tables and having are the same after kill -9, and a withdrawn result is gone from the latest", async (context) => {
  const { node, client } = await start(context, "");
  await client.send("s", [
    event("a", 1, 90),
    event("b", 2, 75),
    event("b", 3, 200, "off"),
    event("x", 4, 300),
  ]);
  await client.send("s", [event("c", 5, 61), event("c", 6, 62), event("a", 7, 79)]);
  await node.restart("SIGKILL");
  await client.watermark("s", { time: at(10) });
  const given = ['{"site":"BONN"} {"n":2,"worst":2} 0', '{"site":"ULM"} {"n":3,"worst":10} 0'];
  assert.deepEqual(await rows(client, "latest"), given);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await node.restart("SIGKILL");
  // Late, within lateness: no longer true.
  await client.send("s", [event("a", 8, 135)]);
  const withdrawn = [given[0], given[1], '{"site":"ULM"} {} 1 retracted'];
  assert.deepEqual(await rows(client, "all"), withdrawn);
  assert.deepEqual(await rows(client, "latest"), [given[0]]);
  await node.restart("SIGKILL");
  assert.deepEqual(await rows(client, "all"), withdrawn);
  await client.send("s", [event("c", 9, 109)]);
  assert.deepEqual(await rows(client, "latest"), ['{"site":"BONN"} {"n":3,"worst":49} 1']);
  await node.stop();
});

test("a lane whose core was replaced has its tables again", async (context) => {
  const { node, client, trapFile } = await start(context, "localAggregate");
  await client.send("s", [event("a", 1, 90)]);
  writeFileSync(trapFile, "");
  assert.equal((await client.post("s", [event("b", 2, 75)])).status, 503);
  assert.ok(!existsSync(trapFile));
  await client.send("s", [event("b", 2, 75)]);
  await client.watermark("s", { time: at(10) });
  assert.deepEqual(await rows(client, "all"), ['{"site":"ULM"} {"n":2,"worst":10} 0']);
  await node.stop();
});
