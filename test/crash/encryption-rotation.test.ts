import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { masterKey } from "../../workers/seal/master-key.ts";
import { HttpClient, type Result } from "../support/http-client.ts";
import { EventClock, LoadClient } from "../support/load.ts";
import { NodeProcess } from "../support/node-process.ts";
import { computeWindows, windowId } from "../support/oracle.ts";
import { Random } from "../support/random.ts";
import { findTexts, snapshotOf } from "../support/secret-node.ts";

const ROUNDS = Number(process.env.MILLRACE_KILLS ?? 8);
const CLIENTS = 3;
const WINDOW_US = 10_000_000;

const keyOf = (number: number): Uint8Array => new Uint8Array(32).fill(number + 1);
const hex = (number: number): string => Buffer.from(keyOf(number)).toString("hex");
const idOf = (number: number): string => masterKey(keyOf(number)).id;

function configWith(encryption: string): string {
  return `
checkpoint: { every: 10s }
${encryption}
streams:
  load:
    key: client
    time: { field: ts, unit: ms }
    watermark: { bound: 1m, maxAhead: 36500d }
    lateness: 0s
queries:
  q: { from: load, window: { tumbling: 10s }, by: [client], select: { n: count(), total: sum(v) } }
`;
}

/** The key of a round, and the one before it. */
function keysOf(round: number): string {
  const previous = round === 0 ? "" : `, previous: [ { key: "${hex(round - 1)}" } ]`;
  return `encryption: { key: "${hex(round)}"${previous} }`;
}

interface Status {
  readonly encryption: {
    readonly keyId: string;
    readonly plainRows: number;
    readonly isComplete: boolean;
  } | null;
}

test(`${ROUNDS} new keys by SIGHUP while events flow and the node is killed: no event is lost or counts twice`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const node = new NodeProcess({ config: configWith(keysOf(0)) }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const clock = new EventClock(Date.UTC(2026, 0, 1), 5);
  const clients = Array.from(
    { length: CLIENTS },
    (_, index) =>
      new LoadClient({
        client,
        stream: "load",
        name: `client-${index}`,
        clock,
        random: new Random(random.integer(0, 2 ** 31)),
        eventsPerBatch: 40,
      }),
  );
  await node.start();
  let failure: unknown = null;
  const load = Promise.all(clients.map((each) => each.run())).catch((cause: unknown) => {
    failure = cause;
    for (const each of clients) each.stop();
  });
  let changes = 0;
  for (let round = 1; round <= ROUNDS && failure === null; round++) {
    await sleep(random.integer(50, 300));
    writeFileSync(node.configFile, configWith(keysOf(round)));
    process.kill(node.pid, "SIGHUP");
    if (round % 2 === 0) {
      // Before, within or after the change: whichever it was, the next start goes on with the new key.
      await sleep(random.integer(0, 60));
      await node.restart("SIGKILL");
    } else {
      await waitFor(() => node.lastEntry("the encryption key was changed")?.to === idOf(round));
      const before = clients.reduce((sum, each) => sum + each.acknowledgedBatches, 0);
      // It takes events and reads both what is under the old key and what is under the new one.
      await waitFor(() => clients.reduce((sum, each) => sum + each.acknowledgedBatches, 0) > before + 10);
      const events = await client.events("load");
      assert.ok(events.length > 0);
      changes++;
    }
  }
  for (const each of clients) each.stop();
  await load;
  if (failure !== null) throw failure;
  assert.ok(changes >= Math.floor(ROUNDS / 2));
  await client.watermark("load", { end: true });
  await node.restart("SIGKILL");
  // The key before the last is of no use any more.
  writeFileSync(node.configFile, configWith(`encryption: { key: "${hex(ROUNDS)}" }`));
  await node.restart("SIGTERM");
  const sent = clients.flatMap((each) => each.events);
  context.diagnostic(`${sent.length} events`);
  const expected = computeWindows(
    sent.map(({ client: key, ts, v }) => ({ key, timeUs: ts * 1_000, value: v })),
    WINDOW_US,
  ).map(({ key, startUs, events, sum }) => [windowId(key, startUs), { n: events, total: sum }] as const);
  const fresh = new HttpClient(() => node.url);
  context.after(() => fresh.close());
  assert.deepEqual(valuesById(await fresh.results("q")), Object.fromEntries(expected));
  assert.equal((await fresh.events("load")).length, sent.length);
  const { encryption } = await fresh.json<Status>("/v1/status");
  assert.deepEqual(encryption, { keyId: idOf(ROUNDS), plainRows: 0, isComplete: true });
  await node.stop();
  // A key is in no file of the data directory, and the wrong one leaves each as it was.
  const before = snapshotOf(node.dataDir);
  for (let round = 0; round <= ROUNDS; round++)
    assert.deepEqual(findTexts(node.dataDir, [hex(round), Buffer.from(keyOf(round)).toString("latin1")]), []);
  writeFileSync(node.configFile, configWith(`encryption: { key: "${hex(0)}" }`));
  node.launch();
  assert.equal(await node.exited(), 1);
  assert.match(
    node.tail(),
    new RegExp(`wants key ${idOf(ROUNDS)}, but the configuration gives ${idOf(0)}.*E_KEY_WRONG`),
  );
  assert.deepEqual(snapshotOf(node.dataDir), before);
});

