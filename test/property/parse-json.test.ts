import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseBody, toBytes } from "../unit/parse-support.ts";
import { assertAgrees, damage, damages } from "./parse-oracle.ts";

const RUNS = 300;

/** Few keys, so that lines resemble each other; none has a dot, which would make paths ambiguous. */
const keys = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom(
      "device",
      "temp",
      "rpm",
      "a",
      "b",
      "c",
      "a rather long key of a field",
      "é",
      "",
    ),
  },
  {
    weight: 1,
    arbitrary: fc.string({ unit: "grapheme", maxLength: 40 }).map((text) => text.replaceAll(".", "")),
  },
);
const numbers = fc.oneof(
  fc.integer().map(String),
  fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }).map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.stringMatching(/^-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?$/),
  fc.tuple(fc.integer({ min: -99, max: 99 }), fc.integer({ min: 0, max: 99 })).map(([a, b]) => `${a}.${b}`),
);
const strings = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.constantFrom(
    "m1",
    "m00042",
    "true",
    "12",
    "a string of exactly",
    "sixteen bytes ok",
    "one of more than sixteen bytes",
  ),
);
/** A string as JSON, some characters as escapes though they need none. */
const stringLiterals = fc.tuple(strings, fc.boolean()).map(([text, isEscaped]) => {
  const json = JSON.stringify(text);
  if (!isEscaped) return json;
  return `"${[...text].map((character) => escapeUnits(character)).join("")}"`;
});
const scalars = fc.oneof(numbers, stringLiterals, fc.constantFrom("true", "false", "null"));
const spaces = fc.constantFrom("", "", "", "", " ", "\t", " \r ");

function escapeUnits(character: string): string {
  return Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`,
  ).join("");
}

const { object: objects } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    { weight: 6, arbitrary: scalars },
    tie("object"),
    tie("array"),
  ),
  array: fc
    .tuple(spaces, fc.array(tie("value"), { maxLength: 4 }))
    .map(([space, items]) => `[${space}${items.join(`${space},`)}${space}]`),
  object: fc
    .tuple(
      spaces,
      fc.array(
        fc.tuple(
          keys.map((key) => JSON.stringify(key)),
          tie("value"),
        ),
        { maxLength: 7 },
      ),
    )
    .map(
      ([space, members]) =>
        `{${space}${members.map(([key, value]) => `${space}${key}${space}:${space}${value}${space}`).join(",")}}`,
    ),
}));

function isLine(bytes: Uint8Array): boolean {
  return !bytes.includes(0x0a) && new TextDecoder("latin1").decode(bytes).trim() !== "" && bytes[0] !== 0xef;
}

test("lines give the values that JSON.parse gives", () => {
  fc.assert(
    fc.property(fc.array(objects, { minLength: 1, maxLength: 6 }), fc.boolean(), (lines, isRepeated) => {
      const all = isRepeated ? [...lines, ...lines, ...lines] : lines;
      assertAgrees(parseBody("ndjson", all.join("\n")), all.map(toBytes));
    }),
    { numRuns: RUNS },
  );
});

test("exactly the damaged lines that JSON.parse refuses are refused, and the others keep their values", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(objects, fc.option(damages)), { minLength: 1, maxLength: 6 }), (cases) => {
      const lines = cases
        .map(([text, steps]) => (steps === null ? toBytes(text) : damage(toBytes(text), steps)))
        .filter(isLine);
      const body = Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")]));
      assertAgrees(parseBody("ndjson", body), lines);
    }),
    { numRuns: RUNS },
  );
});

test("the elements of an array give the values that JSON.parse gives", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 5, arbitrary: objects }, scalars), { minLength: 1, maxLength: 6 }),
      fc.constantFrom("", " ", "\n", "\r\n\t"),
      (elements, space) => {
        const document = `${space}[${space}${elements.join(`${space},${space}`)}${space}]${space}`;
        // JSON's numbers may be too great in an element, which is then bad by itself.
        assertAgrees(parseBody("json", document), elements.map(toBytes));
      },
    ),
    { numRuns: RUNS },
  );
});

test("a damaged document is refused whole when JSON.parse refuses it", () => {
  fc.assert(
    fc.property(fc.array(objects, { minLength: 1, maxLength: 4 }), damages, (elements, steps) => {
      const bytes = damage(toBytes(`[${elements.join(",")}]`), steps);
      const isRefused = isMalformed(bytes);
      if (bytes[0] === 0xef || new TextDecoder("latin1").decode(bytes).trim() === "") return;
      const { accepted, bad, errors } = parseBody("json", bytes);
      const isRefusedWhole = bad === 1 && accepted === 0 && /^E_(JSON|UTF8)$/.test(errors[0]!.code);
      assert.equal(isRefusedWhole, isRefused);
    }),
    { numRuns: RUNS },
  );
});

function isMalformed(bytes: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
    return false;
  } catch {
    return true;
  }
}

test("any bytes are parsed without a fault of the parser", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300, size: "max" }),
    fc
      .array(
        fc.constantFrom(
          '{"',
          '":',
          ',"',
          "}",
          "[",
          "]",
          '"',
          "\\",
          "\\u",
          "d83d",
          "1",
          "-",
          ".",
          "e",
          "\n",
          "\r",
          " ",
          "null",
          "true",
          '{"a":1}',
          '{"a":"x"}',
          "é",
          "\0",
          ",",
        ),
        { maxLength: 60, size: "max" },
      )
      .map((parts) => toBytes(parts.join(""))),
  );
  fc.assert(
    fc.property(
      bytes,
      fc.constantFrom("ndjson" as const, "json" as const, "csv" as const),
      (body, format) => {
        const { accepted, bad, errors, rows } = parseBody(format, body, {
          time: { fields: ["a"] },
          key: ["a", "b"],
        });
        assert.equal(rows.length, accepted);
        assert.equal(errors.length, bad);
        for (const { code, message } of errors) assert.ok(code.startsWith("E_") && message.length > 10);
      },
    ),
    { numRuns: RUNS * 3 },
  );
});
