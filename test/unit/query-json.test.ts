import assert from "node:assert/strict";
import { test } from "node:test";
import type { CellValue, ColumnKind } from "../../workers/core/codec.ts";
import { createEventWriter, type EventRows, valueJson, valueText } from "../../workers/query/event-json.ts";
import { splitObject } from "../../workers/query/json-members.ts";
import { formatTime } from "../../workers/time-format.ts";

const COLUMN = (name: string, value: CellValue, type: ColumnKind = "string") => ({
  name,
  type,
  valueAt: () => value,
});

function write(columns: EventRows["columns"], extra: string | null = null, timeField = "ts"): string {
  return createEventWriter({ times: [1_500n], columns, extraAt: () => extra }, timeField)(0);
}

const AT = '"ts":"1970-01-01T00:00:00.001500Z"';

test("values are written exactly", () => {
  const max = 9_223_372_036_854_775_807n;
  assert.equal(
    write([
      COLUMN("i", max, "int"),
      COLUMN("j", -max - 1n, "int"),
      COLUMN("k", 9_007_199_254_740_991, "int"),
      COLUMN("f", 0.1 + 0.2, "float"),
      COLUMN("z", -0, "float"),
      COLUMN("e", 1e21, "float"),
      COLUMN("d", 5e-324, "float"),
      COLUMN("n", Number.NaN, "float"),
      COLUMN("y", Number.NEGATIVE_INFINITY, "float"),
      COLUMN("b", false, "bool"),
    ]),
    `{${AT},"i":9223372036854775807,"j":-9223372036854775808,"k":9007199254740991,"f":0.30000000000000004,"z":-0,` +
      '"e":1e+21,"d":5e-324,"n":null,"y":null,"b":false}',
  );
});

test("strings and names are escaped, and what JSON leaves alone is left alone", () => {
  const text = 'quote " back \\ line \n nul \u0000 sep \u2028 lone \ud800 smile 😀';
  const line = write([COLUMN('a"b\n', text)]);
  assert.ok(!line.includes("\n"));
  assert.deepEqual(JSON.parse(line), { ts: "1970-01-01T00:00:00.001500Z", 'a"b\n': text });
});

test("members without a value are left out, and so are objects without members", () => {
  assert.equal(
    write([COLUMN("a", null), COLUMN("b.c", null), COLUMN("d", "x"), COLUMN("e", null, "null")]),
    `{${AT},"d":"x"}`,
  );
});

test("dot paths nest again, at the place of their first column", () => {
  const columns = [
    COLUMN("a.b", 1, "int"),
    COLUMN("x", true, "bool"),
    COLUMN("a.c.d", 2, "int"),
    COLUMN("a..e", 3, "int"),
  ];
  assert.equal(write(columns), `{${AT},"a":{"b":1,"c":{"d":2},"":{"e":3}},"x":true}`);
});

test("a member that is both a value and an object keeps both, at any depth", () => {
  assert.equal(write([COLUMN("a", 1, "int"), COLUMN("a.b", 2, "int")]), `{${AT},"a":1,"a.b":2}`);
  assert.equal(
    write([COLUMN("p.a", 1, "int"), COLUMN("p.a.b.c", 2, "int")]),
    `{${AT},"p":{"a":1,"a.b.c":2}}`,
  );
  assert.equal(
    write([COLUMN("p.a", 1, "int"), COLUMN("p.a.b.c", 2, "int")], '{"x":[]}'),
    `{${AT},"p":{"a":1,"a.b.c":2},"x":[]}`,
  );
  assert.equal(write([COLUMN("a", null, "int"), COLUMN("a.b", 2, "int")]), `{${AT},"a":{"b":2}}`);
});

test("names that objects inherit are ordinary names", () => {
  const line = write([COLUMN("__proto__.x", 1, "int"), COLUMN("constructor", 2, "int")], '{"toString":[1]}');
  assert.equal(line, `{${AT},"__proto__":{"x":1},"constructor":2,"toString":[1]}`);
});

