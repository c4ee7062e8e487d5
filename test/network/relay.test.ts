import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ChaosProxy, type Mishap } from "../support/chaos-proxy.ts";
import { all, assertSame, synced } from "../support/fleet.ts";
import { freePort } from "../support/free-port.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { Random } from "../support/random.ts";
import { configState, documentOf, queriesOf, stateOf } from "../support/remote-fleet.ts";

interface RelayAnswer {
  readonly lastError: string | null;
  readonly edges: readonly {
    readonly edge: string;
    readonly waiting: number;
    readonly received: number;
    readonly forwarded: number;
    readonly duplicates: number;
  }[];
}

const LISTS = { streams: ["machines"], queries: ["per_device"] };
const SYNC =
  "batch: { events: 300, every: 200ms }, retry: { first: 30ms, longest: 500ms }, probe: 100ms, breaker: { open: 500ms }";

const edgeConfig = (name: string, url: string, more = ""): string => `
node: { id: ${name} }
checkpoint: { every: 10s }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d }, lateness: 10s }
queries:
  per_device: { from: machines, window: { tumbling: 10s }, by: [device], select: { n: count(), mean: avg(temp) } }
alerts:
  hot: { from: per_device, when: mean > 60, severity: critical }
sync: { url: "${url}", ${SYNC}${more === "" ? "" : `, ${more}`} }
`;

function eventsOf(from: number, count: number): object[] {
  return Array.from({ length: count }, (_, index) => {
    const n = from + index;
    return { ts: 1_767_225_600_000 + n * 20, device: `m${n % 5}`, temp: 45 + ((n * 37) % 40), n };
  });
}

async function start(
  config: string | null,
  context: TestContext,
  command: "start" | "hub" = "start",
): Promise<{ readonly node: NodeProcess; readonly client: HttpClient; readonly url: string }> {
  const listen = `127.0.0.1:${await freePort()}`;
  const node = new NodeProcess({ config, command, listen }, context);
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  return { node, client, url: `http://${listen}` };
}

async function relayState(client: HttpClient): Promise<RelayAnswer> {
  return (await client.json<{ relay: RelayAnswer }>("/v1/status")).relay;
}

async function forwarded(client: HttpClient): Promise<RelayAnswer> {
  for (let tries = 0; tries < 6_000; tries++) {
    const state = await relayState(client);
    if (state.edges.every(({ waiting }) => waiting === 0)) return state;
    await sleep(50);
  }
  return assert.fail(`not sent on: ${JSON.stringify(await relayState(client), null, 1)}`);
}

test("edges behind a relay: killed and cut as it comes, the hub has what they have, once", async (context) => {
  const random = Random.fromEnvironment();
  const hub = await start(null, context, "hub");
  // Now and then a connection ends in the middle, or a request goes through twice.
  const choose = (): Mishap =>
    random.chance(0.75) ? "pass" : random.pick(["cut-answer", "duplicate", "cut-request"] as const);
  const toHub = await ChaosProxy.start(() => hub.url, random, context, choose);
  const relay = await start(`${edgeConfig("site", toHub.url)}relay: { maxHops: 2 }\n`, context);
  const toRelay = await ChaosProxy.start(() => relay.url, random, context, choose);
  const cut = (proxy: ChaosProxy): void => {
    proxy.isDown = true;
    proxy.cut();
  };
  const edges = await Promise.all(
    ["press-1", "press-2"].map(async (name) => ({
      name,
      ...(await start(edgeConfig(name, toRelay.url), context)),
    })),
  );
  const senders = [...edges, { name: "site", ...relay }];
  for (let batch = 0; batch < 12; batch++) {
    for (const { client } of senders) await client.send("machines", eventsOf(batch * 250, 250));
    if (batch === 2) cut(toHub);
    if (batch === 3) await relay.node.restart("SIGKILL");
    if (batch === 5) cut(toRelay);
    if (batch === 6) await edges[0]!.node.restart("SIGKILL");
    if (batch === 7) await hub.node.restart("SIGKILL");
    if (batch === 8) toHub.isDown = false;
    if (batch === 9) toRelay.isDown = false;
    if (batch === 10) await relay.node.restart("SIGKILL");
  }
  for (const { client } of senders) await client.watermark("machines", { end: true });
  for (const { node, client } of senders) await synced(node, client);
  const state = await forwarded(relay.client);
  assert.deepEqual(
    state.edges.map(({ edge }) => edge),
    ["press-1", "press-2"],
  );
  for (const { received, forwarded: sent } of state.edges) assert.equal(received, sent);
  for (const { name, client } of senders) {
    const rows = await assertSame(client, hub.client, name, LISTS);
    assert.ok(rows > 3_000, `${rows} rows of ${name} were compared`);
  }
  const fleet = await hub.client.json<{ edges: { edge: string; conflicts: number; copies: number }[] }>(
    "/v1/edges",
  );
  assert.deepEqual(
    fleet.edges.map(({ edge, conflicts, copies }) => [edge, conflicts, copies]),
    [
      ["press-1", 0, 0],
      ["press-2", 0, 0],
      ["site", 0, 0],
    ],
  );
});

