import assert from "node:assert/strict";
import { test } from "node:test";
import * as zlib from "node:zlib";
import { MillraceError } from "../../workers/errors.ts";
import { type Codec, nativeCodec, portableCodec, wasmCodec } from "../../workers/zstd.ts";

const codecs: readonly Codec[] = [nativeCodec(), await wasmCodec()];
const noise = Uint8Array.from({ length: 70_000 }, (_, i) => (i * i * 2_654_435_761) >>> 24);
const samples: readonly Uint8Array[] = [
  new Uint8Array(0),
  Uint8Array.of(7),
  Buffer.from("temperature ".repeat(50_000)),
  noise,
  new Uint8Array(400_000),
  Buffer.from(Array.from({ length: 400_000 }, (_, i) => `{"n":${i % 977}}\n`).join("")),
];
const hasCode = (code: string) => (error: unknown) => error instanceof MillraceError && error.code === code;

/** Without a diff, which takes minutes for buffers of this size. */
function assertSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.ok(Buffer.from(actual).equals(expected), `${what}: ${actual.length} bytes for ${expected.length}`);
}

/** A frame that does not say how much it holds, as a stream writes it. */
async function streamed(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = zlib.createZstdCompress();
  const parts: Buffer[] = [];
  stream.on("data", (part: Buffer) => parts.push(part));
  const ended = new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
  for (let at = 0; at < bytes.length; at += 10_000) stream.write(bytes.subarray(at, at + 10_000));
  stream.end();
  await ended;
  return Buffer.concat(parts);
}

test("each codec reads what the other writes, at every level in use", () => {
  for (const writer of codecs) {
    for (const reader of codecs) {
      for (const level of [1, 3, 19]) {
        for (const bytes of samples) {
          const restored = reader.decompress(writer.compress(bytes, level), bytes.length);
          assertSame(restored, bytes, `${writer.name} → ${reader.name}, level ${level}`);
        }
      }
    }
  }
});

test("what a codec makes has a buffer to itself, which can be given back", async () => {
  const frame = await streamed(Buffer.from("21.5;".repeat(4_000)));
  for (const codec of codecs) {
    for (const bytes of samples) {
      const packed = codec.compress(bytes, 1);
      assert.equal(packed.buffer.byteLength, packed.length, codec.name);
      const neighbour = Buffer.allocUnsafe(16).fill(7);
      const restored = codec.decompress(packed, bytes.length);
      assert.ok(restored.buffer.byteLength <= Math.max(2 * bytes.length, bytes.length + 1), codec.name);
      for (const made of [packed, restored]) assert.equal(made.constructor, Uint8Array, codec.name);
      restored.buffer.transfer(0);
      packed.buffer.transfer(0);
      assert.equal(neighbour[0], 7, codec.name);
    }
    const ofUntold = codec.decompress(frame, 20_000);
    assert.notEqual(ofUntold.buffer, Buffer.allocUnsafe(1).buffer, codec.name);
  }
});

test("frames without a content size, several frames, and skippable ones are read", async () => {
  const bytes = Buffer.from('{"device":"m1","temp":21.5}\n'.repeat(30_000));
  const frame = await streamed(bytes);
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  for (const codec of codecs) {
    assertSame(codec.decompress(frame, bytes.length), bytes, codec.name);
    const twice = Buffer.concat([frame, codec.compress(bytes, 1)]);
    assertSame(codec.decompress(twice, bytes.length * 2), Buffer.concat([bytes, bytes]), codec.name);
    const skipped = Buffer.concat([skippable, codec.compress(bytes, 1)]);
    assertSame(codec.decompress(skipped, bytes.length), bytes, codec.name);
  }
});

test("no more than the limit is made, however small the data is", async () => {
  const zeros = new Uint8Array(50_000_000);
  const bombs = [codecs[0]!.compress(zeros, 3), await streamed(zeros)];
  for (const codec of codecs) {
    for (const bomb of bombs)
      assert.throws(() => codec.decompress(bomb, 1_000_000), hasCode("E_TOO_LARGE"), codec.name);
    const text = Buffer.from("x".repeat(1001));
    assert.throws(() => codec.decompress(codec.compress(text, 1), 1000), hasCode("E_TOO_LARGE"), codec.name);
    assert.equal(codec.decompress(codec.compress(text, 1), 1001).length, 1001);
  }
});

test("a frame that lies about its size is damaged data", () => {
  const frame = Buffer.from(codecs[0]!.compress(new Uint8Array(300), 3));
  assert.equal(frame[4]! >> 6, 1, "the size takes two bytes in this frame");
  frame.writeUInt16LE(65_535, 5);
  for (const codec of codecs)
    assert.throws(() => codec.decompress(frame, 1e9), hasCode("E_ZSTD"), codec.name);
});

test("damaged and cut-off data is refused", () => {
  const good = codecs[0]!.compress(Buffer.from("temperature ".repeat(5000)), 3);
  for (const codec of codecs) {
    assert.throws(() => codec.decompress(Uint8Array.of(1, 2, 3, 4, 5), 1e6), hasCode("E_ZSTD"), codec.name);
    for (let length = 1; length < good.length; length++) {
      assert.throws(
        () => codec.decompress(good.subarray(0, length), 1e6),
        hasCode("E_ZSTD"),
        `${codec.name}, ${length} bytes`,
      );
    }
  }
});

test("this Node's own zstd is preferred", async () => {
  assert.equal((await portableCodec()).name, "node:zlib");
});
