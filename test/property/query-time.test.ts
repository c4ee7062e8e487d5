import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatTime } from "../../workers/time-format.ts";

const FIRST = -62_135_596_800_000_000n;
const LAST = 253_402_300_799_999_999n;

/** The time a text names, by way of Date for the milliseconds and by hand for the rest. */
function readBack(text: string): bigint {
  const fraction = /\.(\d+)Z$/.exec(text)![1]!;
  assert.ok(fraction.length === 3 || (fraction.length === 6 && !fraction.endsWith("000")), text);
  return BigInt(Date.parse(text.replace(/\.\d+Z$/, "Z"))) * 1000n + BigInt(fraction.padEnd(6, "0"));
}

test("a written time reads back to the microsecond, from a bigint and from a number", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: FIRST, max: LAST }), (us) => {
      assert.equal(readBack(formatTime(us)), us);
    }),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.maxSafeInteger(), (us) => {
      assert.equal(formatTime(us), formatTime(BigInt(us)));
      assert.equal(readBack(formatTime(us)), BigInt(us));
    }),
    { numRuns: 500 },
  );
});

test("the end of a second far from the epoch is not rounded into the next", () => {
  for (const second of [9_007_199_253, 9_007_199_252, -9_007_199_253, 8_999_999_999]) {
    for (const rest of [0, 1, 999_999, 500_000]) {
      assert.equal(
        readBack(formatTime(second * 1_000_000 + rest)),
        BigInt(second) * 1_000_000n + BigInt(rest),
      );
    }
  }
});
