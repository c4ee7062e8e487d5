import assert from "node:assert/strict";
import { test } from "node:test";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { encodeBatch } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { BlockItem } from "../../workers/sync/batch.ts";
import { packBatch } from "../../workers/sync/batch-format.ts";
import { withPlainBlocks } from "../../workers/sync/plain-blocks.ts";
import { nativeCodec } from "../../workers/zstd.ts";

const codec = nativeCodec();
const core = instantiateCore();

const WORDS = ["pump", "press", "valve", "southern", "hall", "stands", "still", "since", "noon", "again"];
const sentence = (row: number): string =>
  Array.from({ length: 8 }, (_, n) => WORDS[(row * 7 + n * n * 3 + ((row * n) >> 1)) % WORDS.length]).join(
    " ",
  );

function blockOf(id: number, rows: number): BlockItem {
  const builder = buildBatch(core);
  const [device, level] = [builder.addColumn("device", "string"), builder.addColumn("level", "int")];
  for (let row = 0; row < rows; row++) {
    const at = builder.addRow(BigInt(id * 1_000_000 + row), 0);
    builder.setText(device, at, sentence(row));
    // Of a large block, what does not pack into a few bytes.
    builder.setInt(level, at, BigInt(rows > 1_000 ? (row * 7_919 * id) % 65_537 : row % 5));
  }
  const encoded = encodeBatch(core, builder.batch, { stream: "s" });
  const data = codec.compress(encoded, 1);
  assert.ok(data.length < encoded.length);
  const place = { id, stream: "s", arrivalUs: 0, minUs: id * 1_000_000, maxUs: id * 1_000_000 + rows };
  return {
    kind: "block",
    ...place,
    count: rows,
    codec: "zstd",
    encodedBytes: encoded.length,
    resolutionUs: 0,
    data,
  };
}

test("small blocks go without their own compression, which makes the batch smaller; large ones stay as they are", () => {
  const items = [...Array.from({ length: 40 }, (_, index) => blockOf(index + 1, 50)), blockOf(99, 20_000)];
  const sent = withPlainBlocks(codec, items);
  assert.deepEqual(
    sent.map((item) => item.kind === "block" && item.codec),
    [...Array.from({ length: 40 }, () => "none"), "zstd"],
  );
  for (const [index, item] of sent.entries()) {
    assert.ok(item.kind === "block");
    const before = items[index]!;
    const plain = item.codec === "none" ? item.data : codec.decompress(item.data, item.encodedBytes);
    assert.deepEqual(Buffer.from(plain), Buffer.from(codec.decompress(before.data, before.encodedBytes)));
  }
  assert.deepEqual(withPlainBlocks(codec, items), sent, "the same again");
  const header = {
    edge: "e",
    key: "0".repeat(16),
    createdUs: 0,
    incarnation: "0".repeat(16),
    streams: [],
    totals: [],
  };
  const bytes = (all: typeof sent): number =>
    packBatch(codec, { header: { ...header, start: { number: 1, id: "0".repeat(16) } }, items: all }).length;
  assert.ok(bytes(sent) < 0.8 * bytes(items), `${bytes(sent)} of ${bytes(items)} bytes`);
});
