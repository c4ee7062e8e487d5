import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseBody, toBytes, type Value } from "../unit/parse-support.ts";
import { NumberLiteral, OracleColumns, sameValue } from "./parse-oracle.ts";

const RUNS = 300;

/** A plain reader of RFC 4180, a character at a time; null where quotes are wrong. */
function readRecords(text: string): string[][] | null {
  const records: string[][] = [];
  let record: string[] = [];
  let at = 0;
  while (at < text.length) {
    let cell = "";
    if (text[at] === '"') {
      at++;
      while (true) {
        if (at >= text.length) return null;
        if (text[at] !== '"') cell += text[at++];
        else if (text[at + 1] === '"') {
          cell += '"';
          at += 2;
        } else break;
      }
      at++;
      if (at < text.length && !/^(,|\r?\n|\r$)/.test(text.slice(at, at + 2))) return null;
    } else {
      while (at < text.length && text[at] !== "," && !/^(\n|\r\n|\r$)/.test(text.slice(at, at + 2))) {
        if (text[at] === '"') return null;
        cell += text[at++];
      }
    }
    record.push(cell);
    if (text[at] === ",") {
      at++;
      if (at < text.length) continue;
      record.push("");
    }
    if (text[at] === "\r") at++;
    if (text[at] === "\n") at++;
    records.push(record);
    record = [];
    while (text[at] === "\n" || text[at] === "\r") at++;
  }
  return records;
}

/** What a cell's text suggests, as the parser types it. */
function typedCell(cell: string): boolean | string | NumberLiteral | null {
  if (cell === "") return null;
  if (cell === "true" || cell === "false") return cell === "true";
  const isNumber = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(cell) && Number.isFinite(Number(cell));
  return isNumber ? new NumberLiteral(cell) : cell;
}

const cells = fc.oneof(
  fc.constantFrom("", "m1", "true", "false", "null", "007", "-0", "1e5", ".5", "5.", "+1", "NaN", "1e999"),
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.string({ maxLength: 30 }),
  fc.string({ unit: fc.constantFrom('"', ",", "\n", "\r", "a", "é", " "), maxLength: 8 }),
);

