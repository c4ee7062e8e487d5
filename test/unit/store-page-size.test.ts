import assert from "node:assert/strict";
import { copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import Database from "better-sqlite3";
import type { BufferSettings } from "../../workers/store/buffer-operations.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { openForWriting } from "../../workers/store/database.ts";
import { mendLog } from "../../workers/store/repair/mend-log.ts";
import { pageBytesOf } from "../../workers/store/repair/page-size.ts";
import { salvage } from "../../workers/store/repair/salvage.ts";
import { Store } from "../../workers/store/store.ts";
import { blockSeqs, inDatabase } from "../support/damage.ts";
import { Random } from "../support/random.ts";
import { makeBlock, makeBlockOperation, makeResult, NOW_US } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const SIZES = [4096, 8192] as const;
const KIB = 1024;
const MIB = 1024 * KIB;
const BLOCKS = 60;

/** With pages of 8192 bytes, as older releases made it. */
function makeDataDir(context: TestContext, pageBytes: number): string {
  const dir = makeTempDir(context);
  const db = new Database(databaseFile(dir));
  db.pragma(`page_size = ${pageBytes}`);
  db.pragma("auto_vacuum = INCREMENTAL");
  db.pragma("journal_mode = WAL");
  db.close();
  return dir;
}

/** Of everything that could be taken for the beginning of a page: zeros, line feeds, text, small numbers, and anything. */
function fill(store: Store, random: Random): void {
  const contents = [
    () => 0,
    () => 10,
    () => random.integer(32, 126),
    () => random.integer(0, 13),
    () => random.integer(0, 255),
  ];
  for (let n = 0; n < BLOCKS; n++) {
    const byte = contents[n % contents.length]!;
    const data = new Uint8Array(random.integer(100, 20_000)).map(byte);
    const rows = Array.from({ length: 20 }, (_, k) => makeResult({ key: `{"k":${k}}`, startUs: NOW_US + n }));
    store.writer.commit(
      [makeBlockOperation({ block: makeBlock({ data, count: 1 }), accepted: 1 }), { kind: "results", rows }],
      NOW_US + n,
    );
  }
}

test("a new database has pages of 4 KiB; one with other pages keeps them, and has its log moved at as many bytes", (context) => {
  for (const pageBytes of SIZES) {
    const dir = makeDataDir(context, pageBytes);
    Store.open(dir).close();
    const db = openForWriting(dir);
    context.after(() => db.close());
    const pragma = (name: string) => db.pragma(name, { simple: true }) as number;
    assert.equal(pragma("page_size"), pageBytes);
    assert.equal(pragma("auto_vacuum"), 2, "incremental");
    assert.equal(pragma("wal_autocheckpoint") * pageBytes, 16 * MIB);
  }
  const dir = makeTempDir(context);
  Store.open(dir).close();
  assert.equal(pageBytesOf(databaseFile(dir)), 4096);
});

test("a commit of a small block writes less than 40 KiB into the log, with free pages and without", (context) => {
  const dir = makeTempDir(context);
  const store = Store.open(dir);
  context.after(() => store.close());
  const wal = `${databaseFile(dir)}-wal`;
  let n = 0;
  const commit = (): void => {
    const data = new Uint8Array(4_200).fill(n++);
    store.writer.commit([makeBlockOperation({ block: makeBlock({ data, count: 1 }), accepted: 1 })], NOW_US);
  };
  for (let warm = 0; warm < 50; warm++) commit();
  const before = statSync(wal).size;
  for (let commits = 0; commits < 50; commits++) commit();
  assert.ok((statSync(wal).size - before) / 50 < 40 * KIB, "the file grows");
  store.close();
  inDatabase(dir, (db) => {
    db.pragma("foreign_keys = OFF");
    db.exec("DELETE FROM blocks WHERE seq < 80");
  });
  const again = Store.open(dir);
  context.after(() => again.close());
  for (let commits = 0; commits < 50; commits++) {
    const data = new Uint8Array(4_200).fill(commits);
    again.writer.commit([makeBlockOperation({ block: makeBlock({ data, count: 1 }), accepted: 1 })], NOW_US);
  }
  assert.ok(statSync(wal).size / 50 < 40 * KIB, "free pages are used again");
});

test("the size of pages is told where the file's head is damaged, and only the head is lost", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  for (const pageBytes of SIZES) {
    const dir = makeDataDir(context, pageBytes);
    const store = Store.open(dir);
    fill(store, random);
    store.close();
    const bytes = readFileSync(databaseFile(dir));
    for (const damaged of [100, pageBytes]) {
      const copy = makeTempDir(context);
      writeFileSync(databaseFile(copy), Buffer.from(bytes).fill(0xa5, 0, damaged));
      assert.equal(pageBytesOf(databaseFile(copy)), pageBytes);
      await salvage({ dir: copy, masters: null, nowUs: NOW_US });
      // What is in them is no real block's, so they are set aside.
      const saved = inDatabase(copy, (db) =>
        db
          .prepare(
            "SELECT seq FROM blocks UNION SELECT seq FROM corrupt_blocks WHERE place = 'log' ORDER BY 1",
          )
          .pluck()
          .all(),
      );
      assert.deepEqual(saved, blockSeqs(dir), `pages of ${pageBytes}, ${damaged} bytes damaged`);
      assert.equal(pageBytesOf(databaseFile(copy)), 4096, "what is made anew has small pages");
    }
  }
});

