import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import Database from "better-sqlite3";
import { type MasterKeys, masterKey } from "../../workers/seal/master-key.ts";
import { Store } from "../../workers/store/store.ts";
import { SyncReader } from "../../workers/sync/sync-reader.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import { NOW_US, StoreFixture } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const NOW_MS = NOW_US / 1_000;
const LIMITS = { maxDevices: 3, maxDeviceAttributes: 3, maxAttributeBytes: 100 };
const MASTERS: MasterKeys = { current: masterKey(new Uint8Array(32).fill(9)), previous: [] };
const codec = nativeCodec();
const merge = (device: string, attributes: Record<string, string | null>) =>
  ({ device, mode: "merge", attributes }) as const;

function syncWith(store: Store, ...sinks: string[]): void {
  store.sync.open({ sinks, priorities: {}, defaultPriority: 5 }, codec);
}

/** What a sink is sent next, as `device attribute value`; it is delivered. */
function send(store: Store, masters: MasterKeys | null = null): string[] {
  const size = { rows: 1e9, bytes: 1e9 };
  const task = {
    sink: "hub",
    class: "attributes",
    size,
    enough: { rows: 1, bytes: 1 },
    olderThanUs: 0,
  } as const;
  const answer = store.sync.claim(task);
  if (answer.kind !== "claimed") return [];
  const reader = new SyncReader(store.dir, codec, masters);
  const lines = reader.items(answer.batch.id, "attributes").items.flatMap((item) => {
    if (item.kind !== "attributes") return [];
    const row = JSON.parse(Buffer.from(item.ndjson).toString()) as Record<string, string>;
    return [`${row.device} ${row.attribute} ${row.value}`];
  });
  reader.close();
  store.sync.settle([{ kind: "delivered", batch: answer.batch.id }]);
  return lines;
}

test("a sink gets what an attribute is, not all that it was, and those from before it was there", (context) => {
  const { store } = new StoreFixture(context);
  store.attributes.set([merge("m1", { a: "1" })], LIMITS, NOW_MS);
  syncWith(store, "hub");
  store.attributes.set([merge("m1", { a: "2", b: "x" })], LIMITS, NOW_MS);
  store.attributes.set([merge("m1", { a: "3" })], LIMITS, NOW_MS);
  assert.deepEqual(send(store), ['m1 b "x"', 'm1 a "3"']);
  assert.deepEqual(send(store), []);
  store.attributes.set([merge("m1", { b: null })], LIMITS, NOW_MS);
  assert.deepEqual(send(store), ["m1 b null"]);
});

test("what was removed counts until every sink was told, and is forgotten then", (context) => {
  const { store } = new StoreFixture(context);
  syncWith(store, "hub");
  const set = (device: string, attributes: Record<string, string | null>): string | undefined =>
    store.attributes.set([merge(device, attributes)], LIMITS, NOW_MS)[0]?.kind;
  assert.equal(set("m1", { a: "1", b: "1", c: "1" }), "set");
  assert.equal(set("m1", { a: null }), "set");
  assert.equal(set("m1", { d: "1" }), "refused", "the hub does not know that a is gone");
  send(store);
  assert.equal(set("m1", { d: "1" }), "set");
  for (const device of ["m2", "m3"]) assert.equal(set(device, { a: "1" }), "set");
  assert.equal(set("m3", { a: null }), "set");
  assert.equal(set("m4", { a: "1" }), "refused");
  send(store);
  assert.equal(set("m4", { a: "1" }), "set", "m3 is forgotten");
  const { devices, attributes } = store.attributes.report(NOW_MS);
  assert.deepEqual([devices, attributes], [3, 5]);
});

test("with a key nothing of attributes is in the plain, and what was there before is sealed", (context) => {
  const dir = makeTempDir(context);
  const before = Store.open(dir);
  before.attributes.set([merge("dev-qzxv1", { nameqzxv: "val-qzxv1" })], LIMITS, NOW_MS);
  before.close();
  const store = Store.open(dir, undefined, MASTERS);
  store.attributes.set([merge("dev-qzxv2", { nameqzxv: "val-qzxv2" })], LIMITS, NOW_MS);
  assert.deepEqual(
    store.attributes
      .list({ after: null, limit: 10 })
      .map(({ device, attributes }) => [device, attributes[0]?.value])
      .sort(),
    [
      ["dev-qzxv1", '"val-qzxv1"'],
      ["dev-qzxv2", '"val-qzxv2"'],
    ],
  );
  const [first] = store.attributes.list({ after: null, limit: 1 });
  assert.equal(store.attributes.list({ after: first!.device, limit: 9 }).length, 1);
  assert.equal(store.attributes.read("dev-qzxv1")?.attributes[0]?.attribute, "nameqzxv");
  syncWith(store, "hub");
  assert.equal(send(store, MASTERS).length, 2);
  store.close();
  const db = new Database(join(dir, "millrace.db"));
  db.exec("VACUUM");
  db.close();
  for (const file of readdirSync(dir))
    assert.doesNotMatch(readFileSync(join(dir, file), "latin1"), /qzxv/, file);
});

test("a clock whose row was lost goes on behind the latest attribute", (context) => {
  const fixture = new StoreFixture(context);
  fixture.store.attributes.set([merge("m1", { a: "1" })], LIMITS, NOW_MS + 5_000);
  fixture.store.close();
  const db = new Database(join(fixture.dir, "millrace.db"));
  db.exec("DELETE FROM attribute_clock");
  db.close();
  fixture.reopen();
  fixture.store.attributes.set([merge("m1", { a: "2" })], LIMITS, NOW_MS);
  assert.deepEqual(fixture.store.attributes.read("m1")?.attributes[0]?.time, {
    ms: NOW_MS + 5_000,
    counter: 1,
  });
});

test("stamps beyond what a hub takes are made anew in their order, and the clock goes back with them", (context) => {
  const fixture = new StoreFixture(context);
  const { attributes } = fixture.store;
  attributes.set([merge("m1", { a: "right" })], LIMITS, NOW_MS);
  attributes.set([merge("m1", { b: "first" }), merge("m1", { c: "second" })], LIMITS, NOW_MS + 1e12);
  const hub = { nowMs: NOW_MS + 5_000, maxAheadMs: 60_000, latest: { ms: NOW_MS, counter: 0 } };
  assert.equal(attributes.learn(hub, NOW_MS + 1e12), 2);
  const times = new Map(attributes.read("m1")?.attributes.map(({ attribute, time }) => [attribute, time]));
  assert.deepEqual(times.get("a"), { ms: NOW_MS, counter: 0 });
  const [b, c] = [times.get("b")!, times.get("c")!];
  assert.ok(b.ms <= NOW_MS + 66_000 && c.ms <= NOW_MS + 66_000 && b.ms >= NOW_MS);
  assert.ok(c.ms > b.ms || (c.ms === b.ms && c.counter > b.counter));
  assert.equal(attributes.learn(hub, NOW_MS), 0, "there is nothing left to do");
  fixture.reopen();
  fixture.store.attributes.set([merge("m1", { a: "later" })], LIMITS, NOW_MS + 70_000);
  const [a] = fixture.store.attributes.read("m1")?.attributes ?? [];
  assert.deepEqual(a?.time, { ms: NOW_MS + 70_000, counter: 0 });
});