/** The cell as CSV: in quotes where it must be, or where it is told. */
function write(cell: string, isQuoted: boolean): string {
  return isQuoted || /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

test("records give what a plain reader gives", () => {
  const tables = fc.integer({ min: 2, max: 5 }).chain((width) =>
    fc.array(fc.array(fc.tuple(cells, fc.boolean()), { minLength: width, maxLength: width }), {
      minLength: 1,
      maxLength: 8,
    }),
  );
  fc.assert(
    fc.property(tables, fc.constantFrom("\n", "\r\n"), fc.boolean(), (table, lineEnd, isLastEnded) => {
      const names = table[0]!.map((_, index) => `c${index}`);
      const records = table.map((record) => record.map(([cell]) => cell));
      const lines = [
        names.join(","),
        ...table.map((record) => record.map(([cell, isQuoted]) => write(cell, isQuoted)).join(",")),
      ];
      const text = lines.join(lineEnd) + (isLastEnded ? lineEnd : "");
      assert.deepEqual(readRecords(text), [names, ...records]);

      const { rows, errors, schema } = parseBody("csv", text);
      assert.deepEqual(errors, []);
      const columns = new OracleColumns();
      for (const record of records)
        columns.add(new Map(record.map((cell, index) => [names[index]!, typedCell(cell)])));
      assert.deepEqual(new Map(schema.map(({ name, type }) => [name, type])), columns.types);
      rows.forEach((row, index) => {
        for (const name of names) {
          // A number beside text keeps its spelling once the column is text, so only the value is compared.
          const value = row.values.get(name);
          const cell = records[index]![names.indexOf(name)]!;
          assert.ok(
            sameValue(value, columns.rows[index]!.get(name)) || value === cell,
            `${name} ${index}: ${value}`,
          );
        }
      });
    }),
    { numRuns: RUNS },
  );
});

test("any text is read as a plain reader reads it, or refused", () => {
  const texts = fc.string({
    unit: fc.constantFrom('"', '"', ",", "\n", "\r\n", "a", "é", "\r"),
    maxLength: 30,
    size: "max",
  });
  fc.assert(
    fc.property(texts, (text) => {
      const records = readRecords(text.replace(/^[\r\n]+/, ""));
      const { rows, bad } = parseBody("csv", `a,b\n${text}`);
      if (records === null || records.some((record) => record.length !== 2)) {
        assert.ok(bad > 0 || text.trim() === "");
        return;
      }
      assert.equal(bad, 0);
      const expected = records.map((record) => record.map((cell) => (cell === "" ? undefined : cell)));
      assert.deepEqual(
        rows.map(({ values }): (Value | undefined)[] => [values.get("a"), values.get("b")]),
        expected,
      );
    }),
    { numRuns: RUNS },
  );
});

test("faults cost one line", () => {
  const body = 'id,x\n1,a\n"2,b\n3,c\n4,d,e\n5\n6,"f"g\n7,h"\n8,\ud83d\n9,"i\nj"\n10,k\n';
  const bytes = Buffer.concat([toBytes(body), Buffer.from([0x31, 0x31, 0x2c, 0xff, 0x0a]), toBytes("12,l")]);
  const { rows, errors } = parseBody("csv", bytes);
  assert.deepEqual(
    errors.map(({ line, code }) => [line, code]),
    [
      [3, "E_CSV_QUOTE"],
      [5, "E_CSV_CELLS"],
      [6, "E_CSV_CELLS"],
      [7, "E_CSV_QUOTE"],
      [8, "E_CSV_QUOTE"],
      [13, "E_UTF8"],
    ],
  );
  assert.deepEqual(
    rows.map(({ values }) => values.get("id")),
    [1, 3, 8, 9, 10, 12],
  );
  assert.equal(rows[3]!.values.get("x"), "i\nj");
});

test("headers", () => {
  assert.deepEqual(
    parseBody("csv", "a,a\n1,2").errors.map(({ line, code }) => [line, code]),
    [[1, "E_CSV_HEADER"]],
  );
  assert.equal(parseBody("csv", '"a"",x\n1').errors[0]!.code, "E_CSV_QUOTE");
  assert.equal(parseBody("csv", "a,b").accepted, 0);
  const quoted = parseBody("csv", '\ufeff"time",o.p\r\n2024-01-01 00:00:00,5\r\n', {
    time: { fields: ["time"] },
  });
  assert.deepEqual(
    [quoted.rows[0]!.timeUs, [...quoted.rows[0]!.values]],
    [1_704_067_200_000_000n, [["o.p", 5]]],
  );
});

test("declared and extra cells", () => {
  const fields = [
    { name: "n", type: "int" },
    { name: "s", type: "string" },
    { name: "b", type: "bool" },
  ] as const;
  const body =
    'n,s,b,u,v\n1,007,true,x"y,1.50\n'.replace('x"y', '"x""\t"') +
    "2.0,,,,\n2.5,a,true,,\nx,a,true,,\n3,true,1,,\n";
  const { rows, errors } = parseBody("csv", body, { fields });
  assert.deepEqual(
    errors.map(({ line, code, path }) => [line, code, path]),
    [
      [4, "E_TYPE", "n"],
      [5, "E_TYPE", "n"],
      [6, "E_TYPE", "b"],
    ],
  );
  assert.deepEqual(
    rows.map(({ values }) => [...values]),
    [
      [
        ["n", 1],
        ["s", "007"],
        ["b", true],
      ],
      [["n", 2]],
    ],
  );
  assert.deepEqual(
    rows.map(({ extra }) => extra),
    ['{"u":"x\\"\\u0009","v":1.50}', '{"u":null,"v":null}'],
  );
});
