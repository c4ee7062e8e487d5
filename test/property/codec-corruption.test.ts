import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  BlockError,
  decodeBlock,
  encodeBatch,
  newBatch,
  readHeader,
  resetBatch,
} from "../../workers/core/codec.ts";
import { type CoreModule, instantiateCore } from "../../workers/core/module.ts";
import { type BatchModel, batchModel, fill, fleetModel, read } from "./codec-model.ts";

let core = instantiateCore();
let into = newBatch(core);
/** Far above what blocks of these sizes may take, far below what their numbers could claim. */
const MEMORY_LIMIT_BYTES = 256 * 2 ** 20;

function encoded(model: BatchModel): Uint8Array {
  const batch = fill(core, model);
  const block = encodeBatch(core, batch, { stream: "s" });
  (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(batch);
  return block;
}

/** CRC-32C bit by bit: slow, and independent of the core's. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** Makes the checksum right again, so that damage gets past it. */
function sealed(block: Uint8Array): Uint8Array {
  if (block.length < 40) return block;
  const view = new DataView(block.buffer, block.byteOffset);
  view.setUint32(12, block.length, true);
  view.setUint32(4, crc32c(block.subarray(8)), true);
  return block;
}

/** Decodes behind a known row; whatever happens, that row is still there and the batch can be read. */
function decodeBehind(first: Uint8Array, block: Uint8Array): "decoded" | string {
  resetBatch(core, into);
  decodeBlock(core, first, into);
  const before = read(core, into);
  try {
    readHeader(block);
    decodeBlock(core, block, into);
    read(core, into);
    return "decoded";
  } catch (error) {
    assert.ok(error instanceof BlockError, `not a BlockError: ${String(error)}`);
    assert.match(error.code, /^E_BLOCK_/);
    const after = read(core, into);
    assert.deepEqual(after.times, before.times);
    assert.deepEqual(after.flags, before.flags);
    assert.deepEqual(after.extra, before.extra);
    return error.code;
  } finally {
    assert.ok(
      core.memory.buffer.byteLength < MEMORY_LIMIT_BYTES,
      `memory grew to ${core.memory.buffer.byteLength}`,
    );
    if (core.memory.buffer.byteLength >= MEMORY_LIMIT_BYTES / 4) startAfresh();
  }
}

function startAfresh(): void {
  core = instantiateCore() as CoreModule;
  into = newBatch(core);
}

const oneRow: BatchModel = {
  times: [5n],
  flags: [1],
  columns: [{ name: "a", type: "int", values: [7n] }],
  extra: ['{"k":1}'],
};
const first = encoded(oneRow);

test("random bytes are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.notEqual(decodeBehind(first, bytes), "decoded");
    }),
    { numRuns: 300 },
  );
});

test("every flipped bit of a block is found", () => {
  fc.assert(
    fc.property(batchModel, fc.nat(), (model, seed) => {
      const block = encoded(model).slice();
      const bit = seed % (block.length * 8);
      block[bit >> 3]! ^= 1 << (bit & 7);
      assert.notEqual(decodeBehind(first, block), "decoded");
    }),
    { numRuns: 400 },
  );
});

test("every truncation and every trailing byte is found", () => {
  const block = encoded(oneRow);
  for (let length = 0; length < block.length; length++) {
    const code = decodeBehind(first, block.subarray(0, length));
    assert.equal(code, length < 4 ? "E_BLOCK_MAGIC" : "E_BLOCK_TRUNCATED");
  }
  assert.equal(decodeBehind(first, Uint8Array.from([...block, 0])), "E_BLOCK_CORRUPT");
});

test("damage under a right checksum is refused or decodes to something, and does no harm", () => {
  const damage = fc.array(
    fc.tuple(fc.nat(), fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff, -1), fc.integer({ min: 0, max: 255 })),
    {
      minLength: 1,
      maxLength: 4,
    },
  );
  const outcomes = new Map<string, number>();
  fc.assert(
    fc.property(batchModel, damage, (model, changes) => {
      const block = encoded(model).slice();
      for (const [seed, fixed, random] of changes) {
        const at = 8 + (seed % (block.length - 8));
        block[at] = fixed < 0 ? random : fixed;
      }
      const outcome = decodeBehind(first, sealed(block));
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }),
    { numRuns: 500 },
  );
  assert.ok((outcomes.get("E_BLOCK_CORRUPT") ?? 0) > 50, "the damage must reach the content");
});

test("damage to a fleet's block under a right checksum does no harm", () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
    minLength: 1,
    maxLength: 3,
  });
  fc.assert(
    fc.property(fleetModel, fc.array(damage, { minLength: 10, maxLength: 10 }), (model, damages) => {
      const good = encoded(model);
      for (const changes of damages) {
        const block = good.slice();
        for (const [seed, byte] of changes) block[8 + (seed % (block.length - 8))] = byte;
        decodeBehind(first, sealed(block));
      }
    }),
    { numRuns: 30 },
  );
});

test("inserted and removed bytes under a right checksum do no harm", () => {
  fc.assert(
    fc.property(
      batchModel,
      fc.nat(),
      fc.uint8Array({ maxLength: 12 }),
      fc.nat({ max: 12 }),
      (model, seed, put, cut) => {
        const block = encoded(model);
        const at = 8 + (seed % (block.length - 8));
        decodeBehind(
          first,
          sealed(Uint8Array.from([...block.subarray(0, at), ...put, ...block.subarray(at + cut)])),
        );
      },
    ),
    { numRuns: 300 },
  );
});

test("random content under a right head does no harm", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 400 }),
      fc.nat({ max: 60_000 }),
      fc.nat({ max: 600 }),
      (body, rows, columns) => {
        const block = new Uint8Array(40 + body.length);
        block.set(first.subarray(0, 12));
        block.set(body, 40);
        const view = new DataView(block.buffer);
        view.setUint8(9, body[0]! & 3);
        view.setUint16(10, columns % 4, true);
        view.setUint32(16, rows, true);
        decodeBehind(first, sealed(block));
      },
    ),
    { numRuns: 300 },
  );
});

test("a block cannot claim more rows than it has bytes for", () => {
  for (const rows of [1e5, 2 ** 23, 2 ** 23 + 1, 2 ** 31, 2 ** 32 - 1]) {
    const block = encoded(oneRow).slice();
    new DataView(block.buffer).setUint32(16, rows, true);
    const code = decodeBehind(first, sealed(block));
    assert.ok(code === "E_BLOCK_CORRUPT" || code === "E_BLOCK_TOO_LARGE", code);
  }
});
