import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createParser, type ParseOutcome } from "../../workers/core/parse.ts";
import {
  ARRIVAL_US,
  core,
  makePlan,
  type PlanOverrides,
  parseBody,
  type Row,
  readRows,
  toBytes,
} from "../unit/parse-support.ts";
import { assertAgrees, damage, damages } from "./parse-oracle.ts";

/**
 * Rows that resemble each other are read together, column by column. Here are bodies of many such rows, longer than what is read
 * at once, with all that may end a run among them.
 */
const RUNS = 60;

type Kind = "int" | "longInt" | "decimal" | "longDecimal" | "bool" | "text" | "oddText" | "any";
interface Field {
  readonly path: readonly string[];
  readonly kind: Kind;
}

/** Of every length that matters: a key has room in one block or in two, or is too long for both. */
const KEY_LENGTHS = [1, 2, 3, 7, 8, 11, 12, 13, 14, 15, 16, 17, 20, 28, 29, 30, 31, 40];
const keys = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("device", "ts", "temp", "rpm", "on", "a", "b", "é", "") },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom(...KEY_LENGTHS), fc.constantFrom("x", "y"), fc.constantFrom("", "1", "2"))
      .map(([length, letter, end]) => `${letter.repeat(length)}${end}`),
  },
);

const texts: Record<"text" | "oddText", fc.Arbitrary<string>> = {
  text: fc.oneof(
    fc.constantFrom(
      "m1",
      "m00042",
      "",
      "x".repeat(14),
      "x".repeat(15),
      "x".repeat(16),
      "x".repeat(17),
      "Köln",
    ),
    fc.integer({ min: 0, max: 99_999 }).map((n) => `m${n}`),
  ),
  oddText: fc.oneof(
    fc.constantFrom(
      '{"a":1}',
      '","',
      "\\",
      '\\"',
      '"',
      ":",
      "}\n{",
      "\u0000",
      "tab\t",
      "日本",
      "\ud83d\ude00",
    ),
    fc.string({ maxLength: 20 }),
    fc.string({ unit: "grapheme", maxLength: 20 }),
  ),
};
const scalars: Record<Kind, fc.Arbitrary<string>> = {
  int: fc.integer({ min: -9_999, max: 99_999 }).map(String),
  longInt: fc.oneof(
    fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }).map(String),
    fc.stringMatching(/^-?[1-9][0-9]{0,20}$/),
  ),
  decimal: fc.tuple(fc.integer({ min: -999, max: 999 }), fc.nat(9_999)).map(([a, b]) => `${a}.${b}`),
  longDecimal: fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
    fc.stringMatching(/^-?(0|[1-9][0-9]{0,16})\.[0-9]{1,16}$/),
  ),
  bool: fc.constantFrom("true", "false"),
  text: texts.text.map((text) => JSON.stringify(text)),
  oddText: texts.oddText.map((text) => JSON.stringify(text)),
  any: fc.constantFrom(
    ...'0 -0 1e3 -1.5E-2 1e999 01 -01 00.5 .5 5. - + 1.2.3 -1.-2 1e 0x1 tru true1 nul null NaN [] [1,2] {} {"z":1} "x" "'.split(
      " ",
    ),
    '"a\\u0041"',
    '"\\ud800"',
  ),
};
const kinds = fc.constantFrom<Kind>("int", "longInt", "decimal", "longDecimal", "bool", "text", "oddText");

/** Some at the top, some in an object, some in an object within it. */
const fields: fc.Arbitrary<Field[]> = fc
  .uniqueArray(
    fc.record({
      path: fc
        .tuple(fc.constantFrom([], [], [], ["in"], ["in", "deep"]), keys)
        .map(([to, key]) => [...to, key]),
      kind: kinds,
    }),
    { minLength: 1, maxLength: 8, selector: ({ path }) => path.join(".") },
  )
  .map((all) => all.filter(({ path }) => path[0] !== "in" || path.length > 1));

