import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { all, synced } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";

const configOf = (url: string, sync: string): string => `
node: { id: press-1 }
checkpoint: { every: 10s }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d } }
sync: { url: "${url}", ${sync}, batch: { events: 100, every: 200ms }, retry: { first: 50ms, longest: 30s }, breaker: { open: 60s }, probe: 60s }
`;

test("address, token, bandwidth and windows change while running, and no batch is lost", async (context) => {
  const clients = new Map<string, HttpClient>();
  const start = async (token: string): Promise<NodeProcess> => {
    const hub = new NodeProcess({ config: `tokens: { press-1: ${token} }\n`, command: "hub" }, context);
    await hub.start();
    const client = new HttpClient(() => hub.url);
    context.after(() => client.close());
    clients.set(token, client);
    return hub;
  };
  const [first, second] = [await start("token-one"), await start("token-two")];
  const edge = new NodeProcess(
    { config: configOf(first.url, "token: token-one, bandwidth: 64kbps") },
    context,
  );
  await edge.start();
  const client = new HttpClient(() => edge.url);
  context.after(() => client.close());
  let sent = 0;
  const send = async (count: number): Promise<void> => {
    const events = Array.from({ length: count }, () => ({
      ts: 1_767_225_600_000 + sent * 10,
      device: "m",
      n: sent++,
    }));
    await client.send("machines", events);
  };
  const reload = async (config: string): Promise<void> => {
    writeFileSync(edge.configFile, config);
    process.kill(edge.pid, "SIGHUP");
    const { url } = /url: "(?<url>[^"]+)"/.exec(config)?.groups ?? {};
    for (let tries = 0; tries < 2_400; tries++) {
      const now = await client.json<{ sync: { url: string; bandwidth?: string } }>("/v1/config");
      if (now.sync.url === url && config.includes(now.sync.bandwidth ?? "token")) return;
      await sleep(50);
    }
    assert.fail(`not reloaded:\n${edge.tail()}`);
  };
  for (let n = 0; n < 20; n++) await send(500);
  // In the middle of the first's batches.
  await reload(configOf(second.url, "token: token-two, bandwidth: 100Mbps"));
  for (let n = 0; n < 20; n++) await send(500);
  await synced(edge, client);
  const numbers = async (): Promise<number[]> => {
    const rows = await Promise.all(
      [...clients.values()].map((hub) => all(hub, "/v1/streams/machines/events")),
    );
    return rows.flat().map(({ n }) => Number(n));
  };
  assert.deepEqual(
    [...new Set(await numbers())].sort((a, b) => a - b),
    [...Array(sent).keys()],
  );
  assert.ok((await all(clients.get("token-two")!, "/v1/streams/machines/events")).length >= 10_000);

  // Away, with breakers and retries that wait for a minute: the other address is tried at once.
  await second.kill("SIGKILL");
  await send(500);
  for (
    let tries = 0;
    (await client.json<{ sync: { sinks: { breaker: string }[] } }>("/v1/status")).sync.sinks[0]?.breaker !==
    "open";
    tries++
  ) {
    assert.ok(tries < 2_400, "the breaker opens");
    await sleep(50);
  }
  await reload(configOf(first.url, 'token: token-one, bandwidth: 50Mbps, windows: ["00:00-24:00"]'));
  await synced(edge, client);
  const atFirst = (await all(clients.get("token-one")!, "/v1/streams/machines/events")).map(({ n }) =>
    Number(n),
  );
  assert.ok(Array.from({ length: 500 }, (_, n) => sent - 500 + n).every((n) => atFirst.includes(n)));

  // Not by a request.
  const put = await client.request("PUT", "/v1/config", configOf("http://127.0.0.1:1", "token: token-one"));
  assert.equal(put.status, 422);
});
