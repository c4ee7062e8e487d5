import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BufferLevel, nextLevel, percentOf, reaches } from "../../workers/store/buffer-level.ts";

const LEVELS: readonly BufferLevel[] = ["normal", "alert", "evict", "downsample", "give-up"];

test("levels begin at 70, 85, 95 and 100 % and end a little below, each at its own", () => {
  const passed = (shares: readonly number[]): BufferLevel[] => {
    let level: BufferLevel = "normal";
    return shares.map((share) => {
      level = nextLevel(level, share);
      return level;
    });
  };
  assert.deepEqual(passed([0, 0.69, 0.7, 0.84, 0.85, 0.94, 0.95, 0.99, 1]), [
    "normal",
    "normal",
    "alert",
    "alert",
    "evict",
    "evict",
    "downsample",
    "downsample",
    "give-up",
  ]);
  assert.deepEqual(passed([1.2, 0.97, 0.96, 0.9, 0.89, 0.8, 0.79, 0.65, 0.64]), [
    "give-up",
    "give-up",
    "downsample",
    "downsample",
    "evict",
    "evict",
    "alert",
    "alert",
    "normal",
  ]);
  assert.deepEqual(LEVELS.map(percentOf), [0, 70, 85, 95, 100]);
});

test("property: no level holds where less is used than where it ends, none is missed where more is used than where it begins", () => {
  fc.assert(
    fc.property(fc.constantFrom(...LEVELS), fc.double({ min: 0, max: 2, noNaN: true }), (before, share) => {
      const level = nextLevel(before, share);
      assert.equal(nextLevel(level, share), level, "it settles at once");
      assert.ok(share >= percentOf(level) / 100 - 0.05 - 1e-9);
      for (const each of LEVELS) if (share * 100 >= percentOf(each)) assert.ok(reaches(level, each));
    }),
  );
});
