import assert from "node:assert/strict";
import { test } from "node:test";
import Database from "better-sqlite3";
import type { AlertRow, CommitOperation, WebhookOutcome } from "../../workers/messages.ts";
import type { AlertFilter } from "../../workers/store/alert-reader.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { MIGRATIONS } from "../../workers/store/migrations.ts";
import { Reader } from "../../workers/store/reader.ts";
import { Store } from "../../workers/store/store.ts";
import { NOW_US, StoreFixture } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const SECOND = 1_000_000;
const HOOK = "http://127.0.0.1:9/hook";
const EVERYTHING: AlertFilter = {
  alert: null,
  state: null,
  fromUs: null,
  toUs: null,
  key: null,
  revisions: "all",
  limit: 100,
  after: null,
};

function makeAlert(parts: Partial<AlertRow> = {}): AlertRow {
  return {
    alert: "hot",
    severity: "critical",
    definition: "d1",
    key: '{"device":"m1"}',
    state: "firing",
    sinceUs: NOW_US,
    atUs: NOW_US + 10 * SECOND,
    value: '{"mean":91.5}',
    id: "i1",
    revision: 0,
    isRetracted: false,
    isTold: true,
    ...parts,
  };
}

const write = (...rows: AlertRow[]): CommitOperation => ({
  kind: "alerts",
  rows,
  webhooks: [{ alert: "hot", urls: [HOOK] }],
});
const settle = (id: number, outcome: WebhookOutcome): CommitOperation => ({
  kind: "webhook-outcome",
  id,
  outcome,
});

function read(fixture: StoreFixture, filter: Partial<AlertFilter> = {}): string[] {
  const reader = new Reader(fixture.dir);
  const rows = reader.alerts({ ...EVERYTHING, ...filter });
  reader.close();
  return rows.map(({ alert, id, state, revision }) => `${alert} ${id} ${state} ${revision}`);
}

test("each step is stored once, and told once: a replay changes nothing", (context) => {
  const fixture = new StoreFixture(context);
  const resolved = makeAlert({ state: "resolved", revision: 1 });
  fixture.commit(write(makeAlert()));
  fixture.commit(write(resolved));
  fixture.commit(settle(1, { kind: "delivered" }), settle(2, { kind: "delivered" }));
  fixture.reopen();
  fixture.commit(write(makeAlert({ value: '{"mean":0}' }), resolved));
  assert.deepEqual(read(fixture), ["hot i1 firing 0", "hot i1 resolved 1"]);
  assert.deepEqual(read(fixture, { revisions: "latest" }), ["hot i1 resolved 1"]);
  assert.deepEqual(fixture.store.writer.alerts.due(Number.MAX_SAFE_INTEGER, 10), []);
});

test("alerts are found by name, state, key and time, page by page", (context) => {
  const fixture = new StoreFixture(context);
  const pending = makeAlert({
    alert: "cold",
    id: "i2",
    state: "pending",
    sinceUs: NOW_US + SECOND,
    isTold: false,
  });
  const old = makeAlert({
    id: "i3",
    key: '{"device":"m2"}',
    sinceUs: NOW_US - 99 * SECOND,
    atUs: NOW_US - 90 * SECOND,
  });
  const oldEnd = { ...old, state: "resolved", revision: 1, atUs: NOW_US - 80 * SECOND } as const;
  const undone = makeAlert({ id: "i4", sinceUs: NOW_US + 2 * SECOND, state: "resolved", isRetracted: true });
  fixture.commit(write(makeAlert(), pending, old, oldEnd, undone));
  const latest = { revisions: "latest" } as const;
  assert.deepEqual(read(fixture, latest), ["hot i3 resolved 1", "hot i1 firing 0", "cold i2 pending 0"]);
  assert.deepEqual(read(fixture, { ...latest, alert: "cold" }), ["cold i2 pending 0"]);
  assert.deepEqual(read(fixture, { ...latest, state: "firing" }), ["hot i1 firing 0"]);
  assert.deepEqual(read(fixture, { ...latest, state: "resolved" }), ["hot i3 resolved 1"]);
  assert.deepEqual(read(fixture, { ...latest, key: "m2" }), ["hot i3 resolved 1"]);
  assert.deepEqual(read(fixture, { ...latest, key: '{ "device": "m2" }' }), ["hot i3 resolved 1"]);
  assert.deepEqual(read(fixture, { ...latest, fromUs: NOW_US - 70 * SECOND }), [
    "hot i1 firing 0",
    "cold i2 pending 0",
  ]);
  assert.deepEqual(read(fixture, { ...latest, toUs: NOW_US }), ["hot i3 resolved 1"]);
  const all = read(fixture);
  assert.equal(all.length, 5);
  const paged: string[] = [];
  const reader = new Reader(fixture.dir);
  for (let after: AlertFilter["after"] = null; ; ) {
    const [row] = reader.alerts({ ...EVERYTHING, limit: 1, after });
    if (row === undefined) break;
    paged.push(`${row.alert} ${row.id} ${row.state} ${row.revision}`);
    after = row;
  }
  reader.close();
  assert.deepEqual(paged, all);
});

