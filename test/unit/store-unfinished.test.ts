import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import Database from "better-sqlite3";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { openForReading } from "../../workers/store/database.ts";
import { diagnose } from "../../workers/store/repair/doctor.ts";
import { Store } from "../../workers/store/store.ts";
import { NOW_US } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

/** As a power cut leaves it while the database is turned to a write-ahead log: what was begun is in a journal to be taken back. */
function cutInTheMaking(context: TestContext): string {
  const [dir, cut] = [makeTempDir(context), join(makeTempDir(context), "data")];
  const file = databaseFile(dir);
  const db = new Database(file);
  db.pragma("page_size = 4096");
  db.pragma("auto_vacuum = INCREMENTAL");
  db.exec("VACUUM");
  // More than is kept in memory: then the journal is synced, and the file written.
  db.pragma("cache_size = 2");
  db.exec("BEGIN; CREATE TABLE begun (data)");
  const insert = db.prepare("INSERT INTO begun VALUES (?)");
  for (let row = 0; row < 40; row++) insert.run(Buffer.alloc(8_000));
  mkdirSync(cut);
  for (const end of ["", "-journal"]) copyFileSync(file + end, databaseFile(cut) + end);
  db.exec("ROLLBACK");
  db.close();
  return cut;
}

const options = { masters: null, nowUs: NOW_US } as const;

test("a store whose making was cut off: who only looks says so and changes nothing, a start finishes it", async (context) => {
  const dir = cutInTheMaking(context);
  assert.throws(() => openForReading(dir), {
    code: "E_STORE_UNFINISHED",
    message: /the next `millrace start`/,
  });
  const { findings, blocks } = await diagnose({ ...options, dir, mode: "look" });
  assert.deepEqual(
    findings.map(({ check, isRepaired }) => [check, isRepaired]),
    [["release", false]],
  );
  assert.match(findings[0]!.message, /the power was cut while .* was made/);
  assert.equal(blocks, 0);
  assert.ok(existsSync(`${databaseFile(dir)}-journal`));
  Store.open(dir).close();
  assert.deepEqual((await diagnose({ ...options, dir, mode: "look" })).findings, []);
});

test("so does a repair", async (context) => {
  const dir = cutInTheMaking(context);
  await diagnose({ ...options, dir, mode: "repair" });
  assert.deepEqual((await diagnose({ ...options, dir, mode: "look" })).findings, []);
});
