import assert from "node:assert/strict";
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openForReading } from "../../workers/store/database.ts";
import { HttpClient } from "../support/http-client.ts";
import { spawnNode } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";
import { millrace } from "../unit/cli-stand-in.ts";

const CONFIG = `
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d }, lateness: 0s }
queries:
  temp: { from: machines, window: { tumbling: 10s }, select: { n: count(), mean: avg(temp) } }
checkpoint: { every: 500ms }
`;
const START_MS = Date.UTC(2026, 0, 1);
const EVENTS_PER_BODY = 200;

/** Bodies are told apart by their number, and in the order of time. */
function bodyOf(number: number): object[] {
  return Array.from({ length: EVENTS_PER_BODY }, (_, at) => ({
    device: `d${at % 7}`,
    ts: START_MS + number * 100 + (at % 100),
    temp: number + at / 100,
    body: number,
  }));
}

test("a backup of a node that takes events has all that was acknowledged before it, opens, and goes on", async (context) => {
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  let acknowledged = 0;
  const send = async (to: HttpClient, number: number): Promise<void> => {
    const answer = await to.send("machines", bodyOf(number), { idempotencyKey: `body-${number}` });
    assert.equal(answer.accepted, EVENTS_PER_BODY);
  };
  for (; acknowledged < 100; acknowledged++) await send(client, acknowledged);
  let isRunning = true;
  const ingest = (async () => {
    while (isRunning) await send(client, acknowledged++);
  })();
  const target = join(makeTempDir(context), "copy");
  const before = acknowledged;
  const run = await millrace(["backup", target, "--data", node.dataDir, "--json"]);
  isRunning = false;
  await ingest;
  assert.equal(run.code, 0, run.stderr);
  const said = JSON.parse(run.stdout) as { events: number; blocks: number; verified: boolean };
  assert.equal(said.verified, true);
  assert.ok(said.events >= before * EVENTS_PER_BODY, `${said.events} of ${before * EVENTS_PER_BODY}`);
  assert.ok(acknowledged > before, "events came while the copy was made");
  assert.deepEqual(readdirSync(target), ["millrace.db"]);

  // Restored: copied into an empty data directory.
  const dataDir = join(makeTempDir(context), "data");
  cpSync(target, dataDir, { recursive: true });
  const restored = await spawnNode({ config: CONFIG, dataDir }, context);
  const other = new HttpClient(() => restored.url);
  context.after(() => other.close());
  const held = await other.events("machines");
  assert.equal(held.length, said.events);
  const bodies = new Set(held.map(({ body }) => body));
  for (let number = 0; number < before; number++) assert.ok(bodies.has(number), `body ${number}`);
  // What the copy has not is sent again; what it has does not count twice.
  for (let number = 0; number < acknowledged; number++) await send(other, number);
  for (const each of [client, other]) await each.watermark("machines", { end: true });
  assert.deepEqual(await other.results("temp"), await client.results("temp"));
  const byText = (rows: readonly object[]): string[] => rows.map((row) => JSON.stringify(row)).sort();
  assert.deepEqual(byText(await other.events("machines")), byText(await client.events("machines")));
});

test("a backup goes nowhere but to a new directory, and leaves nothing behind when it fails", async (context) => {
  const dir = makeTempDir(context);
  const node = await spawnNode({ config: null }, context);
  const full = join(dir, "full");
  mkdirSync(full);
  writeFileSync(join(full, "file"), "");
  for (const [target, data, message] of [
    [full, node.dataDir, /not empty.*E_BACKUP_TARGET/],
    [join(full, "file"), node.dataDir, /no directory.*E_BACKUP_TARGET/],
    [node.dataDir, node.dataDir, /data directory itself/],
    [join(dir, "new"), join(dir, "nothing"), /is no data directory/],
  ] as const) {
    const run = await millrace(["backup", target, "--data", data]);
    assert.equal(run.code, 1);
    assert.match(run.stderr, message);
  }
  assert.deepEqual(readdirSync(dir), ["full"]);
  assert.ok(existsSync(node.dataDir));
});

test("a damaged data directory gives no backup", async (context) => {
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  for (let number = 0; number < 50; number++) await client.send("machines", bodyOf(number));
  client.close();
  await node.stop();
  const dir = makeTempDir(context);
  cpSync(node.dataDir, join(dir, "data"), { recursive: true });
  const db = openForReading(join(dir, "data"));
  const page = db
    .prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'blocks_by_time'")
    .pluck()
    .get() as number;
  db.close();
  const file = openSync(join(dir, "data/millrace.db"), "r+");
  writeSync(file, Buffer.alloc(512, 0x5a), 0, 512, page * 4096 - 512);
  closeSync(file);
  const run = await millrace(["backup", join(dir, "copy"), "--data", join(dir, "data")]);
  assert.equal(run.code, 1, run.stdout);
  assert.match(run.stderr, /E_(BACKUP_DAMAGED|STORE_UNREADABLE)/);
  assert.deepEqual(readdirSync(dir), ["data"]);
});
