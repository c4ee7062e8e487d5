import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createSplitter, type SendFormat, sniffFormat } from "../../host/cli/splitters.ts";

/** A source in pieces; the records as text, and the header. */
function split(
  format: SendFormat,
  text: string | Uint8Array,
  pieceBytes = Infinity,
): { records: string[]; prefix: string; lines: number[] } {
  const splitter = createSplitter(format);
  const bytes = Buffer.from(text);
  const records = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    records.push(...splitter.push(bytes.subarray(at, Math.min(bytes.length, at + pieceBytes))));
  }
  records.push(...splitter.end());
  return {
    records: records.map((record) => Buffer.from(record.bytes).toString()),
    prefix: Buffer.from(splitter.prefix).toString(),
    lines: records.map(({ line }) => line),
  };
}

test("lines: blank ones are left out, the last needs no line end", () => {
  const { records, lines } = split("ndjson", '\ufeff{"a":1}\r\n\n  \n{"a":2}\nbroken\n{"a":3}');
  assert.deepEqual(records, ['{"a":1}\r\n', '{"a":2}\n', "broken\n", '{"a":3}\n']);
  assert.deepEqual(lines, [1, 4, 5, 6]);
});

test("CSV: a line end within quotes ends no record, and the header comes apart", () => {
  const text = 'name,note\r\na,"two\nlines, and ""quotes"""\r\nb,5" pipe\nc,""\n"d\n",x';
  const { records, prefix, lines } = split("csv", text);
  assert.equal(prefix, "name,note\r\n");
  assert.deepEqual(records, ['a,"two\nlines, and ""quotes"""\r\n', 'b,5" pipe\n', 'c,""\n', '"d\n",x\n']);
  assert.deepEqual(lines, [2, 4, 5, 6]);
  assert.deepEqual(split("csv", "only,a,header").records, []);
});

test("JSON: elements of an array come out as lines", () => {
  const text = '[\n {"a": 1,\n  "b": "x,]}\\"\\\\"},\n {"a": [1, {"c": 2}]} , 5, "s", null\n]\n';
  const { records, lines } = split("json", text);
  assert.deepEqual(
    records.map((line) => JSON.parse(line)),
    JSON.parse(text),
  );
  assert.ok(records.every((line) => line.indexOf("\n") === line.length - 1));
  assert.deepEqual(lines, [1, 2, 3, 4, 5]);
});

test("JSON: one object, objects in a row, and a broken end", () => {
  assert.deepEqual(split("json", '{\n"a":\n1}').records, ['{ "a": 1}\n']);
  assert.deepEqual(split("json", '{"a":1}{"a":2}\n{"a":3}').records, ['{"a":1}\n', '{"a":2}\n', '{"a":3}\n']);
  assert.deepEqual(split("json", '[{"a":1},{"a":').records, ['{"a":1}\n', '{"a":\n']);
});

test("where the pieces end changes nothing", () => {
  const sources: readonly (readonly [SendFormat, string])[] = [
    ["ndjson", '\ufeff{"a":"ö"}\r\n\n{"b":2}\n\nx'],
    ["csv", '\ufeffa,b\n"1\n""2""",x\r\n3,"4"\n5,6'],
    ["json", '\ufeff [ {"a":"]\\"[", "b":[[1],{}]}, "x\\\\", 1.5 ,true ] {"c":\n2}'],
  ];
  for (const [format, text] of sources) {
    const whole = split(format, text);
    for (let pieceBytes = 1; pieceBytes < 20; pieceBytes++)
      assert.deepEqual(split(format, text, pieceBytes), whole);
  }
});

test("any JSON array comes out element by element", () => {
  fc.assert(
    fc.property(
      fc.array(fc.jsonValue()),
      fc.integer({ min: 1, max: 9 }),
      fc.constantFrom(0, 1),
      (values, piece, indent) => {
        const { records } = split("json", JSON.stringify(values, null, indent), piece);
        assert.deepEqual(
          records.map((line) => JSON.stringify(JSON.parse(line))),
          values.map((value) => JSON.stringify(value)),
        );
      },
    ),
    { numRuns: 200 },
  );
});

test("a record that no request holds is refused", () => {
  const splitter = createSplitter("ndjson");
  assert.throws(() => splitter.push(Buffer.alloc(17 * 1024 * 1024, "x")), /longer than 16 MiB/);
});

test("the format is told by the name, else by the content", () => {
  const cases: readonly (readonly [string, string, SendFormat])[] = [
    ["x.csv", "{", "csv"],
    ["x.NDJSON", "[", "ndjson"],
    ["x.jsonl", "", "ndjson"],
    ["x.json", '[{"a":1}]', "json"],
    ["x.json", '{\n "a": 1\n}', "json"],
    ["x.json", '{"a":1}\n{"a":2}\n', "ndjson"],
    ["stdin", '{"a":1}\n{"a":2}\n', "ndjson"],
    ["stdin", '{"a":1,}\n{"a":2}\n', "ndjson"],
    ["stdin", '\ufeff  [\n{"a":1}]', "json"],
    ["stdin", "ts,value\n1,2\n", "csv"],
    ["events.log", '{"a":1}', "ndjson"],
  ];
  for (const [name, head, format] of cases)
    assert.equal(sniffFormat(Buffer.from(head), name), format, `${name} ${head}`);
});
