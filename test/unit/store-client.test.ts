import assert from "node:assert/strict";
import { test } from "node:test";
import { StorageClient } from "../../host/store/storage-client.ts";
import { MillraceError } from "../../workers/errors.ts";
import { makeBlock, makeBlockOperation, makeResult } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

test("everything crosses the thread and back", async (context) => {
  const dir = makeTempDir(context);
  const client = await StorageClient.open(dir);
  assert.deepEqual(client.recovered, {
    lastSeq: 0,
    checkpoint: null,
    lastSegment: 0,
    damagedCheckpoints: [],
    rebuild: { gone: [], given: [], toldSeq: 0 },
    mendedLog: [],
    configs: null,
    streams: [],
  });
  const data = Uint8Array.from({ length: 400 }, (_, index) => index);
  const block = makeBlock({ data, count: 1 });
  const operations = Array.from({ length: 3 }, () => makeBlockOperation({ block }));
  const state = Uint8Array.of(1, 2, 3);
  const outcomes = await client.commit([
    ...operations,
    { kind: "watermark", stream: "machines", timeUs: "end" },
    { kind: "results", rows: [makeResult()] },
    { kind: "late", stream: "machines", sourceSeq: 2, block, atUs: 5 },
    { kind: "checkpoint", seq: 3, state },
  ]);
  assert.deepEqual(
    outcomes.map((outcome) => outcome.kind === "committed" && outcome.seq),
    [1, 2, 3, 4, 4, 2, 3],
  );
  assert.equal(data.length, 400, "the caller's bytes are still there");

  const log = await client.readLog({ afterSeq: 1, maxBytes: 1e6 });
  assert.deepEqual(
    log.map(({ seq }) => seq),
    [2, 3, 4],
  );
  assert.deepEqual(log[0]?.kind === "block" && log[0].block, { ...block, schema: [] });

  const [group] = await client.listSmall({ upToSeq: 4, targetBytes: 1_000 });
  assert.deepEqual(group?.seqs, [1, 2, 3]);
  const task = { removeSeqs: group!.seqs, into: makeBlock({ count: 3 }) };
  assert.deepEqual([await client.swap(task), await client.swap(task)], [true, false]);
  assert.ok((await client.sizes()).walBytes > 0);
  await client.close();

  const again = await StorageClient.open(dir);
  context.after(() => again.close());
  assert.deepEqual(again.recovered.checkpoint, { seq: 3, state, segments: null });
  assert.deepEqual(again.recovered.streams[0]?.counts, {
    accepted: 3,
    deadLettered: 0,
    late: 1,
    clockSkewed: 0,
    blocks: 1,
    storedBytes: 3,
  });
});

test("calls are served in the order they were made, and close waits for them", async (context) => {
  const dir = makeTempDir(context);
  const client = await StorageClient.open(dir);
  const commits = Array.from({ length: 50 }, () => client.commit([makeBlockOperation()]));
  await client.close();
  const seqs = (await Promise.all(commits)).map(([outcome]) => outcome?.kind === "committed" && outcome.seq);
  assert.deepEqual(
    seqs,
    Array.from({ length: 50 }, (_, index) => index + 1),
  );
});

test("a failure keeps its code across the thread, and the store goes on", async (context) => {
  const client = await StorageClient.open(makeTempDir(context));
  context.after(() => client.close());
  const unwritable = { ...makeResult(), kind: null } as unknown as ReturnType<typeof makeResult>;
  await assert.rejects(
    client.commit([makeBlockOperation({ stream: "other" }), { kind: "results", rows: [unwritable] }]),
    (cause) => cause instanceof MillraceError && cause.code === "E_STORE" && /NOT NULL/.test(cause.message),
  );
  assert.deepEqual(await client.commit([makeBlockOperation()]), [{ kind: "committed", seq: 1 }]);
});
