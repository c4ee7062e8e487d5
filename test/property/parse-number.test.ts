import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseBody } from "../unit/parse-support.ts";

const RUNS = 200;
const bits = new DataView(new ArrayBuffer(8));

function doubleOf(pattern: bigint): number {
  bits.setBigUint64(0, pattern);
  return bits.getFloat64(0);
}

/** Any finite double, by its bits, so that all exponents are as likely. */
const doubles = fc
  .bigInt({ min: 0n, max: 2n ** 64n - 1n })
  .map(doubleOf)
  .filter(Number.isFinite);

/** Checks that each text is read as the double that `Number` gives, in a column of floats. */
function assertReadsAlike(texts: readonly string[]): void {
  const lines = ["0.5", ...texts].map((text) => `{"x":${text}}`);
  const { rows, errors } = parseBody("ndjson", lines.join("\n"));
  assert.deepEqual(errors, []);
  texts.forEach((text, index) => {
    const value = rows[index + 1]!.values.get("x");
    assert.ok(Object.is(value, Number(text)), `${text} was read as ${value}`);
  });
}

/** The exact decimal expansion of half the sum of a double and the next greater one. */
function midpointAbove(value: number): string {
  bits.setFloat64(0, value);
  const pattern = bits.getBigUint64(0);
  const biased = Number(pattern >> 52n);
  const fraction = pattern & (2n ** 52n - 1n);
  const mantissa = 2n * (biased === 0 ? fraction : fraction + 2n ** 52n) + 1n;
  const exponent = (biased === 0 ? -1074 : biased - 1075) - 1;
  if (exponent >= 0) return String(mantissa << BigInt(exponent));
  const digits = String(mantissa * 5n ** BigInt(-exponent)).padStart(-exponent + 1, "0");
  return `${digits.slice(0, exponent)}.${digits.slice(exponent)}`;
}

test("shortest texts of doubles", () => {
  fc.assert(
    fc.property(fc.array(doubles, { minLength: 50, maxLength: 50 }), (values) => {
      assertReadsAlike(values.map((value) => (Object.is(value, -0) ? "-0" : String(value))));
      assertReadsAlike(values.map((value) => value.toExponential()));
    }),
    { numRuns: RUNS },
  );
});

test("texts of doubles with more digits than needed, and with fewer", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(doubles, fc.integer({ min: 1, max: 100 })), { minLength: 20, maxLength: 20 }),
      (cases) => {
        // Rounded up to fewer digits, the greatest doubles are none any more.
        const texts = cases.map(([value, digits]) => value.toPrecision(digits));
        assertReadsAlike(texts.filter((text) => Number.isFinite(Number(text))));
      },
    ),
    { numRuns: RUNS },
  );
});

test("points half-way between two doubles, and just beside them", () => {
  const positive = fc.bigInt({ min: 0n, max: 0x7feffffffffffffen }).map(doubleOf);
  fc.assert(
    fc.property(fc.array(positive, { minLength: 5, maxLength: 5 }), (values) =>
      assertReadsAlike(
        values.flatMap((value) => {
          const exact = midpointAbove(value);
          const point = exact.includes(".") ? exact : `${exact}.0`;
          const below = exact.replace(/[1-9](?=[0.]*$)/, (digit) => String(Number(digit) - 1));
          return [
            exact,
            `${point}1`,
            `${point}${"0".repeat(900)}1`,
            `${below}${below.includes(".") ? "" : "."}9`,
            `-${exact}`,
          ];
        }),
      ),
    ),
    { numRuns: RUNS },
  );
});

test("any digits and exponents", () => {
  const texts = fc.stringMatching(/^-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?$/);
  fc.assert(
    fc.property(fc.array(texts, { minLength: 30, maxLength: 30 }), (all) =>
      assertReadsAlike(all.filter((text) => Number.isFinite(Number(text)))),
    ),
    { numRuns: RUNS },
  );
});

test("integers are exact within 64 bits, and doubles beyond", () => {
  const integers = fc.oneof(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc
      .tuple(fc.integer({ min: 0, max: 62 }), fc.integer({ min: -2, max: 2 }))
      .map(([power, off]) => 2n ** BigInt(power) + BigInt(off)),
    fc
      .tuple(fc.integer({ min: 0, max: 18 }), fc.integer({ min: -2, max: 2 }))
      .map(([power, off]) => 10n ** BigInt(power) + BigInt(off)),
  );
  fc.assert(
    fc.property(fc.array(integers, { minLength: 20, maxLength: 20 }), (values) => {
      const { rows, schema } = parseBody("ndjson", values.map((value) => `{"x":${value}}`).join("\n"));
      assert.deepEqual(schema, [{ name: "x", type: "int" }]);
      assert.deepEqual(
        rows.map((row) => BigInt(row.values.get("x") as number)),
        values,
      );
    }),
    { numRuns: RUNS },
  );
  assertReadsAlike([
    String(2n ** 63n),
    String(-(2n ** 63n) - 1n),
    "9".repeat(19),
    "9".repeat(20),
    "1".repeat(300),
  ]);
});

test("the numbers that parsers got wrong before", () => {
  assertReadsAlike([
    "2.2250738585072011e-308",
    "2.2250738585072012e-308",
    "2.2250738585072014e-308",
    "4.9406564584124654e-324",
    "2.4703282292062327e-324",
    "2.4703282292062328e-324",
    "2.47e-324",
    "1.7976931348623157e308",
    "1.797693134862315807e308",
    "9007199254740993",
    "9007199254740993.0",
    "9007199254740992.9999",
    "0.1",
    "0.500000000000000166533453693773481063544750213623046875",
    "3.518437208883201171875e13",
    "62.5364939768271845828",
    "8.10109172351e-10",
    "1.50000000000000011102230246251565",
    "9007199254740991.4999999999999999999999999999999995",
    "30078505129381147446200",
    "1777820000000000000001",
    "0.00000000000000000000000000000000000000000000000000000000000000000000000000000000001e83",
    `0.${"0".repeat(400)}1`,
    `1${"0".repeat(308)}`,
    `${"1".repeat(400)}e-300`,
    `0.${"3".repeat(2000)}`,
    `1.${"0".repeat(2000)}1`,
    "0e999999999999999999999",
    "0.0e-999999999999999999999",
    "1e-999999999999999999999",
    "-0",
    "-0.0",
    "-0e5",
    "0.000e400",
    "1e22",
    "1e23",
    "123456789012345",
    "12345678.1234567",
    "1234567.12345678",
    "12345678901234567890123e-10",
  ]);
});

test("numbers beyond the doubles are refused", () => {
  const texts = [
    "1e309",
    "-1e309",
    "1.797693134862315808e308",
    "1".repeat(310),
    "123e999999999999999999",
    `1${"0".repeat(309)}.5`,
  ];
  for (const text of texts) {
    const { errors } = parseBody("ndjson", `{"y":1}\n{"x":${text}}\n{"x":[${text}]}`);
    assert.deepEqual(
      errors.map(({ code, line }) => [code, line]),
      [
        ["E_NUMBER", 2],
        ["E_NUMBER", 3],
      ],
    );
  }
});
