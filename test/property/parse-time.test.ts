import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { TimeUnit } from "../../workers/messages.ts";
import { parseBody } from "../unit/parse-support.ts";

const RUNS = 200;
const MIN_MS = Date.parse("0001-01-01T00:00:00Z");
const MAX_MS = Date.parse("9999-12-31T23:59:59.999Z");
const MIN_US = BigInt(MIN_MS) * 1000n;
const MAX_US = BigInt(MAX_MS) * 1000n + 999n;

/** The times (µs) of events with these texts as `ts`, null where they are refused. */
function readTimes(texts: readonly string[], unit: TimeUnit = "auto"): (bigint | null)[] {
  const body = texts.map((text) => `{"ts":${text},"n":1}`).join("\n");
  const { rows, errors } = parseBody("ndjson", body, {
    time: { fields: ["ts"], unit },
    maxAheadUs: Number.MAX_SAFE_INTEGER,
  });
  const bad = new Set(errors.map(({ line }) => line));
  for (const { code, path } of errors) assert.deepEqual([code, path], ["E_TIME", "ts"]);
  let row = 0;
  return texts.map((_, index) => (bad.has(index + 1) ? null : rows[row++]!.timeUs));
}

const instants = fc.integer({ min: MIN_MS, max: MAX_MS });
const pad = (value: number, width = 2): string => String(value).padStart(width, "0");

test("ISO 8601 as Date writes it", () => {
  fc.assert(
    fc.property(fc.array(instants, { minLength: 20, maxLength: 20 }), (all) => {
      const texts = all.map((ms) => new Date(ms).toISOString());
      const expected = all.map((ms) => BigInt(ms) * 1000n);
      assert.deepEqual(readTimes(texts.map((text) => `"${text}"`)), expected);
      assert.deepEqual(readTimes(texts.map((text) => `"${text.replace("T", " ").slice(0, -1)}"`)), expected);
    }),
    { numRuns: RUNS },
  );
});

test("ISO 8601 in parts, good or not, as Date.parse takes it", () => {
  const parts = fc.record({
    year: fc.oneof(fc.integer({ min: 0, max: 9999 }), fc.integer({ min: 1970, max: 2030 })),
    month: fc.integer({ min: 0, max: 13 }),
    day: fc.integer({ min: 0, max: 32 }),
    hour: fc.integer({ min: 0, max: 25 }),
    minute: fc.integer({ min: 0, max: 60 }),
    second: fc.option(fc.integer({ min: 0, max: 59 })),
    fraction: fc.option(fc.stringMatching(/^[0-9]{1,9}$/)),
    offset: fc.option(
      fc.tuple(fc.constantFrom("+", "-"), fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 })),
    ),
  });
  fc.assert(
    fc.property(fc.array(parts, { minLength: 20, maxLength: 20 }), (all) => {
      const texts = all.map(({ year, month, day, hour, minute, second, fraction, offset }) => {
        const seconds = second === null ? "" : `:${pad(second)}${fraction === null ? "" : `.${fraction}`}`;
        const zone = offset === null ? "Z" : `${offset[0]}${pad(offset[1])}:${pad(offset[2])}`;
        return `${pad(year, 4)}-${pad(month)}-${pad(day)}T${pad(hour)}:${pad(minute)}${seconds}${zone}`;
      });
      const expected = texts.map((text, index) => {
        const { month, day, year, second, fraction } = all[index]!;
        // Date.parse lets 31 February be 3 March.
        if (day > new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate()) return null;
        const ms = Date.parse(text.replace(/\.\d+/, ""));
        if (Number.isNaN(ms)) return null;
        // 24:00 takes no fraction.
        if (text.includes("T24") && Number(fraction?.slice(0, 6) ?? 0) !== 0 && second !== null) return null;
        const us =
          BigInt(ms) * 1000n +
          BigInt(second === null || fraction === null ? 0 : fraction.slice(0, 6).padEnd(6, "0"));
        return us < MIN_US || us > MAX_US ? null : us;
      });
      assert.deepEqual(readTimes(texts.map((text) => `"${text}"`)), expected);
    }),
    { numRuns: RUNS },
  );
});

const SCALES: readonly (readonly [TimeUnit, bigint, bigint])[] = [
  ["s", 1_000_000n, 1n],
  ["ms", 1_000n, 1n],
  ["us", 1n, 1n],
  ["ns", 1n, 1_000n],
];

