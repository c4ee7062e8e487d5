import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type ConfigPut, ConfigRegistry } from "../../host/hub/configs/config-registry.ts";
import { PostgresHubStore } from "../../host/hub/postgres-hub-store.ts";
import type { RecordStore } from "../../host/hub/record-store.ts";
import { SqliteHubStore } from "../../host/hub/sqlite-hub-store.ts";
import { DEFAULT_BATCH_LIMITS } from "../../workers/sync/batch-format.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const LIMITS = { limits: DEFAULT_BATCH_LIMITS, maxBlockBytes: 1024 ** 2 };

function putOf(document: string, more: Partial<ConfigPut> = {}): ConfigPut {
  return { document, version: null, signature: null, by: null, address: null, rollout: null, ...more };
}

/** `stores`: views of one database. */
async function exercise(stores: readonly [RecordStore, RecordStore]): Promise<void> {
  let nowUs = 1_000_000;
  const [one, two] = stores.map((store) => new ConfigRegistry(store, () => nowUs++)) as [
    ConfigRegistry,
    ConfigRegistry,
  ];
  assert.equal(await one.wanted("a"), null);
  // Two hubs that write at once: each put is a version of its own, and none is lost.
  const puts = await Promise.all(
    Array.from({ length: 12 }, (_, n) => (n % 2 === 0 ? one : two).put("edge:a", putOf(`text ${n}`))),
  );
  const versions = puts.map((outcome) => (outcome.kind === "put" ? outcome.note.version : 0));
  assert.deepEqual(
    versions.toSorted((a, b) => a - b),
    Array.from({ length: 12 }, (_, n) => n + 1),
  );
  for (const [n, version] of versions.entries())
    assert.equal(await two.document("edge:a", version), `text ${n}`);
  assert.equal((await one.wanted("a"))?.note.version, 12);
  assert.deepEqual(await one.put("edge:a", putOf("old", { version: 12 })), { kind: "not-newer", newest: 12 });

  await one.setMembers("g", ["a", "b", "c"]);
  await two.setMembers("h", ["c"]);
  assert.deepEqual([await two.membersOf("g"), await one.membersOf("h")], [["a", "b"], ["c"]]);
  await one.put("group:g", putOf("group"));
  assert.equal((await two.wanted("b"))?.scope, "group:g");
  assert.equal((await two.wanted("a"))?.scope, "edge:a", "its own goes first");
  assert.equal(await two.removeOwn("a"), true);
  assert.equal(await two.removeOwn("a"), false);
  assert.equal((await one.wanted("a"))?.scope, "group:g");
  assert.equal(await one.wanted("c"), null);

  const plan = {
    steps: [
      { percent: 50, waitMs: 0 },
      { percent: 100, waitMs: 0 },
    ],
    maxFailures: 0,
  };
  const begun = await one.put("group:g", putOf("next", { rollout: plan }));
  assert.ok(begun.kind === "put" && begun.rollout !== null);
  assert.deepEqual(await two.put("group:g", putOf("other")), { kind: "rolling-out", version: 2 });
  const [first = ""] = begun.rollout.offered;
  const second = first === "a" ? "b" : "a";
  const overview = await two.overview(["a", "b", "c"]);
  assert.deepEqual(
    [first, second, "c"].map((edge) => overview.get(edge)?.wanted?.note.version ?? null),
    [2, 1, null],
  );
  const { etag } = (await one.wanted(first))!;
  const report = { scope: "group:g", version: 2, etag, reason: null };
  await Promise.all([
    two.report(first, { ...report, state: "applied", atUs: 20 }),
    one.report(first, { ...report, state: "trying", atUs: 10 }),
  ]);
  assert.equal((await one.edge(first)).report?.state, "applied", "what is older changes nothing");
  await one.advance("group:g");
  assert.equal((await two.wanted(second))?.note.version, 2);
  await two.report(second, { ...report, state: "rolled-back", reason: "ill", atUs: 30 });
  assert.equal((await one.scope("group:g")).rollout?.state, "halted");
  await one.abort("group:g");
  assert.equal((await two.wanted(first))?.note.version, 1);
  assert.equal((await one.put("group:g", putOf("other"))).kind, "put");
  assert.equal((await two.wanted(second))?.note.version, 3);
}

test("versions, groups and rollouts of a hub on SQLite", async (context) => {
  const store = await SqliteHubStore.open(makeTempDir(context), LIMITS);
  context.after(() => store.close());
  await exercise([store, store]);
});

test("the same of two hubs on one PostgreSQL", { skip: withoutPostgres() }, async (context: TestContext) => {
  const server = await PostgresServer.start(context);
  const url = server.url();
  const stores = await Promise.all(
    [0, 1].map(() => PostgresHubStore.open({ url, retentionUs: null, ...LIMITS })),
  );
  context.after(() => Promise.all(stores.map((store) => store.close())));
  await exercise([stores[0]!, stores[1]!]);
});
