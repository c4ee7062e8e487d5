import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { AuditStore } from "../../workers/store/audit-store.ts";
import { openForWriting } from "../../workers/store/database.ts";
import { MIGRATIONS } from "../../workers/store/migrations.ts";
import { readEdgeAudit } from "../../workers/sync/audit-reader.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const HOUR_US = 3_600_000_000;
const HASH = "0123456789abcdef0000000000000001";
const TWICE = "02468acf13579bde0000000000000002";
const OLD_HASH = "f".repeat(32);
const ALL = { stream: null, fromUs: null, toUs: null };

/** Books as the release before versions left them: one hour of `s`. */
function oldBooks(context: TestContext) {
  const dir = makeTempDir(context);
  const before = MIGRATIONS.findIndex((migration) => migration.includes("audit_sums ADD COLUMN version"));
  assert.ok(before > 0);
  const old = openForWriting(dir, before);
  old.prepare("INSERT INTO audit_sums VALUES ('hub', 's', 0, 0, 7, ?)").run(OLD_HASH);
  old.close();
  const db = openForWriting(dir);
  context.after(() => db.close());
  const books = () =>
    readEdgeAudit(db, "hub", ALL).sums.map(({ hourUs, count, hash }) => [hourUs / HOUR_US, count, hash]);
  return { db, books };
}

const sum = (hour: number, count: number, hash: string) => ({
  stream: "s",
  resolutionUs: 0,
  hourUs: hour * HOUR_US,
  count,
  hash,
});

test("the hash of an hour that an earlier version began stays unknown, and its events are counted", (context) => {
  const { db, books } = oldBooks(context);
  assert.deepEqual(books(), [[0, 7, null]]);
  const store = new AuditStore(db);
  for (let times = 0; times < 2; times++) store.add("hub", [sum(0, 2, HASH), sum(1, 3, HASH)]);
  assert.deepEqual(books(), [
    [0, 11, null],
    [1, 6, TWICE],
  ]);
});
