import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createRowProgram } from "../../workers/core/expression.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { FieldType } from "../../workers/messages.ts";
import {
  batchOf,
  type Columns,
  compiled,
  disposeBatch,
  evaluate,
  parsed,
  rowsOf,
  streamOf,
  viewWithin,
} from "../support/expression-fixture.ts";
import { interpret, typeOf, type Value } from "../support/expression-interpreter.ts";

const core = instantiateCore();
const FIELDS = {
  i: "int",
  j: "int",
  f: "float",
  g: "float",
  b: "bool",
  c: "bool",
  s: "string",
  t: "string",
} as const;
const stream = streamOf(FIELDS);
const untyped = streamOf(null);

const int = fc.oneof(
  { weight: 4, arbitrary: fc.bigInt({ min: -20n, max: 20n }) },
  fc.bigInt({ min: -(2n ** 53n) - 4n, max: 2n ** 53n + 4n }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(2n ** 31n, -(2n ** 31n), 2n ** 51n, 2n ** 53n + 1n, -(2n ** 63n), 2n ** 63n - 1n),
);
const float = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -80, max: 80 }).map((n) => n / 4) },
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(0.1, 2 ** 53, -(2 ** 63), 2 ** 63, 1e300, 0.49999999999999994),
);
const text = fc.oneof(
  fc.constantFrom(
    "",
    "a",
    "ab",
    "abc",
    "on",
    "off",
    "Größe",
    "ЖУК",
    "ß",
    "a-long-text-of-more-than-16-bytes",
    "😀",
  ),
  fc.string({ unit: fc.constantFrom("a", "b", "*", "é", "😀"), maxLength: 6 }),
);
const timeUs = fc.oneof(
  fc.bigInt({ min: -4_000_000_000_000_000n, max: 4_000_000_000_000_000n }),
  fc.constantFrom(0n, -1n, 951_782_400_000_000n, 86_399_999_999n),
);

const quoted = (value: string): string => JSON.stringify(value);
const literalInt = int.map((n) => (n < 0n ? `(${n})` : `${n}`));
const literalFloat = float
  .filter((x) => Number.isFinite(x))
  .map((x) => {
    const digits = /[.e]/.test(`${x}`) ? `${x}` : `${x}.0`;
    return x < 0 || Object.is(x, -0) ? `(${digits})` : digits;
  });

