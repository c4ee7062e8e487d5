import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KeyOrder } from "../../workers/core/key-order.ts";

/** Windows of some of the keys that there are, and at times all numbers change their meaning. */
const STEPS = fc.array(
  fc.record({
    keys: fc.uniqueArray(fc.nat(60), { maxLength: 40 }),
    isRenumbered: fc.integer({ min: 0, max: 5 }).map((one) => one === 0),
  }),
  { maxLength: 12 },
);

test("rows are put in the order of their keys' texts, whichever keys were there before", () => {
  fc.assert(
    fc.property(STEPS, fc.uniqueArray(fc.string(), { minLength: 122, maxLength: 122 }), (steps, texts) => {
      let generation = 0;
      const textOf = (key: number): string => texts[key + 61 * (generation % 2)]!;
      const order = new KeyOrder(() => generation, textOf);
      for (const { keys, isRenumbered } of steps) {
        if (isRenumbered) generation++;
        const sorted = Array.from(order.of(Uint32Array.from(keys)), (row) => textOf(keys[row]!));
        assert.deepEqual(sorted, keys.map(textOf).sort());
      }
    }),
  );
});