test("a reload whose key cannot be had changes nothing, and says so; the node goes on", async (context) => {
  const node = new NodeProcess({ config: configWith(keysOf(0)) }, context);
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await client.send("load", [{ client: "a", ts: 1, v: 1 }]);
  for (const [encryption, message] of [
    ['encryption: { keyFile: "/nowhere/key" }', /nowhere.key/],
    ['encryption: { keyCommand: ["false"] }', /keyCommand false ended with 1/],
    ['encryption: { key: "short" }', /32 bytes/],
  ] as const) {
    writeFileSync(node.configFile, configWith(encryption));
    const seen = node.lines.length;
    process.kill(node.pid, "SIGHUP");
    await waitFor(() => node.lines.slice(seen).some((line) => message.test(line)));
  }
  const put = await client.request("PUT", "/v1/config", configWith(keysOf(1)));
  assert.equal(put.status, 422);
  assert.match(put.text, /in the node's file alone/);
  assert.equal((await client.request("PUT", "/v1/config", configWith(""))).status, 200);
  assert.equal((await client.json<Status>("/v1/status")).encryption?.keyId, idOf(0));
  assert.doesNotMatch((await client.request("GET", "/v1/config")).text, /encryption|0101/);
  assert.equal((await client.events("load")).length, 1);
  writeFileSync(node.configFile, configWith(keysOf(0)));
  await node.restart("SIGTERM");
  await node.stop();
  assert.ok(
    node.lines.every((line) => !line.includes(hex(0))),
    "no key is in the log",
  );
});

test("a node with data in the plain encrypts it beside its work and says how much is left; its key is then wanted", async (context) => {
  const node = new NodeProcess({ config: configWith("") }, context);
  await node.start();
  const first = new HttpClient(() => node.url);
  context.after(() => first.close());
  for (let at = 0; at < 200; at++)
    await first.send("load", [{ client: "zq-plain-client", ts: 1_000 * at, v: at }]);
  await first.watermark("load", { time: new Date(100_000).toISOString() });
  assert.equal((await first.json<Status>("/v1/status")).encryption, null);
  const results = await first.results("q");
  await node.stop();
  assert.deepEqual(findTexts(node.dataDir, ["zq-plain-client"]), ["zq-plain-client"]);
  writeFileSync(node.configFile, configWith(keysOf(0)));
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  // Killed on its way, it goes on where it was.
  await node.restart("SIGKILL");
  const last = new HttpClient(() => node.url);
  context.after(() => last.close());
  assert.deepEqual(await last.results("q"), results);
  for (let look = 0; ; look++) {
    assert.ok(look < 6_000, "it is not encrypted in time");
    const { encryption } = await last.json<Status>("/v1/status");
    if (encryption?.isComplete) break;
    await last.send("load", [{ client: "zq-plain-client", ts: 199_000, v: 1 }]);
    await sleep(20);
  }
  assert.deepEqual(await last.results("q"), results);
  assert.ok((await last.events("load")).length >= 200);
  await node.stop();
  assert.deepEqual(findTexts(node.dataDir, ["zq-plain-client"]), []);
  writeFileSync(node.configFile, configWith(""));
  node.launch();
  assert.equal(await node.exited(), 1);
  assert.match(node.tail(), /is encrypted and wants key [0-9a-f]{16}.*E_KEY_MISSING/);
});

async function waitFor(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 240_000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, "not within four minutes");
    await sleep(5);
  }
}

function valuesById(rows: readonly Result[]): Record<string, unknown> {
  return Object.fromEntries(
    rows.map(({ key, window, values }) => [
      windowId(String(key.client), Date.parse(window.start) * 1_000),
      values,
    ]),
  );
}
