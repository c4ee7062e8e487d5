import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import Database from "better-sqlite3";
import { blockSeqs, flipBlockBit, inDatabase, overwritePage } from "../support/damage.ts";
import { HttpClient } from "../support/http-client.ts";
import { millrace } from "../support/millrace.ts";
import { NodeProcess } from "../support/node-process.ts";
import {
  findSecrets,
  putSecretDocument,
  SECRETS,
  secretConfig,
  sendSecrets,
  writeSecretTable,
} from "../support/secret-node.ts";

const KEY = "6b".repeat(32);
const ENCRYPTION = `encryption: { key: "${KEY}" }`;
const FIRST_SECOND = 1_750_000_000;

async function run(client: HttpClient, fromSecond: number): Promise<void> {
  await sendSecrets(client, fromSecond);
  await client.request("GET", "/v1/queries/hot/results");
  const { text } = await client.request("GET", "/v1/alerts");
  assert.match(text, /overheated/);
}

async function rows(client: HttpClient): Promise<Readonly<Record<string, string>>> {
  const all: Record<string, string> = {};
  for (const path of [
    "/v1/streams/plant/events",
    "/v1/streams/open/events",
    "/v1/streams/plant/late",
    "/v1/queries/hot/results?revisions=all",
    `/v1/queries/hot/results?key=${SECRETS.device}`,
    `/v1/queries/hot/results?key=${encodeURIComponent(JSON.stringify({ device: SECRETS.device }).replace(":", " : "))}`,
    "/v1/alerts?revisions=all",
    `/v1/alerts?key=${SECRETS.device}`,
    "/v1/dlq",
    "/v1/streams/open",
  ]) {
    const { status, text } = await client.request("GET", path);
    assert.equal(status, 200, text);
    assert.notEqual(text, "", path);
    all[path] =
      path.includes("?") || path.endsWith("events")
        ? text
        : text.replaceAll(/"(at|lagMs|rate)":("[^"]*"|[\d.]+)/g, "");
  }
  return all;
}

for (const [encryption, found] of [
  // The control: a look that finds nothing anywhere would show nothing.
  ["", Object.keys(SECRETS)],
  [ENCRYPTION, []],
] as const) {
  const name = encryption === "" ? "without a key" : "with a key";
  test(`${name}, ${found.length} kinds of secrets are in the plain in the data directory`, async (context) => {
    const node = new NodeProcess({ config: secretConfig(encryption) }, context);
    writeSecretTable(node.configFile);
    await node.start();
    // A connection of a life before would fail once.
    const newClient = (): HttpClient => {
      const client = new HttpClient(() => node.url);
      context.after(() => client.close());
      return client;
    };
    const client = newClient();
    await run(client, FIRST_SECOND);
    await putSecretDocument(client);
    const before = await rows(client);
    await node.kill("SIGKILL");
    assert.ok(readdirSync(node.dataDir).some((file) => file.endsWith("-wal")));
    const killed = findSecrets(node.dataDir);
    await node.start();
    assert.deepEqual(await rows(newClient()), before);
    await node.restart("SIGTERM");
    const last = newClient();
    assert.deepEqual(await rows(last), before);
    await run(last, FIRST_SECOND + 1_000);
    await node.stop();
    const stopped = findSecrets(node.dataDir);
    assert.deepEqual([...new Set([...killed, ...stopped])].sort(), [...found].sort());
  });
}

test("what is kept of damage tells nothing either: blocks set aside, and a database that was made anew", async (context) => {
  const node = new NodeProcess({ config: secretConfig(ENCRYPTION) }, context);
  writeSecretTable(node.configFile);
  await node.start();
  const client = (): HttpClient => {
    const made = new HttpClient(() => node.url);
    context.after(() => made.close());
    return made;
  };
  await run(client(), FIRST_SECOND);
  await putSecretDocument(client());
  await node.kill("SIGKILL");
  flipBlockBit(node.dataDir, blockSeqs(node.dataDir)[1]!);
  await node.start();
  const before = await client().events("plant");
  await node.stop();
  overwritePage(node.dataDir, 1);
  const doctor = async (...parameters: string[]): Promise<number> =>
    (await millrace("doctor", "--data", node.dataDir, ...parameters)).code;
  assert.equal(await doctor("-c", node.configFile), 1);
  await node.start();
  assert.ok(node.lines.some((line) => line.includes("the database was made anew")));
  assert.deepEqual(await client().events("plant"), before);
  await run(client(), FIRST_SECOND + 1_000);
  await node.stop();
  assert.equal(await doctor("-c", node.configFile), 0);
  assert.equal(await doctor(), 2, "it wants the key");
  assert.ok(readdirSync(node.dataDir).some((file) => file.includes(".damaged-")));
  assert.equal(
    inDatabase(node.dataDir, (db) => db.prepare("SELECT count(*) FROM corrupt_blocks").pluck().get()),
    1,
  );
  assert.deepEqual(findSecrets(node.dataDir), []);
});

test("a block that was tampered with is set aside with a word in the log, and the rest is served", async (context) => {
  const node = new NodeProcess({ config: secretConfig(ENCRYPTION) }, context);
  writeSecretTable(node.configFile);
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  for (let at = 0; at < 5; at++)
    await client.send("plant", [{ device: "d", ts: FIRST_SECOND + at, temp: at }]);
  const events = await client.events("plant");
  await node.stop();
  const db = new Database(join(node.dataDir, "millrace.db"));
  db.prepare("UPDATE blocks SET data = (SELECT data FROM blocks WHERE seq = 4) WHERE seq = 3").run();
  db.close();
  await node.start();
  const fresh = new HttpClient(() => node.url);
  context.after(() => fresh.close());
  const { seq } = await seqsOf(node.dataDir);
  assert.deepEqual(
    await fresh.events("plant"),
    events.filter((_event, at) => at !== seq.indexOf(3)),
  );
  assert.notEqual(node.lastEntry("blocks could not be read and were left out; the rest was served"), null);
  await node.stop();
});

async function seqsOf(dir: string): Promise<{ readonly seq: readonly number[] }> {
  const db = new Database(join(dir, "millrace.db"), { readonly: true });
  const rows = db.prepare("SELECT seq FROM blocks ORDER BY seq").all() as { seq: number }[];
  db.close();
  return { seq: rows.map(({ seq }) => seq) };
}
