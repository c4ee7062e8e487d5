import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import Database from "better-sqlite3";
import { StorageClient } from "../../host/store/storage-client.ts";
import { MillraceError } from "../../workers/errors.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { openForReading, openForWriting } from "../../workers/store/database.ts";
import { MIGRATIONS } from "../../workers/store/migrations.ts";
import { Reader } from "../../workers/store/reader.ts";
import { Store } from "../../workers/store/store.ts";
import { makeBlock, makeBlockOperation, NOW_US, StoreFixture } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const HOLDER = `
  const { Store } = await import(${JSON.stringify(new URL("../../workers/store/store.ts", import.meta.url).href)});
  globalThis.store = Store.open(process.argv[1]);
  process.stdout.write("open\\n");
  setInterval(() => {}, 1000);
`;

function hasCode(code: string, pattern: RegExp): (cause: unknown) => boolean {
  return (cause) => cause instanceof MillraceError && cause.code === code && pattern.test(cause.message);
}

test("a second process is refused, and let in as soon as the first was killed", async (context) => {
  const dir = makeTempDir(context);
  const child = spawn(process.execPath, ["--input-type=module", "-e", HOLDER, dir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  context.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  assert.throws(() => Store.open(dir), hasCode("E_DATA_DIR_LOCKED", /another process uses/));
  await assert.rejects(StorageClient.open(dir), hasCode("E_DATA_DIR_LOCKED", /--data/));
  const reader = new Reader(dir);
  assert.deepEqual(reader.blocksOverlapping("machines", null, null), []);
  reader.close();
  child.kill("SIGKILL");
  await once(child, "exit");
  Store.open(dir).close();
});

test("a second opening in the same process is refused too, and a refusal leaves the lock with its holder", (context) => {
  const { dir, store } = new StoreFixture(context);
  for (let attempt = 0; attempt < 2; attempt++) {
    assert.throws(() => Store.open(dir), hasCode("E_DATA_DIR_LOCKED", /another process/));
  }
  assert.equal(store.writer.commit([makeBlockOperation()], NOW_US)[0]!.kind, "committed");
});

test("a database of a later release is refused, and left alone", (context) => {
  const dir = makeTempDir(context);
  Store.open(dir).close();
  const db = new Database(databaseFile(dir));
  db.pragma(`user_version = ${MIGRATIONS.length + 1}`);
  db.close();
  assert.throws(() => Store.open(dir), hasCode("E_STORE_NEWER", /later release/));
  assert.throws(() => Store.open(dir), hasCode("E_STORE_NEWER", /later release/));
});

test("a database of the first release keeps its late events in the order they were set aside", (context) => {
  const dir = makeTempDir(context);
  const db = new Database(databaseFile(dir));
  db.exec(MIGRATIONS[0]!);
  db.exec("INSERT INTO streams (id, name) VALUES (1, 'machines')");
  const insert = db.prepare("INSERT INTO late VALUES (?, ?, 1, ?, 2, 'none', 3, ?)");
  for (const [seq, reason] of [
    [7, "late"],
    [3, "clock-skew"],
    [3, "late"],
  ])
    insert.run(seq, reason, NOW_US, Buffer.from("abc"));
  db.pragma("user_version = 1");
  db.close();
  const store = Store.open(dir);
  context.after(() => store.close());
  assert.deepEqual(store.recovered.streams[0]?.timeSources, []);
  const reader = new Reader(dir);
  const rows = reader.late("machines", 0, 10);
  const unapplied = reader.lateToApply("machines", 1, true, 10);
  reader.close();
  assert.deepEqual(
    rows.map(({ id, sourceSeq, reason, appliedUs, block }) => [
      id,
      sourceSeq,
      reason,
      appliedUs,
      block.count,
    ]),
    [
      [1, 7, "late", null, 2],
      [2, 3, "clock-skew", null, 2],
      [3, 3, "late", null, 2],
    ],
  );
  assert.deepEqual(
    unapplied.map(({ id }) => id),
    [2, 3],
  );
});

test("what is no database is refused with what to do, and left alone", (context) => {
  const dir = makeTempDir(context);
  const text = "this is a text file, not a database\n".repeat(1_000);
  writeFileSync(databaseFile(dir), text);
  assert.throws(() => Store.open(dir), hasCode("E_STORE_UNREADABLE", /millrace start/));
  assert.equal(readFileSync(databaseFile(dir), "utf8"), text);
});

test("damage in the pages that a start reads is a typed error, wherever it is", async (context) => {
  const whole = new StoreFixture(context);
  for (let n = 0; n < 50; n++) whole.commit(makeBlockOperation({ stream: `s${n}`, idempotencyKey: `k${n}` }));
  whole.store.close();
  const bytes = readFileSync(databaseFile(whole.dir));
  whole.store = Store.open(whole.dir);
  const refused: string[] = [];
  for (let page = 0; page < bytes.length / 4096; page++) {
    const dir = makeTempDir(context);
    const damaged = Buffer.from(bytes);
    damaged.fill(0xff, page * 4096, page * 4096 + 4096);
    writeFileSync(databaseFile(dir), damaged);
    try {
      Store.open(dir).close();
    } catch (cause) {
      assert.ok(cause instanceof MillraceError, String(cause));
      refused.push(cause.code);
    }
  }
  assert.ok(refused.length >= 3, "the header, the schema and the streams were among them");
  assert.deepEqual(new Set(refused), new Set(["E_STORE_UNREADABLE"]));
  const dir = makeTempDir(context);
  writeFileSync(databaseFile(dir), bytes.subarray(0, 4096 * 3));
  await assert.rejects(StorageClient.open(dir), hasCode("E_STORE_UNREADABLE", /millrace start/));
});

test("a data directory that can not be is told apart from one in use", (context) => {
  const dir = makeTempDir(context);
  const file = join(dir, "file");
  writeFileSync(file, "");
  assert.throws(() => Store.open(file), hasCode("E_DATA_DIR_ACCESS", /writable/));
  assert.throws(() => Store.open(join(file, "below")), hasCode("E_DATA_DIR_ACCESS", /writable/));
  // A folder that is there and in which none can be made.
  if (process.platform === "linux")
    assert.throws(() => Store.open("/proc/self/a/b"), hasCode("E_DATA_DIR_ACCESS", /writable/));
  writeFileSync(join(dir, "millrace.lock"), "rubbish".repeat(2_000));
  Store.open(dir).close();
  assert.throws(() => openForReading(makeTempDir(context)), hasCode("E_DATA_DIR_ACCESS", /millrace\.db/));
});

test("a directory that may not be written is said to be so", {
  skip: process.getuid?.() === 0,
}, (context) => {
  const dir = join(makeTempDir(context), "sealed");
  mkdirSync(dir);
  chmodSync(dir, 0o500);
  assert.throws(() => Store.open(dir), hasCode("E_DATA_DIR_ACCESS", /writable/));
});

test("directories are made as needed; every commit is fsynced, in a log that stays small", (context) => {
  const dir = join(makeTempDir(context), "a", "b");
  Store.open(dir).close();
  const db = openForWriting(dir);
  context.after(() => db.close());
  const pragma = (name: string) => db.pragma(name, { simple: true });
  assert.equal(pragma("journal_mode"), "wal");
  assert.equal(pragma("synchronous"), 2, "FULL");
  assert.equal(pragma("foreign_keys"), 1);
  assert.equal(pragma("page_size"), 4096);
  assert.equal(pragma("auto_vacuum"), 2, "incremental");
  assert.equal(pragma("user_version"), MIGRATIONS.length);
});

test("a reader sees each commit at once, and does not keep the log from being emptied", (context) => {
  const { dir, store } = new StoreFixture(context);
  const reader = new Reader(dir);
  context.after(() => reader.close());
  const block = makeBlock({ data: new Uint8Array(64 * 1024) });
  for (let n = 1; n <= 600; n++) {
    store.writer.commit([makeBlockOperation({ block })], NOW_US);
    if (n % 50 === 0) assert.equal(reader.blocksOverlapping("machines", null, null).length, n);
  }
  const walBytes = readFileSync(`${databaseFile(dir)}-wal`).length;
  assert.ok(walBytes <= 20 * 2 ** 20, `${walBytes} bytes of log after 37.5 MiB of blocks`);
});

test("closing empties the log and lets the directory go", (context) => {
  const { dir, store } = new StoreFixture(context);
  store.writer.commit([makeBlockOperation()], NOW_US);
  store.close();
  assert.equal(existsSync(`${databaseFile(dir)}-wal`), false);
  Store.open(dir).close();
});
