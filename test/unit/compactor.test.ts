import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { Compactor } from "../../host/pipeline/compactor.ts";
import type { EngineStatus } from "../../host/pipeline/engine.ts";
import { WindowWorker } from "../../host/pipeline/window-worker.ts";
import { StorageClient } from "../../host/store/storage-client.ts";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { encodeBatch, readHeader } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { MillraceError } from "../../workers/errors.ts";
import type { StoredBlock } from "../../workers/messages.ts";
import { BlockDecoder } from "../../workers/query/block-decoder.ts";
import { Reader } from "../../workers/store/reader.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { makeBlockOperation } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";
import { MemoryEngine } from "./api-fixture.ts";

const codec = await portableCodec();
const core = instantiateCore();

/** A block with one event a time, numbered in column `n`. */
function numbered(times: readonly bigint[], type: "int" | "float" = "int"): StoredBlock {
  const { batch, ...builder } = fill(times, type);
  const encoded = encodeBatch(core, batch, { stream: "s" });
  builder.dispose();
  const { count, minUs, maxUs, schema } = readHeader(encoded);
  const data = codec.compress(encoded, 1);
  const encodedBytes = encoded.length;
  return { data, codec: "zstd", encodedBytes, count, minUs: Number(minUs), maxUs: Number(maxUs), schema };
}

function fill(times: readonly bigint[], type: "int" | "float") {
  const builder = buildBatch(core);
  const column = builder.addColumn("n", type);
  for (const time of times) {
    const row = builder.addRow(time, 0);
    if (type === "int") builder.setInt(column, row, BigInt(row));
    else builder.setFloat(column, row, row + 0.5);
  }
  const { batchDispose } = core.exports as unknown as { batchDispose(batch: number): void };
  return { batch: builder.batch, dispose: () => batchDispose(builder.batch) };
}

/** Merges as a node does, on the thread of the windows. */
class MergingEngine extends MemoryEngine {
  readonly windows = new WindowWorker();
  checkpointSeq = 0;
  backfills = 0;

  override mergeBlocks(stream?: string, blocks: readonly StoredBlock[] = []): Promise<StoredBlock> {
    return this.windows.merge({ stream: stream ?? "", blocks, keyFields: [] });
  }

  override status(): EngineStatus {
    return { ...super.status(), checkpointSeq: this.checkpointSeq, backfills: this.backfills };
  }
}

test("merging keeps every event in its order and refuses what it cannot read", async (context) => {
  const windows = new WindowWorker();
  context.after(() => windows.close());
  const merge = (...blocks: StoredBlock[]): Promise<StoredBlock> =>
    windows.merge({ blocks, stream: "s", keyFields: [] });
  const merged = await merge(numbered([5n, 1n]), numbered([3n], "float"));
  assert.deepEqual(
    { count: merged.count, minUs: merged.minUs, maxUs: merged.maxUs },
    { count: 3, minUs: 1, maxUs: 5 },
  );
  assert.deepEqual(merged.schema, [{ name: "n", type: "float" }]);
  const opened = new BlockDecoder(codec).open(merged);
  assert.ok(opened.kind === "rows");
  assert.deepEqual([...opened.rows.times], [5n, 1n, 3n]);
  const damaged = { ...numbered([1n]), data: new Uint8Array([1, 2, 3]) };
  await assert.rejects(
    merge(numbered([1n]), damaged),
    (cause) => cause instanceof MillraceError && cause.code === "E_ZSTD",
  );
  assert.equal((await merge(numbered([1n]))).count, 1);
});

test("small blocks up to the checkpoint become one on the window thread; a damaged one among them is set aside first", async (context) => {
  const dir = makeTempDir(context);
  const storage = await StorageClient.open(dir);
  const reader = new Reader(dir);
  const engine = new MergingEngine();
  const compactor = new Compactor(storage, engine, pino({ level: "silent" }));
  context.after(async () => {
    await compactor.close();
    await engine.windows.close();
    reader.close();
    await storage.close();
  });
  const put = (block: StoredBlock) => storage.commit([makeBlockOperation({ stream: "s", block })]);
  const blocks = Array.from({ length: 40 }, (_, at) => numbered([BigInt(at * 2), BigInt(at * 2 + 1)]));
  for (const [at, block] of blocks.entries()) {
    await put(at === 20 ? { ...block, data: new Uint8Array([1, 2, 3]) } : block);
  }
  for (const seq of [32, 33]) await storage.commit([{ kind: "checkpoint", seq, state: new Uint8Array(1) }]);
  const stored = () =>
    reader
      .listBlocks("s", 0, 1_000, { after: null, limit: 99, withKeys: false })
      .map(({ seq, count }) => [seq, count]);
  engine.checkpointSeq = 33;
  engine.backfills = 1;
  await compactor.run();
  assert.equal(stored().length, 40);
  engine.backfills = 0;
  // A round ends after a while, but never before it has done something.
  for (let round = 0; round < 3; round++) await compactor.run();
  assert.deepEqual(stored(), [[1, 62], ...Array.from({ length: 8 }, (_, at) => [33 + at, 2])]);
  const opened = new BlockDecoder(codec).open(reader.block(1)!);
  assert.ok(opened.kind === "rows");
  const expected = Array.from({ length: 64 }, (_, at) => BigInt(at)).filter((at) => at !== 40n && at !== 41n);
  assert.deepEqual([...opened.rows.times], expected);
});
