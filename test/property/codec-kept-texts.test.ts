import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeBlock, emptyBatch, encodeBatch, newBatch } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { type BatchModel, fill, read } from "./codec-model.ts";

/** A parser keeps its texts from batch to batch, and the encoder what it found in them. No block may show it. */
const core = instantiateCore();
const { batchDispose } = core.exports as unknown as { batchDispose(batch: number): void };

const digits = (min: number, max: number): fc.Arbitrary<string> =>
  fc
    .integer({ min, max })
    .chain((length) =>
      fc
        .array(fc.integer({ min: 0, max: 9 }), { minLength: length, maxLength: length })
        .map((each) => each.join("")),
    );
/** Texts of one template each, but for the last ones. */
const styles: readonly fc.Arbitrary<string>[] = [
  fc.nat(40).map((n) => `d${n}`),
  fc.nat(20_000).map((n) => `d${String(n).padStart(5, "0")}`),
  fc.tuple(fc.nat(3), fc.nat(300)).map(([site, device]) => `site-${site}/dev-${device}/x`),
  digits(1, 3),
  digits(16, 18).map((text) => `n${text}`),
  digits(17, 17).map((text) => `n${text}`),
  digits(18, 20).map((text) => `n${text}`),
  fc.constantFrom("d", "d1x", "", "12d", "unit"),
];

const rows = fc
  .tuple(fc.subarray([...styles.keys()], { minLength: 1, maxLength: 2 }), fc.integer({ min: 1, max: 200 }))
  .chain(([chosen, length]) =>
    fc.array(fc.option(fc.oneof(...chosen.map((style) => styles[style]!)), { freq: 50 }), {
      minLength: length,
      maxLength: length,
    }),
  );

function modelOf(texts: readonly (string | null)[]): BatchModel {
  return {
    times: texts.map((_, row) => BigInt(row)),
    flags: texts.map(() => 0),
    columns: [
      { name: "device", type: "string", values: [...texts] },
      { name: "other", type: "string", values: texts.map((text, row) => (row % 3 === 0 ? "x" : text)) },
    ],
    extra: texts.map(() => null),
  };
}

test("a batch with texts of batches before it makes the same block as one without", () => {
  fc.assert(
    fc.property(fc.array(rows, { minLength: 2, maxLength: 8 }), (batches) => {
      const kept = newBatch(core);
      for (const texts of batches) {
        const model = modelOf(texts);
        const fresh = fill(core, model);
        const block = encodeBatch(core, fresh, { stream: "s" });
        batchDispose(fresh);
        emptyBatch(core, kept);
        decodeBlock(core, block, kept);
        const again = encodeBatch(core, kept, { stream: "s" });
        assert.ok(Buffer.from(again).equals(block), `${again.length} bytes, ${block.length} without`);
        assert.deepEqual(read(core, kept), model);
      }
      batchDispose(kept);
    }),
    { numRuns: 150 },
  );
});
