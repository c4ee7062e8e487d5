import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { HubStore } from "../../host/hub/hub-store.ts";
import { PostgresHubStore } from "../../host/hub/postgres-hub-store.ts";
import { SqliteHubStore } from "../../host/hub/sqlite-hub-store.ts";
import { MillraceError } from "../../workers/errors.ts";
import type { HubAttributeLimits } from "../../workers/hub/edge-news.ts";
import type { EdgeDetail, EdgeSummary } from "../../workers/hub/tasks.ts";
import type { Batch } from "../../workers/sync/batch.ts";
import { DEFAULT_BATCH_LIMITS, packBatch } from "../../workers/sync/batch-format.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import { type Change, deliveries, history, listed, winners } from "../support/attribute-history.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { Random } from "../support/random.ts";
import { doorEvents, machineEvents, type RecordedBatch, recordBatches } from "../support/recorded-batches.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const skip = withoutPostgres();
const LIMITS = { limits: DEFAULT_BATCH_LIMITS, maxBlockBytes: 512 * 1024 * 1024 };

async function receive(store: HubStore, { edge, key, body }: RecordedBatch) {
  try {
    return await store.receive({ edge, key, body: new Uint8Array(body).buffer });
  } catch (cause) {
    assert.ok(cause instanceof MillraceError);
    return cause.code;
  }
}

type PageOf<Task> = (task: Task) => Promise<{ readonly ndjson: Uint8Array; readonly next: string | null }>;

/** All pages of a list, each as text. */
async function pages<Task>(read: PageOf<Task & { after: string | null }>, task: Task): Promise<string[]> {
  const texts: string[] = [];
  let after: string | null = null;
  do {
    const { ndjson, next } = await read({ ...task, after });
    texts.push(new TextDecoder().decode(ndjson));
    after = next;
  } while (after !== null);
  return texts;
}

/** Without what the clock makes. */
function timeless<Edge extends EdgeSummary | EdgeDetail | null>(edge: Edge): unknown {
  return JSON.parse(
    JSON.stringify(edge, (name, value: unknown) => (/(Seen|first|last)Us$/.test(name) ? undefined : value)),
  ) as unknown;
}

async function assertSameAnswers(a: HubStore, b: HubStore, random: Random): Promise<number> {
  let count = 0;
  const both = async (what: string, read: (store: HubStore) => Promise<unknown>): Promise<void> => {
    const [first, second] = [await read(a), await read(b)];
    assert.deepEqual(second, first, what);
    count += Array.isArray(first) ? first.length : 1;
  };
  await both("edges", async (store) => (await store.edges()).map(timeless));
  for (const edge of ["edge-a", "edge-b", "none", "\0"])
    await both(edge, async (store) => timeless(await store.edge(edge)));
  for (const what of [{ stream: "machines" }, { stream: "x" }, { query: "all" }, { query: "hot" }])
    await both(JSON.stringify(what), (store) => store.knows(what));
  const startUs = Date.UTC(2026, 0, 1, 23, 59) * 1000;
  const times = [
    null,
    startUs,
    startUs + 61_000_000,
    startUs + 30_000_007,
    startUs - 1e9,
    Date.UTC(2026, 0, 3) * 1000,
  ];
  const everything = { fromUs: null, toUs: null, key: null, edge: null, limit: 30, stream: "machines" };
  await both("all events", (store) => pages((task) => store.events(task), everything));
  for (let round = 0; round < 60; round++) {
    const range = {
      fromUs: random.pick(times),
      toUs: random.pick(times),
      key: random.pick([null, null, "m3", "3", "0.125", "s2", "none", "\0", '{ "device" : "m3" }']),
      edge: random.pick([null, null, "edge-a", "edge-b", "none"]),
      limit: random.pick([1, 7, 500, 100_000]),
    };
    const limit = range.limit === 1 && range.fromUs === null ? 100 : range.limit;
    const stream = random.pick(["machines", "doors"]);
    await both(`events ${stream} ${JSON.stringify(range)}`, (store) =>
      pages((task) => store.events(task), { ...range, limit: Math.max(limit, 7), stream }),
    );
    const query = random.pick(["per_device", "all", "none"]);
    const revisions = random.pick(["latest", "all"] as const);
    const kind = random.pick([null, null, "late", "on-time"]);
    await both(`results ${query} ${JSON.stringify(range)}`, (store) =>
      pages((task) => store.results(task), { ...range, limit, query, revisions, kind }),
    );
    const alert = random.pick([null, "hot", "cold"]);
    const state = random.pick([null, "firing", "resolved"]);
    await both(`alerts ${JSON.stringify(range)}`, (store) =>
      pages((task) => store.alerts(task), { ...range, limit, alert, state, revisions }),
    );
    await both("losses", (store) =>
      pages((task) => store.losses(task), {
        stream: random.pick([null, "machines"]),
        edge: range.edge,
        limit,
      }),
    );
  }
  return count;
}

