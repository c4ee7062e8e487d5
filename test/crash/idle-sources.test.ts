import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

const PATIENCE_MS = 120_000;
const CONFIG = (idle: string): string => `
streams:
  machines:
    key: device
    time: { field: ts, unit: s }
    watermark: { bound: 0s, per: source, idle: ${idle} }
    lateness: 0s
queries:
  per_device:
    from: machines
    window: { tumbling: 10s }
    select: { n: count(), last: last(v) }
`;

async function startNode(context: TestContext, idle: string): Promise<[NodeProcess, HttpClient]> {
  const node = new NodeProcess({ config: CONFIG(idle) }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  return [node, client];
}

interface Stream {
  readonly watermark: string | null;
  readonly watermarkPer: string;
  readonly sources: { readonly known: number; readonly active: number; readonly untracked: number };
}
const seconds = (stream: Stream): number | null =>
  stream.watermark === null ? null : Date.parse(stream.watermark) / 1_000;
const ask = (client: HttpClient): Promise<Stream> => client.json<Stream>("/v1/streams/machines");

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error("it never came to be");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const event = (device: string, ts: number, v = 1) => ({ device, ts, v });

test("a source that falls silent is waited for until it is idle; a replay repeats that to the row", async (context) => {
  const [node, client] = await startNode(context, "400ms");
  await client.send("machines", [event("a", 1), event("b", 5), event("a", 25)]);
  await until(async () => (await ask(client)).sources.active === 0);
  // Nobody is left to wait for: the watermark is that of the greatest time.
  assert.deepEqual(seconds(await ask(client)), 25);
  assert.deepEqual(
    (await client.results("per_device")).map(({ key, window }) => [key.device, window.start]),
    [
      ["a", "1970-01-01T00:00:00.000Z"],
      ["b", "1970-01-01T00:00:00.000Z"],
    ],
  );
  // It returns: its old events are late, and it is waited for again.
  await client.send("machines", [event("b", 8), event("b", 26)]);
  await client.send("machines", [event("a", 60)]);
  await until(async () => seconds(await ask(client)) === 60);
  const before = {
    rows: await client.results("per_device", { revisions: "all" }),
    late: await client.late("machines"),
  };
  assert.deepEqual(
    before.late.map(({ event: { device, ts }, reason }) => [device, ts, reason]),
    [["b", "1970-01-01T00:00:08.000Z", "late"]],
  );
  await node.restart("SIGKILL");
  assert.deepEqual(await client.results("per_device", { revisions: "all" }), before.rows);
  assert.deepEqual(await client.late("machines"), before.late);
  assert.equal(seconds(await ask(client)), 60);
  assert.equal(before.rows.length, 4);
  await node.restart("SIGTERM");
  assert.equal(seconds(await ask(client)), 60);
  await client.watermark("machines", { end: true });
  assert.equal((await client.results("per_device")).length, 5);
});

test("what was active when the node went away is waited for again when it is back", async (context) => {
  const [node, client] = await startNode(context, "1h");
  await client.send("machines", [event("a", 30), event("b", 5)]);
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    await node.restart(signal);
    const stream = await ask(client);
    assert.deepEqual([seconds(stream), stream.watermarkPer], [5, "source"]);
    assert.deepEqual(stream.sources, { known: 2, active: 2, untracked: 0 });
  }
  const clocks = await client.json<{ heldBackBy: { device: string } | null; devices: { device: string }[] }>(
    "/v1/streams/machines/clocks",
  );
  assert.deepEqual(clocks.heldBackBy, { device: "b" });
  assert.deepEqual(
    clocks.devices.map(({ device }) => device),
    ["a", "b"],
  );
});

test("devices beyond maxSources hold no watermark back, and are counted", async (context) => {
  const node = new NodeProcess({ config: `${CONFIG("1h")}limits: { maxSources: 2 }\n` }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  await client.send("machines", [event("a", 30), event("b", 20), event("c", 1), event("c", 2)]);
  for (const signal of [null, "SIGKILL"] as const) {
    if (signal !== null) await node.restart(signal);
    const stream = await ask(client);
    assert.equal(seconds(stream), 20);
    assert.deepEqual(stream.sources, { known: 2, active: 2, untracked: 2 });
  }
});
