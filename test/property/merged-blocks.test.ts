import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { decodeBlock, encodeBatch, newBatch, readHeader } from "../../workers/core/codec.ts";
import { sumEvents } from "../../workers/core/event-sums.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { MillraceError } from "../../workers/errors.ts";
import { BlockSplitter } from "../../workers/hub/block-splitter.ts";
import type { BatchHeader, BlockItem } from "../../workers/sync/batch.ts";
import { DEFAULT_BATCH_LIMITS, packBatch, unpackBatch } from "../../workers/sync/batch-format.ts";
import { BlockMerger } from "../../workers/sync/block-merger.ts";
import { MAX_MERGED_PARTS, mergedMeta, readMergedMeta } from "../../workers/sync/merged-blocks.ts";
import { TimeCredit } from "../../workers/sync/time-credit.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import { fill, fleetModel } from "./codec-model.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 15);
const codec = nativeCodec();
const core = instantiateCore();
const { batchDispose } = core.exports as unknown as { batchDispose(batch: number): void };
const header: BatchHeader = {
  edge: "press-1",
  key: "0".repeat(40),
  createdUs: 1,
  incarnation: "0".repeat(32),
  start: { number: 1, id: "0".repeat(16) },
  streams: [],
  totals: [],
};

function itemOf(id: number, stream: string, encoded: Uint8Array<ArrayBuffer>): BlockItem {
  const { count, minUs, maxUs } = readHeader(encoded);
  const packed = codec.compress(encoded, 1);
  const isPacked = id % 2 === 0 && packed.length < encoded.length;
  const times = { minUs: Number(minUs), maxUs: Number(maxUs), arrivalUs: 1_700_000_000_000_000 + id * 977 };
  const form = { codec: isPacked ? ("zstd" as const) : ("none" as const), encodedBytes: encoded.length };
  const data = isPacked ? packed : encoded;
  return { kind: "block", id, stream, count, ...times, ...form, resolutionUs: 0, data };
}

/** What the events of a block come to, in whatever order they are. */
function sumsOf({ codec: form, data, encodedBytes }: BlockItem): string {
  const batch = newBatch(core);
  decodeBlock(core, form === "zstd" ? codec.decompress(data, encodedBytes) : data, batch);
  const sums = JSON.stringify(sumEvents(core, batch));
  batchDispose(batch);
  return sums;
}

const models = fc.array(fc.tuple(fleetModel, fc.constantFrom("a", "b")), { minLength: 1, maxLength: 4 });

function itemsOf(list: readonly (readonly [Parameters<typeof fill>[1], string])[]): BlockItem[] {
  return list.map(([model, stream], index) => {
    const batch = fill(core, model);
    const block = encodeBatch(core, batch, { stream });
    batchDispose(batch);
    return itemOf(index * 3 + 1, stream, block);
  });
}

test("blocks that were merged, sent and taken apart are the same blocks with the same events", () => {
  const [merger, splitter] = [new BlockMerger(codec), new BlockSplitter(codec)];
  let mergedBlocks = 0;
  fc.assert(
    fc.property(models, (list) => {
      const items = itemsOf(list);
      const parts = merger.merge(items, null);
      const body = packBatch(codec, { header, ...parts });
      const back = unpackBatch(codec, body);
      const found = [...(back.merged ?? []).flatMap((each) => splitter.split(each)), ...back.items];
      mergedBlocks += found.length - back.items.length;
      const blocks = found.map((item) => {
        assert.ok(item.kind === "block");
        return item;
      });
      assert.equal(blocks.length, items.length);
      for (const item of items) {
        const { id, stream, arrivalUs, count, minUs, maxUs, resolutionUs } = item;
        const other = blocks.find((block) => block.id === id)!;
        const digest = other.digest ?? createHash("sha256").update(other.data).digest("hex").slice(0, 16);
        assert.deepEqual(
          { ...other, codec: "", encodedBytes: 0, data: null, digest },
          {
            ...{ kind: "block", id, stream, arrivalUs, count, minUs, maxUs, resolutionUs },
            ...{ codec: "", encodedBytes: 0, data: null },
            digest: createHash("sha256").update(item.data).digest("hex").slice(0, 16),
          },
        );
        assert.equal(sumsOf(other), sumsOf(item));
      }
    }),
    { numRuns: RUNS },
  );
  assert.ok(mergedBlocks > 0, "some were merged");
});