test("the outbox gives the first of each address, holds back later steps of an alert, and remembers attempts", (context) => {
  const fixture = new StoreFixture(context);
  const other = "http://127.0.0.1:9/other";
  const { alerts } = fixture.store.writer;
  const due = (perUrl = 10, nowUs = NOW_US): string[] =>
    alerts.due(nowUs, perUrl).map(({ id, url, idempotencyKey, attempts }) => {
      return `${id} ${url.slice(-5)} ${idempotencyKey} ${attempts}`;
    });
  const urls = [HOOK, other];
  const rows = [
    makeAlert(),
    makeAlert({ revision: 1, state: "resolved" }),
    makeAlert({ id: "i2", key: "{}" }),
  ];
  fixture.commit({ kind: "alerts", rows, webhooks: [{ alert: "hot", urls }] });
  assert.deepEqual(due(), ["1 /hook i1-0 0", "2 other i1-0 0", "5 /hook i2-0 0", "6 other i2-0 0"]);
  assert.deepEqual(due(1), ["1 /hook i1-0 0", "2 other i1-0 0"]);
  fixture.commit(settle(1, { kind: "failed", nextAtUs: NOW_US + 5 * SECOND, error: "answered 500" }));
  fixture.commit(settle(2, { kind: "delivered" }));
  fixture.commit(settle(5, { kind: "set-aside", error: "answered 404" }));
  assert.deepEqual(due(), ["4 other i1-1 0", "6 other i2-0 0"]);
  assert.equal(alerts.nextDueUs(NOW_US), NOW_US + 5 * SECOND);
  assert.deepEqual(due(10, NOW_US + 5 * SECOND), ["1 /hook i1-0 1", "4 other i1-1 0", "6 other i2-0 0"]);
  assert.equal(alerts.waiting(), 4);
  assert.equal(alerts.limit(1, "too many"), 3);
  assert.equal(alerts.waiting(), 1);
});

test("what is open under a definition that is no more is ended; the others go on", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit(write(makeAlert(), makeAlert({ id: "i2", definition: "d2", state: "pending" })));
  fixture.commit({ kind: "alerts-kept", definitions: ["d1"] }, { kind: "alerts-kept", definitions: ["d1"] });
  assert.deepEqual(read(fixture), ["hot i1 firing 0", "hot i2 pending 0", "hot i2 resolved 1"]);
});

test("a database from before alerts gets their tables, with what it held", (context) => {
  const dir = makeTempDir(context);
  const at = MIGRATIONS.findIndex((sql) => sql.includes("CREATE TABLE alerts"));
  const db = new Database(databaseFile(dir));
  for (const sql of MIGRATIONS.slice(0, at)) db.exec(sql);
  db.exec("INSERT INTO streams (name) VALUES ('machines')");
  db.pragma(`user_version = ${at}`);
  db.close();
  const store = Store.open(dir);
  store.writer.commit([write(makeAlert())], NOW_US);
  assert.equal(store.writer.alerts.waiting(), 1);
  assert.deepEqual(
    store.recovered.streams.map(({ stream }) => stream),
    ["machines"],
  );
  store.close();
});
