import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import Database from "better-sqlite3";
import { parseHubConfig } from "../../host/hub/hub-config.ts";
import { SqliteHubStore } from "../../host/hub/sqlite-hub-store.ts";
import type { RetentionRules } from "../../workers/hub/retention.ts";
import { DEFAULT_BATCH_LIMITS } from "../../workers/sync/batch-format.ts";
import { doorEvents, machineEvents, type RecordedBatch, recordBatches } from "../support/recorded-batches.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const LIMITS = { limits: DEFAULT_BATCH_LIMITS, maxBlockBytes: 512 * 1024 * 1024 };
const FOR_EVER: RetentionRules = { retentionUs: null, capBytes: null, streams: {} };
const MACHINES = 1_200;
const HOUR_US = 3_600e6;

/** A hub's store with many small blocks of two streams, all of which came two hours ago. */
async function filled(context: TestContext) {
  const sent = [
    ...Array.from({ length: 40 }, (_, at) => ({
      stream: "machines" as const,
      events: machineEvents(at * 30, 30),
    })),
    { stream: "doors" as const, events: doorEvents(200) },
  ];
  const batches = await recordBatches("edge-a", sent, context, 60);
  const dir = makeTempDir(context);
  const store = await SqliteHubStore.open(dir, LIMITS);
  context.after(() => store.close());
  const receive = async (): Promise<number> => {
    let stored = 0;
    for (const { edge, key, body } of batches as readonly RecordedBatch[])
      stored += (await store.receive({ edge, key, body: new Uint8Array(body).buffer })).stored;
    return stored;
  };
  await receive();
  const db = new Database(join(dir, "hub.db"));
  context.after(() => db.close());
  /** As an edge that had no answer and put its blocks into other batches. */
  const receiveAgain = (): Promise<number> => {
    db.exec("DELETE FROM batches");
    return receive();
  };
  /** Results are written again, and counted, whatever became of blocks. */
  const rewritten = await receiveAgain();
  db.prepare("UPDATE blocks SET received_us = received_us - ?").run(2 * HOUR_US);
  const events = async (stream: string): Promise<string[]> => {
    const task = { stream, fromUs: null, toUs: null, key: null, edge: null, after: null, limit: 100_000 };
    const text = new TextDecoder().decode((await store.events(task)).ndjson);
    return text.split("\n").filter((line) => line !== "");
  };
  const audit = async () => {
    const { sums, unreadable } = await store.audit({ stream: null, fromUs: null, toUs: null, edge: null });
    assert.equal(unreadable, 0);
    return sums;
  };
  /** Does all there is to do. */
  const tend = async (rules: RetentionRules) => {
    const done = { merged: 0, blocks: 0, events: 0, bytes: 0 };
    for (;;) {
      const { expired, merged, isDone } = await store.tend(rules);
      done.merged += merged;
      done.blocks += expired?.blocks ?? 0;
      done.events += expired?.events ?? 0;
      done.bytes += expired?.bytes ?? 0;
      if (isDone) return done;
    }
  };
  const blocks = (): number => (db.prepare("SELECT count(*) AS n FROM blocks").get() as { n: number }).n;
  return { store, db, events, audit, tend, blocks, receiveAgain, rewritten };
}

const withoutExpired = <Sum extends object>(sums: readonly Sum[]): object[] =>
  sums.map((sum) => ({ ...sum, expired: undefined }));

test("small blocks are merged: the same events, the same audit, and what comes again is known", async (context) => {
  const { events, audit, tend, blocks, receiveAgain, rewritten, store } = await filled(context);
  const [machines, doors, sums, edges] = [
    await events("machines"),
    await events("doors"),
    await audit(),
    await store.edge("edge-a"),
  ];
  assert.equal(machines.length, MACHINES);
  const before = blocks();
  const { merged, events: gone } = await tend(FOR_EVER);
  assert.ok(merged >= 16 && blocks() < before - 14, `${merged} merged, ${before} to ${blocks()} blocks`);
  assert.equal(gone, 0);
  assert.deepEqual(await events("machines"), machines);
  assert.deepEqual(await events("doors"), doors);
  assert.deepEqual(await audit(), sums);
  assert.equal(await receiveAgain(), rewritten);
  assert.deepEqual(await events("machines"), machines);
  const { incarnations } = (await store.edge("edge-a")) ?? { incarnations: [] };
  assert.deepEqual(
    incarnations.map(({ conflicts, copies }) => [conflicts, copies]),
    edges?.incarnations.map(({ conflicts, copies }) => [conflicts, copies]),
  );
});