test("PostgreSQL and SQLite answer the same, byte by byte, of the same batches", {
  skip,
}, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const server = await PostgresServer.start(context);
  const batches = (
    await Promise.all([
      recordBatches(
        "edge-a",
        [
          ...Array.from({ length: 10 }, (_, at) => ({
            stream: "machines" as const,
            events: machineEvents(at * 300, 300),
          })),
          { stream: "doors", events: doorEvents(200) },
          { stream: "machines", events: machineEvents(2_500, 100) },
        ],
        context,
      ),
      recordBatches("edge-b", [{ stream: "machines", events: machineEvents(1_000, 700) }], context),
    ])
  ).flat();
  const sqlite = await SqliteHubStore.open(makeTempDir(context), LIMITS);
  context.after(() => sqlite.close());
  const postgres = await PostgresHubStore.open({
    url: server.url(),
    retentionUs: null,
    onFailure: (cause) => assert.fail(String(cause)),
    ...LIMITS,
  });
  context.after(() => postgres.close());
  for (const batch of batches) {
    const damaged = { ...batch, body: Buffer.from(batch.body) };
    damaged.body[damaged.body.length >> 1]! ^= 0x10;
    const others = random.pick([
      [],
      [batch],
      [random.pick(batches)],
      [damaged],
      [{ ...batch, edge: "edge-c" }],
    ]);
    for (const each of [...others, batch])
      assert.deepEqual(await receive(postgres, each), await receive(sqlite, each));
  }
  const rows = await assertSameAnswers(sqlite, postgres, random);
  assert.ok(rows > 300, `${rows} pages were compared`);
  context.diagnostic(`${batches.length} batches, ${rows} pages the same`);
});

test("attributes are merged alike in both, whatever the order, and the same is told of identities", {
  skip,
}, async (context) => {
  const server = await PostgresServer.start(context);
  const open = async (limits: HubAttributeLimits): Promise<HubStore[]> => [
    await SqliteHubStore.open(makeTempDir(context), { ...LIMITS, attributes: limits }),
    await PostgresHubStore.open({
      url: server.url(),
      retentionUs: null,
      onFailure: assert.ifError,
      ...LIMITS,
      attributes: limits,
    }),
  ];
  const stores = await open({ maxClockAheadMs: 1e12, maxAttributes: 1_000 });
  const codec = nativeCodec();
  const send = async (store: HubStore, batch: Batch) => {
    const { edge, key } = batch.header;
    return store.receive({ edge, key, body: new Uint8Array(packBatch(codec, batch)).buffer });
  };
  const changes: Change[] = [];
  const held = async (store: HubStore): Promise<string> =>
    (await pages((task) => store.devices(task), { edge: null, device: null, limit: 2 })).join("");
  await fc.assert(
    fc.asyncProperty(history, fc.array(fc.nat(39), { maxLength: 30 }), async (more, order) => {
      changes.push(...more);
      const batches = deliveries(more, [...order, ...more.keys(), ...order]);
      for (const batch of batches) {
        const [first, second] = await Promise.all(stores.map((store) => send(store, batch)));
        assert.deepEqual([second?.isDuplicate, second?.news], [first?.isDuplicate, first?.news]);
      }
      const [first, second] = await Promise.all(stores.map(held));
      assert.equal(second, first);
      assert.deepEqual(listed(first!), winners(changes));
    }),
    { numRuns: 20, endOnFailure: true },
  );
  for (const edge of ["press-1", "press-2"]) {
    const [first, second] = await Promise.all(stores.map(async (store) => timeless(await store.edge(edge))));
    assert.deepEqual(second, first);
  }
  await Promise.all(stores.map((store) => store.close()));
  const strict = await open({ maxClockAheadMs: 60_000, maxAttributes: 1 });
  context.after(() => Promise.all(strict.map((store) => store.close())));
  const change = {
    edge: "press-9",
    incarnation: "d".repeat(16),
    device: "m1",
    attribute: "a",
    value: "1",
    counter: 0,
  };
  const [nowMs, hour] = [Date.now(), 3_600_000];
  const batches = [
    { ...change, ms: nowMs + hour },
    { ...change, ms: nowMs },
    { ...change, ms: nowMs, attribute: "b" },
    { ...change, ms: nowMs + 1, value: null },
  ].map(
    (each, at) =>
      deliveries([each], [at]).map(({ header, items }) => ({
        header: { ...header, key: `${at}`.repeat(16) },
        items,
      }))[0]!,
  );
  for (const store of strict) {
    const told: unknown[] = [];
    for (const batch of batches) {
      const { stored, news } = await send(store, batch);
      told.push([stored, news.refusedAttributes, news.latest.ms - nowMs]);
    }
    assert.deepEqual(told, [
      [0, 1, -nowMs],
      [1, 0, 0],
      [0, 1, 0],
      [1, 0, 1],
    ]);
    const { refusedAttributes, attributes } = (await store.edge("press-9"))!;
    assert.deepEqual([refusedAttributes.count, refusedAttributes.reason, attributes], [2, "too-many", 1]);
  }
});