interface Style {
  readonly afterColon: string;
  readonly afterComma: string;
  readonly around: string;
  readonly end: string;
}
const styles: fc.Arbitrary<Style> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ afterColon: "", afterComma: "", around: "", end: "" }) },
  { weight: 3, arbitrary: fc.constant({ afterColon: " ", afterComma: " ", around: "", end: "" }) },
  {
    weight: 1,
    arbitrary: fc.record({
      afterColon: fc.constantFrom("", " ", "  ", "\t"),
      afterComma: fc.constantFrom("", " ", "\t "),
      around: fc.constantFrom("", " ", "\r"),
      end: fc.constantFrom("", " ", "\r", " \t\r"),
    }),
  },
);

/** What happens to a line: mostly nothing, or what ends a run. */
type Fate = "none" | "gaps" | "null" | "odd" | "twice" | "more" | "moved" | "damage" | "blank" | "else";
const fates = fc.oneof(
  { weight: 40, arbitrary: fc.constant<Fate>("none") },
  { weight: 6, arbitrary: fc.constantFrom<Fate>("gaps", "null") },
  { weight: 2, arbitrary: fc.constantFrom<Fate>("odd", "twice", "more", "moved", "damage", "blank", "else") },
);

function write(members: readonly (readonly [readonly string[], string])[], style: Style): string {
  const parts: string[] = [];
  const written = new Set<string>();
  for (const [path, value] of members) {
    const [key = "", ...rest] = path;
    if (rest.length === 0) {
      parts.push(`${JSON.stringify(key)}:${style.afterColon}${value}`);
    } else if (!written.has(key)) {
      written.add(key);
      const inner = members.filter(([other]) => other[0] === key && other.length > 1);
      const object = write(
        inner.map(([other, text]) => [other.slice(1), text] as const),
        { ...style, end: "" },
      );
      parts.push(`${JSON.stringify(key)}:${style.afterColon}${object}`);
    }
  }
  return `{${style.around}${parts.join(`,${style.afterComma}`)}${style.around}}${style.end}`;
}

function elsewhere(path: readonly string[]): string[] {
  const key = path.slice(-1);
  return path.length === 1 ? ["in", ...key] : key;
}

const lineOf = (all: readonly Field[], common: Style): fc.Arbitrary<Uint8Array> =>
  fc
    .record({
      order: fc.shuffledSubarray([...all], { minLength: all.length }),
      values: fc.tuple(...all.map(({ kind }) => scalars[kind])),
      fate: fates,
      place: fc.nat(all.length - 1),
      odd: scalars.any,
      style: fc.oneof({ weight: 30, arbitrary: fc.constant(common) }, { weight: 1, arbitrary: styles }),
      gaps: fc.array(fc.boolean(), { minLength: all.length, maxLength: all.length }),
      steps: damages,
    })
    .map(({ order, values, fate, place, odd, style, gaps, steps }) => {
      if (fate === "blank") return toBytes(style.end);
      if (fate === "else") return toBytes(odd);
      let members = order.map((field, index) => {
        const value =
          index !== place
            ? values[all.indexOf(field)]!
            : fate === "null"
              ? "null"
              : fate === "odd"
                ? odd
                : values[all.indexOf(field)]!;
        return [field.path, value] as const;
      });
      if (fate === "gaps") members = members.filter((_, index) => gaps[index]);
      if (fate === "twice") members = [...members, [order[place]!.path, odd] as const];
      if (fate === "more") members = [...members, [["more"], odd] as const];
      // A known key where it is not known.
      if (fate === "moved")
        members = members.map(
          ([path, value], index) => [index === place ? elsewhere(path) : path, value] as const,
        );
      const line = toBytes(write(members, style));
      return fate === "damage" ? damage(line, steps) : line;
    });

const bodies: fc.Arbitrary<Uint8Array[]> = fc
  .tuple(fields, styles)
  .filter(([all]) => all.length > 0)
  .chain(([all, style]) => fc.array(lineOf(all, style), { minLength: 20, maxLength: 400, size: "max" }));