test("the head of a log is made again from its frames, of either size", (context) => {
  for (const pageBytes of SIZES) {
    const dir = makeDataDir(context, pageBytes);
    const store = Store.open(dir);
    context.after(() => store.close());
    for (let n = 0; n < 10; n++) store.writer.commit([makeBlockOperation({})], NOW_US + n);
    const copy = makeTempDir(context);
    copyFileSync(databaseFile(dir), databaseFile(copy));
    const wal = readFileSync(`${databaseFile(dir)}-wal`).fill(0x5a, 0, 32);
    writeFileSync(`${databaseFile(copy)}-wal`, wal);
    assert.match(mendLog(databaseFile(copy), NOW_US).join(), /made again from its frames/);
    assert.deepEqual(blockSeqs(copy), blockSeqs(dir));
  }
});

test("the files of a database with larger pages stay within the cap as well", (context) => {
  const capBytes = 8 * MIB;
  const settings: BufferSettings = {
    capBytes,
    retentionUs: 72 * 3_600e6,
    expiresUnsynced: false,
    priorities: [],
    defaultPriority: 5,
  };
  for (const pageBytes of SIZES) {
    const dir = makeDataDir(context, pageBytes);
    const store = Store.open(dir);
    context.after(() => store.close());
    store.buffer.configure(settings);
    let seq = 0;
    let most = 0;
    for (let n = 0; n < 160; n++) {
      const data = new Uint8Array(60 * KIB).fill(n);
      const operation = makeBlockOperation({ block: makeBlock({ data, count: 1 }), accepted: 1 });
      const [outcome] = store.buffer.commit([operation], NOW_US + n);
      if (outcome?.kind === "committed") seq = outcome.seq;
      store.buffer.commit([{ kind: "checkpoint", seq, state: new Uint8Array(100) }], NOW_US + n);
      const files = ["", "-wal", "-shm"].map((end) => `${databaseFile(dir)}${end}`);
      const bytes = [...files, join(dir, "millrace.reserve")].map(
        (file) => statSync(file, { throwIfNoEntry: false })?.size ?? 0,
      );
      most = Math.max(
        most,
        bytes.reduce((sum, size) => sum + size, 0),
      );
    }
    assert.ok(most <= capBytes, `pages of ${pageBytes}: ${most} bytes`);
    assert.ok(blockSeqs(dir).length > 0);
  }
});
