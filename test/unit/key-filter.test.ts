import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { WindowWorker } from "../../host/pipeline/window-worker.ts";
import { StorageClient } from "../../host/store/storage-client.ts";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { encodeBatch, readHeader } from "../../workers/core/codec.ts";
import { keysOf, mayHold } from "../../workers/core/key-filter.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { StoredBlock } from "../../workers/messages.ts";
import { BlockScanner } from "../../workers/query/block-scanner.ts";
import { type BlockStore, readEvents } from "../../workers/query/events.ts";
import { Reader } from "../../workers/store/reader.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { makeBlockOperation } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const core = instantiateCore();
const codec = await portableCodec();
const dispose = (batch: number): void =>
  (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(batch);

test("a filter holds every key it was made of, and few others", () => {
  let wrong = 0;
  let asked = 0;
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { maxLength: 200 }), fc.array(fc.string()), (keys, others) => {
      const builder = buildBatch(core);
      const column = builder.addColumn("device", "string");
      for (const key of keys) builder.setText(column, builder.addRow(0n, 0), key);
      const found = keysOf(core, builder.batch, ["device", "id"], 1e6);
      assert.ok(found !== null);
      for (const key of keys) assert.ok(mayHold(core, found, ["device"], key), key);
      for (const key of others.filter((other) => !keys.includes(other))) {
        asked++;
        if (mayHold(core, found, ["device"], key)) wrong++;
      }
      assert.ok(
        mayHold(core, found, ["device", "other"], "none"),
        "a field it does not know may hold anything",
      );
      dispose(builder.batch);
    }),
  );
  assert.ok(wrong <= 10 + asked / 20, `${wrong} of ${asked}`);
});

test("there is no filter where a key is no text, or it would be too large", () => {
  const builder = buildBatch(core);
  const column = builder.addColumn("id", "int");
  builder.setInt(column, builder.addRow(0n, 0), 7n);
  assert.equal(keysOf(core, builder.batch, ["id"], 1e6), null);
  const texts = buildBatch(core);
  const device = texts.addColumn("device", "string");
  for (let at = 0; at < 1_000; at++) texts.setText(device, texts.addRow(0n, 0), `d${at}`);
  assert.equal(keysOf(core, texts.batch, ["device"], 1_000), null);
  assert.ok(keysOf(core, texts.batch, ["device"], 2_000) !== null);
});

function blockOf(device: string, timesUs: readonly number[]): StoredBlock {
  const builder = buildBatch(core);
  const column = builder.addColumn("device", "string");
  const n = builder.addColumn("n", "int");
  for (const timeUs of timesUs) {
    const row = builder.addRow(BigInt(timeUs), 0);
    builder.setText(column, row, device);
    builder.setInt(n, row, BigInt(timeUs));
  }
  const encoded = encodeBatch(core, builder.batch, { stream: "machines" });
  dispose(builder.batch);
  const { count, minUs, maxUs, schema } = readHeader(encoded);
  const data = new Uint8Array(codec.compress(encoded, 1));
  const encodedBytes = encoded.length;
  return { data, codec: "zstd", encodedBytes, count, minUs: Number(minUs), maxUs: Number(maxUs), schema };
}

test("merged blocks that cannot hold the key are not read; the filter goes with its block", async (context) => {
  const dir = makeTempDir(context);
  const storage = await StorageClient.open(dir);
  const windows = new WindowWorker();
  const reader = new Reader(dir);
  context.after(async () => {
    reader.close();
    await windows.close();
    await storage.close();
  });
  const times = Array.from({ length: 500 }, (_, at) => at);
  const seqs: number[] = [];
  for (const device of ["a", "a", "b", "b"]) {
    const [outcome] = await storage.commit([makeBlockOperation({ block: blockOf(device, times) })]);
    seqs.push(outcome?.kind === "committed" ? outcome.seq : -1);
  }
  for (const pair of [seqs.slice(0, 2), seqs.slice(2)]) {
    const blocks = pair.map((seq) => reader.block(seq)!);
    const into = await windows.merge({ blocks, stream: "machines", keyFields: ["device"] });
    assert.ok(into.keys !== undefined);
    assert.equal(await storage.swap({ removeSeqs: pair, into }), true);
  }
  const read: number[] = [];
  const spy: BlockStore = {
    listBlocks: (...args) => reader.listBlocks(...args),
    eventsOf: (seq) => reader.eventsOf(seq),
    block: (seq) => {
      read.push(seq);
      return reader.block(seq);
    },
  };
  const scanner = new BlockScanner(codec);
  const task = { stream: "machines", timeField: "ts", keyFields: ["device"], fromUs: null, toUs: null };
  const page = readEvents(spy, scanner, { ...task, key: "b", limit: 10_000, after: null });
  assert.equal(
    Buffer.from(page.ndjson)
      .toString()
      .match(/"device":"b"/g)?.length,
    1_000,
  );
  assert.deepEqual(read, [seqs[2]]);
  // Merged again, the filters of both go and that of the new one comes.
  const all = [seqs[0]!, seqs[2]!];
  const blocks = all.map((seq) => reader.block(seq)!);
  const into = await windows.merge({ blocks, stream: "machines", keyFields: ["device"] });
  assert.equal(await storage.swap({ removeSeqs: all, into }), true);
  const listed = reader.listBlocks("machines", 0, 1_000, { after: null, limit: 9, withKeys: true });
  assert.deepEqual(
    listed.map(({ seq, count }) => ({ seq, count })),
    [{ seq: seqs[0], count: 2_000 }],
  );
  for (const key of ["a", "b"]) {
    const { ndjson } = readEvents(reader, scanner, { ...task, key, limit: 10_000, after: null });
    assert.equal(Buffer.from(ndjson).toString().split("\n").length - 1, 1_000);
  }
});