function isOneLine(bytes: Uint8Array): boolean {
  return !bytes.includes(0x0a);
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

test("rows read together give the values that JSON.parse gives", () => {
  fc.assert(
    fc.property(bodies, fc.boolean(), (all, endsWithFeed) => {
      // Blank lines are no events, and are numbered all the same: another test has them.
      const lines = all.filter((line) => isOneLine(line) && !isBlank(line) && line[0] !== 0xef);
      const body = Buffer.concat(
        lines.flatMap((line, index) =>
          index === lines.length - 1 && !endsWithFeed ? [line] : [line, Buffer.from("\n")],
        ),
      );
      assertAgrees(parseBody("ndjson", body), lines);
    }),
    { numRuns: RUNS },
  );
});

interface Read extends ParseOutcome {
  readonly rows: readonly Row[];
  readonly timeSources: readonly (string | null)[];
}

/** Readers of columns pass over validity where a column says that it has no nulls. */
function assertNullsCounted(batch: number, rows: readonly Row[]): void {
  const { batchColumn, batchColumnCount } = core.exports as unknown as Record<
    string,
    (...args: number[]) => number
  >;
  for (let index = 0; index < batchColumnCount!(batch); index++) {
    const [, , name, length, , , filled, nulls] = new Uint32Array(
      core.memory.buffer,
      batchColumn!(batch, index) >>> 0,
      8,
    );
    const text = new TextDecoder().decode(new Uint8Array(core.memory.buffer, name!, length!));
    assert.equal(filled, rows.length);
    assert.equal(nulls, rows.filter(({ values }) => !values.has(text)).length, text);
  }
}

function read(body: Uint8Array, plan: PlanOverrides): Read {
  const parser = createParser(core, makePlan(plan));
  try {
    parser.begin(ARRIVAL_US);
    const outcome = parser.parse("ndjson", body);
    const rows = readRows(parser);
    assertNullsCounted(parser.finish(), rows);
    return { ...outcome, timeSources: parser.timeSources(), rows };
  } finally {
    parser.dispose();
  }
}

const times = fc.oneof(
  fc.integer({ min: 1_690_000_000, max: 1_710_000_000 }).map(String),
  fc.integer({ min: 1_690_000_000_000, max: 1_710_000_000_000 }).map(String),
  fc.bigInt({ min: 1_690_000_000_000_000n, max: 1_710_000_000_000_000n }).map(String),
  fc.bigInt({ min: 1_690_000_000_000_000_000n, max: 1_710_000_000_000_000_000n }).map(String),
  fc
    .integer({ min: 1_699_990_000_000, max: 1_700_010_000_000 })
    .map((ms) => `"${new Date(ms).toISOString()}"`),
  fc
    .tuple(
      fc.integer({ min: 1_699_999, max: 1_700_001 }),
      fc.stringMatching(/^(\.[0-9]{1,9})?(Z|z|\+01:00|-0230)?$/),
    )
    .map(([kiloSeconds, end]) => `"${new Date(kiloSeconds * 1_000_000).toISOString().slice(0, 19)}${end}"`),
  fc.stringMatching(/^"20[0-3][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,7})?Z"$/),
  fc.constantFrom("null", "true", '"x"', "-5", "1.5e12", '""', '"0000-01-01T00:00:00Z"', '"2023-11-14"', "0"),
);

const plans: fc.Arbitrary<PlanOverrides> = fc.record({
  key: fc.constant(["device", "id"]),
  isKeyDeclared: fc.boolean(),
  time: fc.record({
    fields: fc.constant(["ts", "time"]),
    isDeclared: fc.boolean(),
    unit: fc.constantFrom("auto", "auto", "iso", "s", "ms", "us", "ns"),
  }),
  fields: fc.constant([
    { name: "device", type: "string" },
    { name: "temp", type: "float" },
    { name: "rpm", type: "int" },
    { name: "on", type: "bool" },
    { name: "in.x", type: "int" },
  ]),
  extra: fc.constantFrom("keep", "drop", "reject"),
  maxAheadUs: fc.constantFrom(0, 300_000_000, 10_000_000_000),
});

const timedLine: fc.Arbitrary<string> = fc
  .tuple(
    fc.record({
      ts: times,
      device: fc.oneof({ weight: 20, arbitrary: scalars.text }, { weight: 1, arbitrary: scalars.any }),
      temp: fc.oneof({ weight: 20, arbitrary: scalars.decimal }, { weight: 1, arbitrary: scalars.any }),
      rpm: fc.oneof({ weight: 20, arbitrary: scalars.int }, { weight: 1, arbitrary: scalars.any }),
      on: fc.oneof({ weight: 20, arbitrary: scalars.bool }, { weight: 1, arbitrary: scalars.any }),
    }),
    fc.oneof(
      { weight: 20, arbitrary: fc.constant<readonly string[]>([]) },
      { weight: 1, arbitrary: fc.subarray(["ts", "device", "temp", "on"]) },
    ),
    fc.oneof(
      { weight: 20, arbitrary: fc.constant("") },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          '"time":1700000000000',
          '"id":"x"',
          '"in":{"x":1}',
          '"in":{"y":1}',
          '"on":true',
        ),
      },
    ),
    fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 5 }),
  )
  .map(([values, gaps, more, order]) => {
    const members = Object.entries(values)
      .filter(([name]) => !gaps.includes(name))
      .map(([name, value]) => `"${name}":${value}`);
    const sorted = order.flatMap((place) => members[place] ?? []);
    return `{${(more === "" ? sorted : [...sorted, more]).join(",")}}`;
  });

