import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BlockPacker } from "../../workers/block-packer.ts";
import {
  type BatchHandle,
  decodeBlock,
  encodeBatch,
  newBatch,
  readHeader,
} from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { type Codec, nativeCodec, wasmCodec } from "../../workers/zstd.ts";
import { batchModel, fill, fleetModel, read } from "./codec-model.ts";

const core = instantiateCore();
const codecs: readonly Codec[] = [nativeCodec(), await wasmCodec()];
const { batchDispose } = core.exports as unknown as { batchDispose(batch: BatchHandle): void };

function encoded(model: Parameters<typeof fill>[1]): Uint8Array {
  const batch = fill(core, model);
  const block = encodeBatch(core, batch, { stream: "fleet" });
  batchDispose(batch);
  return block;
}

/** Without a diff, which takes minutes for buffers of this size. */
const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

test("a packed block is the block again, by every codec, whatever blocks came before", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fleetModel, batchModel), { minLength: 1, maxLength: 4 }), (models) => {
      const blocks = models.map(encoded);
      for (const codec of codecs) {
        const packer = new BlockPacker(codec);
        // Those that follow the plan made of the first, and those that it does not fit.
        for (const block of [...blocks, ...blocks, blocks[0]!]) {
          const packed = packer.pack(block, readHeader(block));
          if (packed === null) continue;
          assert.ok(packed.length < block.length);
          for (const reader of codecs) assert.ok(isSame(reader.decompress(packed, block.length), block));
        }
      }
    }),
    { numRuns: 25 },
  );
});

/** Times that are alike a hundred in a row, which zstd makes much smaller, beside readings of which it makes nothing. */
function turns(seed: number, rows = 4_000, alike = 100): Uint8Array {
  let state = seed | 1;
  const random = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  const flags = new Array<number>(rows).fill(0);
  const extra = new Array<string | null>(rows).fill(null);
  return encoded({
    times: Array.from(
      { length: rows },
      (_, row) => 1_770_000_000_000_000n + BigInt(Math.floor(row / alike)) * 1_000n,
    ),
    flags,
    columns: [
      { name: "device", type: "string", values: Array.from(flags, () => `d${Math.floor(random() * 9_999)}`) },
      { name: "rpm", type: "int", values: Array.from(flags, () => BigInt(Math.floor(random() * 341))) },
    ],
    extra,
  } as Parameters<typeof fill>[1]);
}

test("what does not gain is not compressed, and the block grows by a hundredth at most", () => {
  let compressed = 0;
  const native = nativeCodec();
  const packer = new BlockPacker({
    ...native,
    compress: (bytes, level) => {
      compressed += bytes.length;
      return native.compress(bytes, level);
    },
  });
  for (let seed = 1; seed <= 60; seed++) {
    const block = turns(seed);
    compressed = 0;
    const packed = packer.pack(block, readHeader(block));
    assert.ok(packed !== null);
    assert.ok(
      packed.length <= native.compress(block, 1).length * 1.01,
      `${packed.length} bytes, seed ${seed}`,
    );
    if (seed > 1)
      assert.ok(compressed < block.length / 4, `${compressed} bytes were compressed, seed ${seed}`);
    const into = newBatch(core);
    decodeBlock(core, native.decompress(packed, block.length), into);
    assert.equal(read(core, into).times.length, 4_000);
    batchDispose(into);
  }
});

test("a plan is made anew after 64 blocks, so a change of the data shows soon", () => {
  const packer = new BlockPacker(nativeCodec());
  const sizeOf = (block: Uint8Array): number => packer.pack(block, readHeader(block))?.length ?? block.length;
  sizeOf(turns(1));
  const repeated = turns(2, 3_000);
  const sizes = Array.from({ length: 70 }, () => sizeOf(repeated));
  const whole = nativeCodec().compress(repeated, 1).length;
  assert.equal(sizes[64], whole);
});

test("no call is made for what saves less than it is worth, and the block stays as it is", () => {
  let calls = 0;
  const native = nativeCodec();
  const packer = new BlockPacker({
    ...native,
    compress: (bytes, level) => {
      calls++;
      return native.compress(bytes, level);
    },
  });
  for (let seed = 1; seed <= 30; seed++) {
    const block = turns(seed, 1_300, 200);
    const saved = block.length - native.compress(block, 1).length;
    assert.ok(saved > 0 && saved < 128, `zstd saves ${saved} bytes of ${block.length}, seed ${seed}`);
    calls = 0;
    const packed = packer.pack(block, readHeader(block));
    if (seed === 1) assert.equal(packed?.length, block.length - saved);
    else assert.deepEqual([packed, calls], [null, 0]);
  }
});