test("the time stands under its field, nested where that is a path, and wins over a column of that name", () => {
  assert.equal(
    write([COLUMN("meta.id", 1, "int")], null, "meta.at"),
    '{"meta":{"at":"1970-01-01T00:00:00.001500Z","id":1}}',
  );
  assert.equal(write([COLUMN("ts", "no")]), `{${AT}}`);
});

test("undeclared members are merged in as they were written, on one line", () => {
  assert.equal(
    write([COLUMN("a", 1, "int")], '{"tags": [1,\r\n\t"x y"], "big":12345678901234567890.10}'),
    `{${AT},"a":1,"tags":[1,"x y"],"big":12345678901234567890.10}`,
  );
  assert.equal(write([COLUMN("a", 1, "int")], "{}"), `{${AT},"a":1}`);
});

test("undeclared members below an object that has columns become part of it", () => {
  const columns = [COLUMN("a.b", 1, "int")];
  assert.equal(write(columns, '{"a":{"t":[1],"u":{"v":[]}}}'), `{${AT},"a":{"b":1,"t":[1],"u":{"v":[]}}}`);
  assert.equal(write(columns, '{"a.t":[1],"a.u.v":[]}'), `{${AT},"a":{"b":1,"t":[1],"u":{"v":[]}}}`);
  assert.equal(
    write([COLUMN("a.b.c", 1, "int")], '{"a":{"b":{"t":[1]}}}'),
    `{${AT},"a":{"b":{"c":1,"t":[1]}}}`,
  );
});

test("undeclared text that is no object is shown as text", () => {
  for (const bad of ["", "[1]", "{", '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", '{"a":1}x']) {
    const line = write([], bad);
    assert.deepEqual(JSON.parse(line), { ts: "1970-01-01T00:00:00.001500Z", extra: bad }, bad);
  }
});

test("objects are split with their values untouched", () => {
  assert.deepEqual(splitObject(' { "a" : 1.50 , "b\\u0041":{"x":"} , \\" ]"}, "c":[ ] } '), [
    { name: "a", value: "1.50" },
    { name: "bA", value: '{"x":"} , \\" ]"}' },
    { name: "c", value: "[]" },
  ]);
  assert.deepEqual(splitObject("{ }"), []);
});

test("a key is compared by its text", () => {
  assert.deepEqual(["m1", 5, 1.5, -0, true, 2n ** 60n].map(valueText), [
    "m1",
    "5",
    "1.5",
    "-0",
    "true",
    "1152921504606846976",
  ]);
  assert.equal(valueJson("m1"), '"m1"');
});

test("times are ISO 8601, exact to the microsecond from year 1 to 9999", () => {
  const cases: [bigint, string][] = [
    [0n, "1970-01-01T00:00:00.000Z"],
    [-1n, "1969-12-31T23:59:59.999999Z"],
    [-1_000n, "1969-12-31T23:59:59.999Z"],
    [-1_000_000n, "1969-12-31T23:59:59.000Z"],
    [1_001n, "1970-01-01T00:00:00.001001Z"],
    [1_769_860_800_250_000n, "2026-01-31T12:00:00.250Z"],
    [951_782_400_000_001n, "2000-02-29T00:00:00.000001Z"],
    [-62_135_596_800_000_000n, "0001-01-01T00:00:00.000Z"],
    [253_402_300_799_999_999n, "9999-12-31T23:59:59.999999Z"],
    [9_007_199_254_740_991n, "2255-06-05T23:47:34.740991Z"],
    [9_007_199_254_740_993n, "2255-06-05T23:47:34.740993Z"],
    [-9_007_199_254_740_993n, "1684-07-28T00:12:25.259007Z"],
  ];
  for (const [us, text] of cases) {
    assert.equal(formatTime(us), text);
    if (Number.isSafeInteger(Number(us))) assert.equal(formatTime(Number(us)), text);
  }
});

test("no time makes formatting fail", () => {
  assert.equal(formatTime(2n ** 63n - 1n), "9223372036854775807");
  assert.equal(formatTime(253_402_300_800_000_000n), "+010000-01-01T00:00:00.000Z");
  for (const odd of [Number.NaN, Number.POSITIVE_INFINITY, 1e300, 0.5])
    assert.equal(typeof formatTime(odd), "string");
});