test("rows read together are as each read alone: times, flags, extra members, faults", () => {
  fc.assert(
    fc.property(fc.array(timedLine, { minLength: 5, maxLength: 250, size: "max" }), plans, (lines, plan) => {
      const together = read(toBytes(lines.join("\n")), plan);
      // A parser that has not seen a key before reads by the full reader.
      const alone = lines.map((line) => read(toBytes(line), plan));
      assert.deepEqual(
        together.errors,
        alone.flatMap(({ errors }, index) => errors.map((error) => ({ ...error, line: index + 1 }))),
      );
      assert.deepEqual(
        together.rows,
        alone.flatMap(({ rows }) => rows),
      );
      const sources = new Set(
        alone.filter(({ rows }) => rows.length > 0).flatMap(({ timeSources }) => timeSources),
      );
      assert.deepEqual(new Set(together.timeSources), sources);
    }),
    { numRuns: RUNS },
  );
});

test("blank lines among rows read together are counted, and are no events", () => {
  const line = '{"device":"m1","temp":20.5}';
  const lines = Array.from({ length: 300 }, (_, i) => (i % 7 === 3 ? [" ", "", "\r", "\t"][i % 4]! : line));
  lines.push("nonsense");
  const { accepted, errors } = parseBody("ndjson", lines.join("\n"));
  assert.equal(accepted, lines.filter((text) => text === line).length);
  assert.deepEqual(
    errors.map((error) => error.line),
    [301],
  );
});

test("a quote that is not closed costs its own line alone", () => {
  const line = '{"device":"m1","temp":20.5,"note":"a, b: {c}"}';
  const bad = '{"device":"m1,"temp":20.5}';
  const lines = Array.from({ length: 500 }, (_, i) => (i % 100 === 50 ? bad : line));
  const { accepted, errors } = parseBody("ndjson", lines.join("\n"));
  assert.equal(accepted, 495);
  assert.deepEqual(
    errors.map((error) => error.line),
    [51, 151, 251, 351, 451],
  );
});

test("bytes that a known text or date could be taken for are refused", () => {
  const good = '{"device":"a\\"b","ts":"2023-11-14T22:13:20Z"}';
  for (const bad of [
    '{"device":"a"b","ts":"2023-11-14T22:13:20Z"}',
    '{"device":"m\0","ts":"2023-11-14T22:13:20Z"}',
    '{"device\0":"m","ts":"2023-11-14T22:13:20Z"}',
    `{"device":"m","ts":"${"\0".repeat(10)}T22:13:20Z"}`,
    '{"device":"m","ts":"2023-11-14T22:13:2\0Z"}',
  ]) {
    const { accepted, errors } = parseBody("ndjson", [good, good, good, bad, good].join("\n"), {
      time: { fields: ["ts"] },
    });
    assert.deepEqual([accepted, errors.map((error) => error.line)], [4, [4]], bad);
  }
});
