import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import Database from "better-sqlite3";
import type { ResultRow } from "../../workers/messages.ts";
import { packedOf } from "../../workers/packed-rows.ts";
import { readResults } from "../../workers/query/row-pages.ts";
import { packResults, unpackResults } from "../../workers/result-rows.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { MIGRATIONS } from "../../workers/store/migrations.ts";
import { Reader, type ResultFilter } from "../../workers/store/reader.ts";
import { Store } from "../../workers/store/store.ts";
import { makeResult, NOW_US, StoreFixture } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const ALL: ResultFilter = {
  query: "temp_1m",
  fromUs: null,
  toUs: null,
  key: null,
  kind: null,
  revisions: "latest",
  limit: 100,
  after: null,
};

/** Two sessions, and what became of them when a third event joined them. */
const SESSIONS: readonly ResultRow[] = [
  makeResult({ startUs: 0, endUs: 10 }),
  makeResult({ startUs: 15, endUs: 25 }),
  makeResult({ startUs: 0, endUs: 10, revision: 1, kind: "late", values: "{}", retracted: true }),
  makeResult({ startUs: 0, endUs: 25, kind: "late", values: '{"n":10}' }),
  makeResult({ startUs: 15, endUs: 25, revision: 1, kind: "late", values: "{}", retracted: true }),
];
const brief = (rows: readonly ResultRow[]): unknown[] =>
  rows.map(({ startUs, endUs, revision, retracted }) => [startUs, endUs, revision, retracted ?? false]);

test("packed rows keep their retraction", () => {
  assert.deepEqual(unpackResults(packResults(SESSIONS)), SESSIONS);
});

test("a window that is retracted is gone from latest, and stands among all revisions", (context) => {
  const fixture = new StoreFixture(context);
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  fixture.commit({ kind: "results", rows: SESSIONS.slice(0, 2) });
  assert.deepEqual(brief(reader.results(ALL)), [
    [0, 10, 0, false],
    [15, 25, 0, false],
  ]);
  fixture.commit({ kind: "packed-results", packed: packedOf(packResults(SESSIONS.slice(2))) });
  assert.deepEqual(brief(reader.results(ALL)), [[0, 25, 0, false]]);
  assert.deepEqual(brief(reader.results({ ...ALL, revisions: "all" })), [
    [0, 10, 0, false],
    [0, 10, 1, true],
    [0, 25, 0, false],
    [15, 25, 0, false],
    [15, 25, 1, true],
  ]);
  // A replay writes the same again.
  fixture.commit({ kind: "results", rows: SESSIONS });
  assert.deepEqual(brief(reader.results(ALL)), [[0, 25, 0, false]]);
  assert.equal(reader.results({ ...ALL, revisions: "all" }).length, 5);
});

test("a page says of a row that it is retracted, and of others nothing", (context) => {
  const fixture = new StoreFixture(context);
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  fixture.commit({ kind: "results", rows: SESSIONS.slice(0, 3) });
  const page = readResults(reader, { ...ALL, revisions: "all" });
  const [first, second] = new TextDecoder().decode(page.ndjson).split("\n");
  assert.equal(Object.hasOwn(JSON.parse(first!) as object, "retracted"), false);
  assert.deepEqual(JSON.parse(second!), {
    query: "temp_1m",
    window: { start: "1970-01-01T00:00:00.000Z", end: "1970-01-01T00:00:00.000010Z" },
    key: { device: "m1" },
    values: {},
    revision: 1,
    kind: "late",
    retracted: true,
  });
});

test("windows of one instant are found from their instant on", (context) => {
  const fixture = new StoreFixture(context);
  const reader = new Reader(fixture.dir);
  context.after(() => reader.close());
  fixture.commit({
    kind: "results",
    rows: [5, 6, 7].map((time) => makeResult({ startUs: time, endUs: time })),
  });
  const read = (parts: Partial<ResultFilter>): number[] =>
    reader.results({ ...ALL, ...parts }).map(({ startUs }) => startUs);
  assert.deepEqual(read({ fromUs: 6 }), [6, 7]);
  assert.deepEqual(read({ fromUs: 6, toUs: 7 }), [6]);
});

test("results of a database from before retractions are not retracted", (context) => {
  const dir = makeTempDir(context);
  mkdirSync(dirname(databaseFile(dir)), { recursive: true });
  const db = new Database(databaseFile(dir));
  db.exec(MIGRATIONS[0]!);
  db.pragma("user_version = 1");
  const row = makeResult();
  db.prepare("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?)").run(
    row.query,
    row.startUs,
    row.endUs,
    row.key,
    row.revision,
    row.kind,
    row.values,
  );
  db.close();
  const store = Store.open(dir);
  context.after(() => store.close());
  const reader = new Reader(dir);
  context.after(() => reader.close());
  assert.deepEqual(reader.results(ALL), [row]);
  store.writer.commit(
    [{ kind: "results", rows: [{ ...row, revision: 1, kind: "late", values: "{}", retracted: true }] }],
    NOW_US,
  );
  assert.deepEqual(reader.results(ALL), []);
});
