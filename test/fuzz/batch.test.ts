import assert from "node:assert/strict";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { MillraceError } from "../../workers/errors.ts";
import type { Batch, BatchItem } from "../../workers/sync/batch.ts";
import {
  BatchError,
  decodeContent,
  encodeContent,
  packBatch,
  unpackBatch,
} from "../../workers/sync/batch-format.ts";
import { crc32c } from "../../workers/sync/crc32c.ts";
import { decodeAlerts, decodeAttributes, decodeLosses, decodeResults } from "../../workers/sync/rows.ts";
import { nativeCodec } from "../../workers/zstd.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 300);
const codec = nativeCodec();

const hex = (length: number): fc.Arbitrary<string> =>
  fc
    .array(fc.integer({ min: 0, max: 15 }), { minLength: length, maxLength: length })
    .map((digits) => digits.map((digit) => digit.toString(16)).join(""));
const count = fc.integer({ min: 0, max: 2 ** 40 });
const name = fc.stringMatching(/^[A-Za-z0-9_.-]{1,20}$/);
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => new Uint8Array(array));

const item: fc.Arbitrary<BatchItem> = fc.oneof(
  fc.record({
    kind: fc.constant("block" as const),
    id: count,
    stream: name,
    arrivalUs: count,
    count,
    minUs: fc.integer(),
    maxUs: count,
    codec: fc.constantFrom("none" as const, "zstd" as const),
    encodedBytes: count,
    resolutionUs: count,
    data: bytes,
  }),
  fc.record({
    kind: fc.constantFrom("results" as const, "alerts" as const, "losses" as const, "attributes" as const),
    id: count,
    rows: count,
    ndjson: bytes,
  }),
);

const batch: fc.Arbitrary<Batch> = fc.record({
  header: fc.record({
    edge: name,
    key: hex(40),
    createdUs: count,
    incarnation: hex(32),
    start: fc.record({ number: count, id: hex(16) }),
    streams: fc.array(
      fc.record({ stream: name, timeField: fc.string(), keyFields: fc.array(fc.string(), { maxLength: 3 }) }),
      { maxLength: 3 },
    ),
    totals: fc.array(
      fc.record({ stream: name, accepted: count, deadLettered: count, late: count, clockSkewed: count }),
      { maxLength: 3 },
    ),
  }),
  items: fc.array(item, { maxLength: 6 }),
});

/** Reads it, or throws an error of the format's own. */
function read(content: Uint8Array): Batch | null {
  try {
    return decodeContent(content);
  } catch (cause) {
    assert.ok(cause instanceof BatchError, String(cause));
    return null;
  }
}

test("any batch comes back as it went", () => {
  fc.assert(
    fc.property(batch, (each) => {
      const back = unpackBatch(codec, packBatch(codec, each));
      assert.deepEqual(plain(back), plain(each));
    }),
    { numRuns: RUNS },
  );
});

test("any damage is noticed, and is an error of the format's", () => {
  const damage = fc.record({ at: fc.nat(), flip: fc.integer({ min: 1, max: 255 }) });
  fc.assert(
    fc.property(batch, fc.array(damage, { minLength: 1, maxLength: 3 }), (each, changes) => {
      const content = encodeContent(each);
      const before = Buffer.from(content);
      for (const { at, flip } of changes) content[at % content.length]! ^= flip;
      // Three bytes of the head mean nothing yet, and are under the checksum all the same.
      if (before.equals(content)) return;
      assert.equal(read(content), null);
    }),
    { numRuns: RUNS },
  );
});

test("a batch cut anywhere is an error of the format's", () => {
  fc.assert(
    fc.property(batch, fc.nat(), (each, at) => {
      const content = encodeContent(each);
      assert.equal(read(content.subarray(0, at % content.length)), null);
    }),
    { numRuns: RUNS },
  );
});

test("lies under a right checksum are an error of the format's, or a batch", () => {
  fc.assert(
    fc.property(batch, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 8 }), (each, at, lie) => {
      const content = encodeContent(each);
      const body = content.length - 4;
      lie.forEach((byte, index) => {
        const place = (at + index) % body;
        content[place] = byte;
      });
      new DataView(content.buffer).setUint32(body, crc32c(content.subarray(0, body)), true);
      read(content);
    }),
    { numRuns: RUNS },
  );
});

test("rows that are anything at all are read, or refused by the format's error", () => {
  const line = fc.oneof(fc.json(), fc.string(), fc.constant('{"clear":1}'), fc.constant('{"kind":"late"}'));
  fc.assert(
    fc.property(fc.oneof(bytes, fc.array(line).map(ndjson)), (rows) => {
      for (const decode of [decodeResults, decodeAlerts, decodeLosses, decodeAttributes]) {
        try {
          decode(rows);
        } catch (cause) {
          assert.ok(cause instanceof BatchError, String(cause));
        }
      }
    }),
    { numRuns: RUNS },
  );
});

test("bytes that are no zstd are an error with a code", () => {
  fc.assert(
    fc.property(bytes, (noise) => {
      assert.throws(() => unpackBatch(codec, noise), MillraceError);
    }),
    { numRuns: RUNS },
  );
});

test("a bomb is refused by its ratio and by its size, before it takes the memory", () => {
  const bomb = zstdCompressSync(Buffer.alloc(512 * 1024 * 1024));
  const before = process.memoryUsage().arrayBuffers;
  assert.throws(() => unpackBatch(codec, bomb), { code: "E_BATCH_TOO_LARGE" });
  assert.ok(process.memoryUsage().arrayBuffers - before < 128 * 1024 * 1024);
  const limits = { maxContentBytes: 64 * 1024 * 1024, maxRatio: 10, maxItems: 10 };
  const dense = zstdCompressSync(Buffer.alloc(8 * 1024 * 1024));
  assert.throws(() => unpackBatch(codec, dense, limits), { code: "E_BATCH_TOO_LARGE" });
});

function ndjson(lines: readonly string[]): Uint8Array {
  return new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""));
}

/** Without the differences between bytes and views of them, and between prototypes. */
function plain({ header, items }: Batch): unknown {
  const whole = {
    header,
    items: items.map((each) =>
      each.kind === "block" ? { ...each, data: [...each.data] } : { ...each, ndjson: [...each.ndjson] },
    ),
  };
  return JSON.parse(JSON.stringify(whole)) as unknown;
}
