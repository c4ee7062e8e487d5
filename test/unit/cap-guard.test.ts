import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { test } from "node:test";
import type { BufferSettings } from "../../workers/store/buffer-operations.ts";
import { BeyondCap, CapGuard } from "../../workers/store/cap-guard.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { openForReading, openForWriting } from "../../workers/store/database.ts";
import { Space } from "../../workers/store/space.ts";
import { makeBlock, makeBlockOperation, NOW_US, StoreFixture } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const MIB = 1024 * 1024;
const KIB = 1024;
const SETTINGS: BufferSettings = {
  capBytes: 16 * MIB,
  retentionUs: 72 * 3_600e6,
  expiresUnsynced: false,
  priorities: [],
  defaultPriority: 5,
};

test("a transaction that could pass the cap is stopped before its files do, and rolled back", (context) => {
  const dir = makeTempDir(context);
  const db = openForWriting(dir);
  context.after(() => db.close());
  const space = new Space(db, dir);
  space.limitTo(16 * MIB);
  const guard = new CapGuard(db, space);
  db.exec("CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB)");
  const insert = db.prepare("INSERT INTO rows (data) VALUES (zeroblob(?))");
  const file = databaseFile(dir);
  const transaction = (steps: number): void =>
    guard.run((check) =>
      db.transaction(() => {
        for (let step = 0; step < steps; step++) {
          check(100 * KIB);
          insert.run(100 * KIB);
        }
        check("end");
      })(),
    );
  assert.throws(() => transaction(1_000), BeyondCap);
  const onDisk = statSync(file).size + statSync(`${file}-wal`).size + statSync(`${file}-shm`).size;
  assert.ok(onDisk > 6 * MIB && onDisk <= 16 * MIB, `${onDisk} bytes`);
  assert.equal(db.prepare("SELECT count(*) FROM rows").pluck().get(), 0);
  transaction(20);
  assert.equal(db.prepare("SELECT count(*) FROM rows").pluck().get(), 20);
});

test("blocks that find no room are told what is in the way: a checkpoint, or a reader, or nothing that may go", (context) => {
  const fixture = new StoreFixture(context);
  const { buffer } = fixture.store;
  buffer.configure(SETTINGS);
  let seq = 0;
  const fill = (): string => {
    for (;;) {
      const data = new Uint8Array(200 * KIB).fill(7);
      const [outcome] = buffer.commit([makeBlockOperation({ block: makeBlock({ data }) })], NOW_US);
      if (outcome?.kind === "refused") return outcome.detail;
      if (outcome?.kind === "committed") seq = outcome.seq;
    }
  };
  assert.match(fill(), /until the next checkpoint is written/);
  assert.equal(buffer.maintain({ settings: SETTINGS, nowUs: NOW_US, budgetMs: 0 }).wantsCheckpoint, true);
  buffer.commit([{ kind: "checkpoint", seq, state: new Uint8Array(10) }], NOW_US);
  const reader = openForReading(fixture.dir);
  reader.exec("BEGIN");
  reader.prepare("SELECT count(*) FROM blocks").get();
  assert.match(fill(), /a program that reads the database keeps its log from being emptied/);
  reader.exec("COMMIT");
  reader.close();
  const [outcome] = buffer.commit([makeBlockOperation({})], NOW_US);
  assert.equal(outcome?.kind, "committed");
  const db = openForWriting(fixture.dir);
  let detail = fill();
  // The last of the room is filled behind the last checkpoint, twice at most.
  for (let round = 0; round < 3; round++) {
    db.exec("UPDATE blocks SET state = 'syncing'");
    buffer.commit([{ kind: "checkpoint", seq, state: new Uint8Array(10) }], NOW_US);
    detail = fill();
  }
  db.close();
  assert.match(detail, /holds nothing that may be given up/);
});