test("starts, copies and counts of them are told alike in both", { skip }, async (context) => {
  const server = await PostgresServer.start(context);
  const stores: HubStore[] = [
    await SqliteHubStore.open(makeTempDir(context), LIMITS),
    await PostgresHubStore.open({
      url: server.url(),
      retentionUs: null,
      onFailure: assert.ifError,
      ...LIMITS,
    }),
  ];
  context.after(() => Promise.all(stores.map((store) => store.close())));
  const codec = nativeCodec();
  const [a, b] = ["a".repeat(16), "b".repeat(16)] as const;
  const said = fc.record({
    incarnation: fc.constantFrom(a, b),
    number: fc.integer({ min: 1, max: 3 }),
    id: fc.constantFrom("1".repeat(16), "2".repeat(16), "3".repeat(16)),
    createdUs: fc.nat(9),
    stream: fc.constantFrom("machines", "doors"),
    base: fc.option(fc.tuple(fc.nat(9), fc.nat(9), fc.nat(9), fc.nat(9)), { nil: undefined }),
    more: fc.tuple(fc.nat(9), fc.nat(9), fc.nat(9), fc.nat(9)),
  });
  // Each case there is, whatever is drawn: another disk, both by turns, a start of the same number, both starts by turns.
  const written = (
    [
      [a, "1"],
      [b, "1"],
      [a, "1"],
      [b, "1"],
      [b, "2"],
      [b, "1"],
    ] as const
  ).map(([incarnation, digit], createdUs) => ({
    incarnation,
    number: 1,
    id: digit.repeat(16),
    createdUs,
    stream: "machines" as const,
    base: undefined,
    more: [1, 0, 0, 0] as [number, number, number, number],
  }));
  const kinds = new Set<string>();
  let number = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(said, { maxLength: 12 }), async (batches) => {
      const edge = `edge-${++number}`;
      for (const [
        at,
        { incarnation, number: startNumber, id, createdUs, stream, base, more },
      ] of batches.entries()) {
        const [accepted, deadLettered, late, clockSkewed] = more.map(
          (count, n) => count + (base?.[n] ?? 0),
        ) as [number, number, number, number];
        const total = {
          stream,
          accepted,
          deadLettered,
          late,
          clockSkewed,
          ...(base === undefined ? {} : { base }),
        };
        const key = `${number}`.padStart(8, "0") + `${at}`.padStart(8, "0");
        const start = { number: startNumber, id };
        const header = { edge, key, createdUs, incarnation, start, streams: [], totals: [total] };
        const body = packBatch(codec, { header, items: [] });
        const send = (store: HubStore) => store.receive({ edge, key, body: new Uint8Array(body).buffer });
        const [first, second] = await Promise.all(stores.map(send));
        assert.deepEqual(second, first);
        if (first?.news.identity != null) kinds.add(first.news.identity);
      }
      const [first, second] = await Promise.all(
        stores.map(async (store) => timeless(await store.edge(edge))),
      );
      assert.deepEqual(second, first);
    }),
    { numRuns: 60, examples: [[written]] },
  );
  assert.deepEqual([...kinds].sort(), ["cloned", "name-shared", "re-imaged", "replayed"]);
});