const part = fc.record(
  {
    id: fc.nat({ max: 2 ** 40 }),
    arrivalUs: fc.integer({ min: -(2 ** 45), max: 2 ** 51 }),
    count: fc.nat({ max: 200 }),
    digest: fc.stringMatching(/^[0-9a-f]{16}$/),
  },
  { noNullPrototype: true },
);

test("what is said of merged blocks comes back; what contradicts itself is refused", () => {
  const refuse = (what: string): never => {
    throw new MillraceError("E_TEST", what);
  };
  const read = (value: unknown) => readMergedMeta(JSON.parse(JSON.stringify(value)), refuse);
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 20 }), (parts) => {
      const whole = { stream: "s", resolutionUs: 0, codec: "none" as const, encodedBytes: 7, parts };
      const meta = mergedMeta({ ...whole, data: new Uint8Array(0) });
      assert.deepEqual(read(meta), whole);
      for (const bad of [
        { ...meta, stream: "../x" },
        { ...meta, codec: "lzma" },
        { ...meta, encodedBytes: -1 },
        { ...meta, ids: [] },
        { ...meta, ids: [...meta.ids, 1] },
        { ...meta, ids: meta.ids.map(() => -1) },
        { ...meta, ids: Array.from({ length: MAX_MERGED_PARTS + 1 }, () => 1) },
        { ...meta, counts: meta.counts.map(() => 70_000) },
        { ...meta, counts: meta.counts.map(() => 0.5) },
        { ...meta, digests: meta.digests.slice(1) },
        { ...meta, digests: meta.digests.replace(/./, "x") },
        null,
      ])
        assert.throws(() => read(bad), { code: "E_TEST" });
    }),
  );
});

test("merged blocks that are damaged, or hold other counts, are refused whatever they are", () => {
  const [merger, splitter] = [new BlockMerger(codec), new BlockSplitter(codec)];
  fc.assert(
    fc.property(fleetModel, fc.nat(), fc.integer({ min: 1, max: 255 }), (model, at, flip) => {
      const { merged } = merger.merge(itemsOf([[model, "a"]]), null);
      for (const each of merged) {
        const data = Uint8Array.from(each.data);
        data[at % data.length]! ^= flip;
        assert.throws(() => splitter.split({ ...each, data }), MillraceError);
        const parts = each.parts.map((one) => ({ ...one, count: one.count + 1 }));
        assert.throws(() => splitter.split({ ...each, parts }), { code: "E_BATCH_CORRUPT" });
        assert.equal(splitter.split(each).length, each.parts.length, "and then goes on");
      }
    }),
    { numRuns: RUNS },
  );
});

test("a block that cannot be read stays as it is, and those of other streams are merged", () => {
  const items = fc.sample(fleetModel, { numRuns: 2, seed: 5 }).map((model) => itemsOf([[model, "a"]])[0]!);
  const [first, second] = [
    { ...items[0]!, data: Uint8Array.of(1, 2, 3), codec: "none" as const },
    { ...items[1]!, id: 9, stream: "b" },
  ];
  const { items: left } = new BlockMerger(codec).merge([first, second], null);
  assert.ok(left.includes(first));
});

test("an item too many, as parts of merged blocks, is refused like any other", () => {
  const { items, merged } = new BlockMerger(codec).merge(
    itemsOf(fc.sample(fleetModel, { numRuns: 4, seed: 3 }).map((model) => [model, "a"] as const)),
    null,
  );
  const body = packBatch(codec, { header, items, merged });
  assert.throws(() => unpackBatch(codec, body, { ...DEFAULT_BATCH_LIMITS, maxItems: 3 }), {
    code: "E_BATCH_TOO_LARGE",
  });
});

test("credit is a share of the time that passes, does not pile up, and is waited for when overdrawn", () => {
  let nowMs = 0;
  const credit = new TimeCredit(0.1, 20, () => nowMs);
  assert.ok(credit.isLeft);
  credit.spend(() => {
    nowMs += 50;
  });
  // 20 at first, 5 for the time it took, 50 spent.
  assert.ok(!credit.isLeft);
  nowMs += 240;
  assert.ok(!credit.isLeft);
  nowMs += 20;
  assert.ok(credit.isLeft);
  nowMs += 1e6;
  assert.ok(credit.isLeft);
  credit.spend(() => {
    nowMs += 25;
  });
  assert.ok(!credit.isLeft, "no more than 20 had piled up");
});