/** Well-typed expressions, as they are written. */
const { number, bool, string } = fc.letrec<{ number: string; bool: string; string: string }>((tie) => {
  const n = tie("number");
  const b = tie("bool");
  const s = tie("string");
  const two = (form: (a: string, b: string) => string, a = n, c = n): fc.Arbitrary<string> =>
    fc.tuple(a, c).map(([x, y]) => form(x, y));
  const limit = { depthSize: "medium", withCrossShrink: true } as const;
  return {
    number: fc.oneof(
      limit,
      fc.constantFrom("i", "j", "f", "g", "ts"),
      literalInt,
      literalFloat,
      fc.tuple(n, fc.constantFrom("+", "-", "*", "/", "%"), n).map(([x, op, y]) => `(${x} ${op} ${y})`),
      n.map((x) => `-(${x})`),
      fc
        .tuple(fc.constantFrom("abs", "floor", "ceil", "round", "sqrt", "sign"), n)
        .map(([f, x]) => `${f}(${x})`),
      fc.tuple(fc.constantFrom("min", "max"), n, n, n).map(([f, x, y, z]) => `${f}(${x}, ${y}, ${z})`),
      fc.tuple(n, n, n).map(([x, y, z]) => `clamp(${x}, ${y}, ${z})`),
      s.map((x) => `length(${x})`),
      fc.constantFrom("year()", "month()", "day(ts)", "hour()", "minute(ts)", "second()", "weekday()"),
      fc.tuple(b, n, n).map(([c, x, y]) => `if(${c}, ${x}, ${y})`),
      two((x, y) => `coalesce(${x}, ${y})`),
    ),
    bool: fc.oneof(
      limit,
      fc.constantFrom("b", "c", "true", "false"),
      fc
        .tuple(n, fc.constantFrom("==", "!=", "<", "<=", ">", ">="), n)
        .map(([x, op, y]) => `(${x} ${op} ${y})`),
      fc
        .tuple(s, fc.constantFrom("==", "!=", "<", "<=", ">", ">="), s)
        .map(([x, op, y]) => `(${x} ${op} ${y})`),
      fc
        .tuple(b, fc.constantFrom("&&", "||", "and", "or", "==", "!="), b)
        .map(([x, op, y]) => `(${x} ${op} ${y})`),
      b.map((x) => `(not ${x})`),
      fc.oneof(n, s, b).map((x) => `(${x} is null)`),
      n.map((x) => `(${x} != null)`),
      fc.tuple(n, n, n).map(([x, y, z]) => `(${x} in (${y}, ${z}))`),
      fc
        .tuple(n, fc.array(fc.oneof(literalInt, literalFloat), { minLength: 1, maxLength: 8 }))
        .map(([x, list]) => `(${x} in (${list.join(", ")}))`),
      fc
        .tuple(s, fc.array(text, { minLength: 1, maxLength: 8 }))
        .map(([x, list]) => `(${x} not in [${list.map(quoted).join(", ")}])`),
      fc.tuple(n, n, n).map(([x, y, z]) => `(${x} between ${y} and ${z})`),
      fc
        .tuple(fc.constantFrom("starts_with", "ends_with", "contains"), s, s)
        .map(([f, x, y]) => `${f}(${x}, ${y})`),
      two((x, y) => `(${x} like ${y})`, s, s),
      fc.tuple(b, b, b).map(([c, x, y]) => `if(${c}, ${x}, ${y})`),
      two((x, y) => `coalesce(${x}, ${y})`, b, b),
    ),
    string: fc.oneof(
      limit,
      fc.constantFrom("s", "t"),
      text.map(quoted),
      fc.tuple(fc.constantFrom("lower", "upper"), s).map(([f, x]) => `${f}(${x})`),
      two((x, y) => `concat(${x}, ${y})`, s, s),
      fc.tuple(s, fc.oneof(n, b)).map(([x, y]) => `concat(${x}, ${y})`),
      fc.tuple(b, s, s).map(([c, x, y]) => `if(${c}, ${x}, ${y})`),
      two((x, y) => `coalesce(${x}, ${y})`, s, s),
    ),
  };
});

const VALUES = { int, float, bool: fc.boolean(), string: text } as const;

/** Rows of columns of the given types, some of them without any value. */
function columnsOf(
  fields: Readonly<Record<string, keyof typeof VALUES>>,
  rows: number,
): fc.Arbitrary<Columns> {
  const columns = Object.entries(fields).map(([name, type]) =>
    fc
      .tuple(
        fc.constantFrom(0, 0, 3, 8, 1),
        fc.array(VALUES[type] as fc.Arbitrary<Value>, { minLength: rows, maxLength: rows }),
        fc.array(fc.nat(99), { minLength: rows, maxLength: rows }),
      )
      .map(([nulls, values, chances]) => {
        const isNull = (chance: number): boolean => nulls === 1 || (nulls > 0 && chance % nulls === 0);
        return [
          name,
          { type, values: values.map((value, row) => (isNull(chances[row]!) ? null : value)) },
        ] as const;
      }),
  );
  return fc.tuple(...columns).map((entries) => Object.fromEntries(entries));
}

const batch = (
  fields: Readonly<Record<string, keyof typeof VALUES>>,
): fc.Arbitrary<{ times: bigint[]; columns: Columns }> =>
  fc.integer({ min: 1, max: 40 }).chain((rows) =>
    fc.record({
      times: fc.array(timeUs, { minLength: rows, maxLength: rows }),
      columns: columnsOf(fields, rows),
    }),
  );