test("what is too old goes, stream by stream; an audit tells it from what is missing, and it does not come back", async (context) => {
  const { events, audit, tend, receiveAgain, rewritten, store, db } = await filled(context);
  const [machines, doors, sums] = [await events("machines"), await events("doors"), await audit()];
  const held = (await store.edges())[0]?.events;
  const rules = { ...FOR_EVER, streams: { doors: { retentionUs: HOUR_US, capBytes: null } } };
  const done = await tend(rules);
  assert.equal(done.events, doors.length);
  assert.deepEqual([await events("doors"), await events("machines")], [[], machines]);
  const after = await audit();
  assert.deepEqual(withoutExpired(after), withoutExpired(sums));
  assert.equal(
    after.reduce((sum, { expired = 0 }) => sum + expired, 0),
    doors.length,
  );
  assert.equal(await receiveAgain(), rewritten);
  assert.deepEqual(await events("doors"), []);
  assert.equal((await store.edges())[0]?.events, held);
  // Newest event time and arrival both count: what is of the future does not go for its arrival.
  db.prepare("UPDATE blocks SET max_us = ?").run((Date.now() + 86_400_000) * 1_000);
  assert.equal((await tend({ ...FOR_EVER, retentionUs: HOUR_US })).events, 0);
});

test("hours of which some went while hashes were of another version are counted, their hash is not known", async (context) => {
  const { audit, tend, db } = await filled(context);
  const sums = await audit();
  const { bytes } = db.prepare("SELECT sum(stored_bytes) AS bytes FROM blocks").get() as { bytes: number };
  const keep = { retentionUs: null, capBytes: Math.floor(bytes / 4) };
  await tend({ ...FOR_EVER, streams: { doors: keep, machines: keep } });
  const nameOf = ({ stream, resolutionUs, hourUs }: (typeof sums)[number]) =>
    `${stream} ${resolutionUs} ${hourUs}`;
  const went = new Set((await audit()).filter(({ expired = 0 }) => expired > 0).map(nameOf));
  assert.ok(went.size > 0);
  db.prepare("UPDATE expired_sums SET version = 1, hash = ?").run("f".repeat(32));
  const expected = withoutExpired(sums.map((sum) => (went.has(nameOf(sum)) ? { ...sum, hash: null } : sum)));
  assert.deepEqual(withoutExpired(await audit()), expected);
  // The others go too: what is new there is booked beside.
  await tend({ ...FOR_EVER, capBytes: 1 });
  assert.deepEqual(withoutExpired(await audit()), expected);
});

test("at a cap the oldest goes, of a stream and of the whole", async (context) => {
  const { events, audit, tend, db } = await filled(context);
  const [machines, sums] = [await events("machines"), await audit()];
  const { bytes } = db.prepare("SELECT sum(stored_bytes) AS bytes FROM blocks WHERE stream_id = 1").get() as {
    bytes: number;
  };
  const { name } = db.prepare("SELECT name FROM streams WHERE id = 1").get() as { name: string };
  const capBytes = Math.floor(bytes / 2);
  const done = await tend({ ...FOR_EVER, streams: { [name]: { retentionUs: null, capBytes } } });
  assert.ok(done.bytes >= bytes - capBytes && done.events > 0);
  const left = await events(name);
  assert.ok(left.length > 0);
  if (name === "machines") assert.ok(left.every((line) => machines.includes(line)));
  assert.deepEqual(withoutExpired(await audit()), withoutExpired(sums));
  // Less than what is no event takes: everything that may go goes, and then it ends.
  const all = await tend({ ...FOR_EVER, capBytes: 1 });
  assert.ok(all.blocks > 0);
  assert.deepEqual([await events("machines"), await events("doors")], [[], []]);
  assert.deepEqual(withoutExpired(await audit()), withoutExpired(sums));
});

test("what a hub's configuration says of keeping", () => {
  const storeOf = (text: string) => {
    const loaded = parseHubConfig(text, "hub.yaml");
    return loaded.ok
      ? loaded.config.store
      : loaded.problems.map(({ path, message }) => `${path}: ${message}`);
  };
  assert.deepEqual(storeOf(""), { kind: "sqlite", rules: FOR_EVER });
  assert.deepEqual(
    storeOf(
      "store: { retention: 400d, cap: 1GiB, streams: { chatter: { retention: 7d }, big: { cap: 64MiB } } }",
    ),
    {
      kind: "sqlite",
      rules: {
        retentionUs: 400 * 86_400e6,
        capBytes: 1024 ** 3,
        streams: {
          chatter: { retentionUs: 7 * 86_400e6, capBytes: null },
          big: { retentionUs: 400 * 86_400e6, capBytes: 64 * 1024 ** 2 },
        },
      },
    },
  );
  assert.deepEqual(storeOf('store: { postgres: "postgres://h/d", cap: 1GiB }'), [
    "store.cap: is for SQLite alone",
  ]);
});