function floorDivide(a: bigint, b: bigint): bigint {
  return a / b - (a % b < 0n ? 1n : 0n);
}

test("numbers of a unit, with fractions kept to the µs", () => {
  const numbers = fc.tuple(
    fc.bigInt({ min: -(10n ** 19n), max: 10n ** 19n }),
    fc.integer({ min: 0, max: 9 }),
  );
  fc.assert(
    fc.property(
      fc.array(numbers, { minLength: 20, maxLength: 20 }),
      fc.constantFrom(...SCALES),
      (all, [unit, times, over]) => {
        const texts = all.map(([value, decimals]) => {
          const digits = String(value < 0n ? -value : value).padStart(decimals + 1, "0");
          const split = digits.length - decimals;
          return `${value < 0n ? "-" : ""}${digits.slice(0, split)}${decimals === 0 ? "" : `.${digits.slice(split)}`}`;
        });
        const expected = all.map(([value, decimals]) => {
          const us = floorDivide(value * times, over * 10n ** BigInt(decimals));
          return us < MIN_US || us > MAX_US ? null : us;
        });
        assert.deepEqual(readTimes(texts, unit), expected);
        assert.deepEqual(
          readTimes(
            texts.map((text) => `"${text}"`),
            unit,
          ),
          expected,
        );
      },
    ),
    { numRuns: RUNS },
  );
});

test("the unit is told by magnitude", () => {
  assert.deepEqual(
    readTimes([
      "1700000000",
      "1700000000.5",
      "99999999999",
      "100000000000",
      "1700000000123",
      "1700000000123.4567",
      "1700000000123456",
      "1700000000123456789",
      "-1700000000",
      "0",
      "1.7e9",
      "17e8",
      "1.7e12",
      "1e300",
    ]),
    [
      1_700_000_000_000_000n,
      1_700_000_000_500_000n,
      99_999_999_999_000_000n,
      100_000_000_000_000n,
      1_700_000_000_123_000n,
      1_700_000_000_123_456n,
      1_700_000_000_123_456n,
      1_700_000_000_123_456n,
      -1_700_000_000_000_000n,
      0n,
      1_700_000_000_000_000n,
      1_700_000_000_000_000n,
      1_700_000_000_000_000n,
      null,
    ],
  );
});

test("other forms of ISO 8601", () => {
  const forms: [string, string | null][] = [
    ["2024-02-29", "2024-02-29T00:00:00Z"],
    ["2023-02-29", null],
    ["2024-06-30T23:59:60Z", "2024-07-01T00:00:00Z"],
    ["2024-06-30T24:00:00Z", "2024-07-01T00:00:00Z"],
    ["2024-06-30T23:59:61Z", null],
    ["2024-01-01t10:00z", "2024-01-01T10:00:00Z"],
    ["2024-01-01T10:00+0530", "2024-01-01T04:30:00Z"],
    ["2024-01-01T10:00-05", "2024-01-01T15:00:00Z"],
    ["2024-01-01T10:00:00,25Z", "2024-01-01T10:00:00.250Z"],
    ["2024-01-01T10:00:00.", null],
    ["2024-01-01T10:00:00.1234567891Z", null],
    ["2024-01-01T10", null],
    ["2024-01-01T10:0", null],
    ["2024-01-01T10:00:0", null],
    ["2024-01-01T10:00:00+1", null],
    ["2024-01-01T10:00:00 Z", null],
    ["2024-1-01", null],
    ["2024-01-01T", null],
    ["24-01-01", null],
    ["0001-01-01T00:00:00+00:01", null],
    ["0000-12-31", null],
    ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"],
    ["9999-12-31T23:59:60Z", null],
    ["yesterday", null],
    ["", null],
  ];
  const expected = forms.map(([, iso]) => (iso === null ? null : BigInt(Date.parse(iso)) * 1000n));
  assert.deepEqual(readTimes(forms.map(([text]) => JSON.stringify(text))), expected);
});

test("what is no time is refused", () => {
  assert.deepEqual(
    readTimes(["true", "[1]", "{}", '{"a":1}', '"1 "', '"0x10"', '"NaN"']),
    Array(7).fill(null),
  );
  assert.deepEqual(readTimes(["1700000000", '"1700000000"', '"2024-01-01"'], "iso"), [
    null,
    null,
    1_704_067_200_000_000n,
  ]);
});