/** Repeats rows until there are several chunks and an odd rest. */
function repeat(
  { times, columns }: { times: bigint[]; columns: Columns },
  rows: number,
): { times: bigint[]; columns: Columns } {
  const stretch = <T>(values: readonly T[]): T[] =>
    Array.from({ length: rows }, (_, row) => values[row % values.length]!);
  return {
    times: stretch(times),
    columns: Object.fromEntries(
      Object.entries(columns).map(([name, { type, values }]) => [name, { type, values: stretch(values) }]),
    ),
  };
}

function same(is: Value | undefined, should: Value): boolean {
  return is === should;
}

function check(
  source: string,
  texts: { times: bigint[]; columns: Columns },
  where: string,
  isTyped: boolean,
): void {
  const program = createRowProgram(
    core,
    compiled({ where, derive: { result: source } }, isTyped ? stream : untyped),
  );
  const handle = batchOf(core, texts.times, texts.columns);
  const seen = viewWithin(core, program, handle);
  const trees = { source: parsed(source).tree, where: parsed(where).tree };
  rowsOf(texts.times, texts.columns).forEach((row, index) => {
    const isFloat = typeOf(trees.source, row.types) === "float";
    const raw = interpret(trees.source, row);
    const should = isFloat && typeof raw === "bigint" ? Number(raw) : raw;
    const is = seen.columns.get("result")?.[index];
    assert.ok(
      same(is, should),
      `row ${index} of ${source}: ${is} (${typeof is}) instead of ${should} (${typeof should})`,
    );
    assert.equal(
      seen.isDropped[index],
      interpret(trees.where, row) !== true,
      `row ${index} of where ${where}`,
    );
  });
  disposeBatch(core, handle);
  program.dispose();
}

const runs = Number(process.env.MILLRACE_EXPRESSION_RUNS ?? 400);

test("expressions over batches equal the interpreter row by row", () => {
  fc.assert(
    fc.property(fc.oneof(number, bool, string), bool, batch(FIELDS), (source, where, rows) =>
      check(source, rows, where, true),
    ),
    { numRuns: runs },
  );
});

test("a value of a wrong kind is null, and the rest goes on", () => {
  const kinds = fc.record(
    Object.fromEntries(
      Object.keys(FIELDS).map((name) => [name, fc.constantFrom("int", "float", "bool", "string")] as const),
    ),
  ) as fc.Arbitrary<Record<string, FieldType>>;
  const mistyped = kinds.chain((fields) => batch(fields));
  fc.assert(
    fc.property(fc.oneof(number, bool, string), bool, mistyped, (source, where, rows) =>
      check(source, rows, where, false),
    ),
    { numRuns: runs },
  );
});

test("exp, ln, log10 and pow are within a few units of the last place of the platform's own", () => {
  const calls = fc.constantFrom(
    "exp(f / 16)",
    "ln(f)",
    "log10(f)",
    "pow(f, g / 8)",
    "exp(i)",
    "ln(i)",
    "log10(j)",
    "pow(i, j)",
  );
  fc.assert(
    fc.property(calls, batch(FIELDS), (source, { times, columns }) => {
      const { tree } = parsed(source);
      const answers = evaluate(core, source, stream, times, columns);
      rowsOf(times, columns).forEach((row, index) => {
        const is = answers[index];
        const should = interpret(tree, row);
        if (typeof is !== "number" || typeof should !== "number") assert.equal(is, should);
        else
          assert.ok(
            Math.abs(is - should) <= Math.abs(should) * 1e-14 + Number.MIN_VALUE,
            `${source}: ${is} instead of ${should}`,
          );
      });
    }),
    { numRuns: runs / 4 },
  );
});

test("several chunks and an odd rest change nothing", () => {
  fc.assert(
    fc.property(
      fc.oneof(number, bool, string),
      bool,
      batch(FIELDS),
      fc.constantFrom(1_023, 1_024, 1_025, 1_040, 2_050),
      (source, where, rows, length) => check(source, repeat(rows, length), where, true),
    ),
    { numRuns: runs / 80 },
  );
});