test("relays one behind the other, each with tokens; configurations come through them", async (context) => {
  const hub = await start(
    "tokens: { floor: floor-token, plant: plant-token }\nrelays: { plant: any }\nhttp: { admin: { token: admin-token } }\n",
    context,
    "hub",
  );
  const plant = await start(
    `${edgeConfig("plant", hub.url, "token: plant-token")}relay: { tokens: { floor: floor-token }, relays: { floor: [press-1] } }\n`,
    context,
  );
  const floor = await start(
    `${edgeConfig("floor", plant.url, "token: floor-token")}relay: { tokens: { press-1: press-token, press-2: other-token } }\n`,
    context,
  );
  const press = await start(
    edgeConfig("press-1", floor.url, "token: press-token, config: { every: 200ms, watch: 1s }"),
    context,
  );
  const headers = { authorization: "Bearer admin-token" };
  const put = await hub.client.request("PUT", "/v1/config/press-1", documentOf("of_hub"), headers);
  assert.equal(put.status, 200, put.text);
  await press.client.send("machines", eventsOf(0, 1_000));
  await press.client.watermark("machines", { end: true });
  await synced(press.node, press.client);
  await forwarded(floor.client);
  await forwarded(plant.client);
  assert.equal((await all(hub.client, "/v1/streams/machines/events?edge=press-1")).length, 1_000);
  await configState(hub.client, "press-1", stateOf(1, "applied"));
  assert.deepEqual(await queriesOf(press.client), ["of_hub"]);
  // With the hub away the relay has it still.
  await hub.node.kill("SIGKILL");
  const own = { authorization: "Bearer press-token" };
  const held = await floor.client.request("GET", "/v1/config/press-1", undefined, own);
  assert.deepEqual([held.status, held.text], [200, documentOf("of_hub")]);
  // Not for whom the plant has not named.
  await hub.node.start();
  const other = await start(edgeConfig("press-2", floor.url, "token: other-token"), context);
  await other.client.send("machines", eventsOf(0, 10));
  await other.client.watermark("machines", { end: true });
  await synced(other.node, other.client);
  for (
    let tries = 0;
    !/E_RELAY|may not send for edge press-2/.test((await relayState(floor.client)).lastError ?? "");
    tries++
  ) {
    assert.ok(tries < 2_400, (await relayState(floor.client)).lastError ?? "no error");
    await sleep(50);
  }
  const wrong = await floor.client.request("GET", "/v1/config/press-1", undefined, {
    authorization: "Bearer wrong",
  });
  assert.equal(wrong.status, 401);
});

test("a loop of relays, and a way that is too long, are refused and say so", async (context) => {
  const ports = [await freePort(), await freePort()];
  const nodes = ["left", "right"].map((name, index) => {
    const config = `${edgeConfig(name, `http://127.0.0.1:${ports[1 - index]}`)}relay: { maxHops: 3 }\n`;
    return new NodeProcess({ config, listen: `127.0.0.1:${ports[index]}` }, context);
  });
  await Promise.all(nodes.map((node) => node.start()));
  const [left, right] = nodes.map((node) => new HttpClient(() => node.url));
  for (const client of [left!, right!]) context.after(() => client.close());
  await left!.send("machines", eventsOf(0, 400));
  for (let tries = 0; !/goes round in a circle/.test((await relayState(right!)).lastError ?? ""); tries++) {
    assert.ok(tries < 2_400, (await relayState(right!)).lastError ?? "no error");
    await sleep(50);
  }
  const { edges } = await relayState(right!);
  assert.ok(
    edges.some(({ edge, waiting }) => edge === "left" && waiting > 0),
    "nothing is dropped for that",
  );
  const way = {
    "millrace-edge": "press-1",
    "millrace-via": "a, b, c",
    "idempotency-key": "00000000000000aa",
  };
  const long = await left!.request("POST", "/v1/sync", "x", way);
  assert.deepEqual([long.status, /maxHops \(3\)/.test(long.text)], [508, true], long.text);
  const circle = await left!.request("POST", "/v1/sync", "x", { ...way, "millrace-via": "left" });
  assert.deepEqual([circle.status, /press-1 → left → left/.test(circle.text)], [508, true], circle.text);
  const damaged = await left!.request("POST", "/v1/sync", "x", { ...way, "millrace-via": "a" });
  assert.equal(damaged.status, 400, damaged.text);
});
