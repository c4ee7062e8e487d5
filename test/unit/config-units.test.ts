import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatDuration, parseDurationUs } from "../../host/config/durations.ts";
import { formatBytes, parseSizeBytes } from "../../host/config/sizes.ts";
import { nearest } from "../../host/config/suggest.ts";

test("durations come out in whole microseconds", () => {
  const cases: readonly (readonly [string, number | null])[] = [
    ["250ms", 250_000],
    ["5s", 5_000_000],
    ["1.5s", 1_500_000],
    ["5m", 300_000_000],
    ["1h", 3_600_000_000],
    ["7d", 604_800_000_000],
    ["0s", 0],
    ["10us", 10],
    ["5", null],
    ["5 s", null],
    ["-5s", null],
    ["5S", null],
    ["s", null],
    ["", null],
    ["1h30m", null],
  ];
  for (const [text, us] of cases) assert.equal(parseDurationUs(text), us, text);
});

test("a written duration reads back as the same", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e15 }), (us) => {
      assert.equal(parseDurationUs(formatDuration(us)), us);
    }),
  );
  assert.equal(formatDuration(90_000_000), "90s");
  assert.equal(formatDuration(86_400_000_000), "1d");
});

test("sizes come out in bytes", () => {
  assert.equal(parseSizeBytes("64KiB"), 65_536);
  assert.equal(parseSizeBytes("10GiB"), 10 * 1024 ** 3);
  assert.equal(parseSizeBytes("1.5MB"), 1_500_000);
  assert.equal(parseSizeBytes("512B"), 512);
  for (const wrong of ["64", "64kib", "KiB", "-1B", "1 MiB"])
    assert.equal(parseSizeBytes(wrong), null, wrong);
  assert.deepEqual([0, 512, 1536, 10 * 1024 ** 3].map(formatBytes), ["0 B", "512 B", "1.5 KiB", "10.0 GiB"]);
});

test("a misspelt word finds its neighbour, a strange one none", () => {
  const known = ["bound", "per", "idle", "maxAhead", "lateness"];
  assert.equal(nearest("bond", known), "bound");
  assert.equal(nearest("latness", known), "lateness");
  assert.equal(nearest("maxahead", known), "maxAhead");
  assert.equal(nearest("idel", known), "idle");
  assert.equal(nearest("retention", known), null);
  assert.equal(nearest("x", known), null);
});
