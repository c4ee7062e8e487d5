import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { createParser } from "../../workers/core/parse.ts";
import type { LineError } from "../../workers/messages.ts";
import {
  ARRIVAL_US,
  core,
  makePlan,
  type Parsed,
  parseBodies,
  parseBody,
  parseEvent,
  readRows,
  toBytes,
} from "./parse-support.ts";

function codes({ errors }: { readonly errors: readonly LineError[] }): [number, string, string][] {
  return errors.map(({ line, code, path }) => [line, code, path]);
}

function valuesOf({ rows }: Parsed, name: string): unknown[] {
  return rows.map(({ values }) => values.get(name) ?? null);
}

test("a body without events has neither rows nor errors", () => {
  for (const format of ["ndjson", "json", "csv"] as const) {
    for (const body of ["", "\n", " \r\n\n ", "\ufeff"]) {
      const { accepted, bad, rows } = parseBody(format, body);
      if (format === "csv" && body.includes(" ")) continue;
      assert.deepEqual([format, body, accepted, bad, rows.length], [format, body, 0, 0, 0]);
    }
  }
});

test("blank lines, \\r\\n and a last line without its end", () => {
  const parsed = parseBody("ndjson", '\ufeff{"n":1}\r\n\r\n \t\n{"n":2} \r\n{"n":3}');
  assert.deepEqual(valuesOf(parsed, "n"), [1, 2, 3]);
  assert.equal(parsed.bad, 0);
});

test("bad lines are numbered and leave the good ones beside them whole", () => {
  const lines = [
    '{"a":1,"s":"x"}',
    '{"a":2,"s":"y"',
    "",
    "[1]",
    '"x"',
    '{"a":3,"s":"z"}',
    '{"a":4}{"a":5}',
    '{"a":"\u0007"}',
    "nonsense",
  ];
  const parsed = parseBody("ndjson", lines.join("\n"));
  assert.deepEqual(codes(parsed), [
    [2, "E_JSON", ""],
    [4, "E_NOT_OBJECT", ""],
    [5, "E_NOT_OBJECT", ""],
    [7, "E_JSON", ""],
    [8, "E_JSON", "a"],
    [9, "E_JSON", ""],
  ]);
  assert.deepEqual(valuesOf(parsed, "a"), [1, 3]);
  assert.deepEqual(valuesOf(parsed, "s"), ["x", "z"]);
  assert.deepEqual(
    parsed.errors.map(({ text }) => text),
    lines.filter((_, index) => [1, 3, 4, 6, 7, 8].includes(index)),
  );
});

test("a bad line changes no type and adds no field", () => {
  const parsed = parseBody("ndjson", '{"a":1}\n{"a":"text","b":1,"c":\n{"a":1.5,"d":tru}\n{"a":2}');
  assert.deepEqual(parsed.schema, [{ name: "a", type: "int" }]);
  assert.deepEqual(valuesOf(parsed, "a"), [1, 2]);
});

test("what a message says", () => {
  const { errors } = parseBody("ndjson", '{"a":1,}\n{"a":01}\n{"a":"x\n{"a":"\\q"}');
  assert.match(errors[0]!.message, /"}" at byte 8/);
  assert.match(errors[1]!.message, /leading zero/);
  assert.match(errors[2]!.message, /string is not closed/);
  assert.match(errors[3]!.message, /escape at byte 7/);
});

test("what was sent in another form than it says is told how to be sent", () => {
  const message = (type: "ndjson" | "json", text: string | Uint8Array): string =>
    parseBody(type, text).errors[0]!.message;
  assert.match(message("ndjson", '[{"a":1},{"a":2}]'), /an array of them as application\/json/);
  assert.doesNotMatch(message("ndjson", '"a"'), /array/);
  assert.match(message("json", '{"a":1}\n{"a":2}\n'), /line 2, byte 1.*application\/x-ndjson/);
  assert.match(message("ndjson", '{"a":1}{"a":2}'), /byte 8: "{"; put one event on a line .*--data-binary/);
  assert.match(message("ndjson", gzipSync('{"a":1}')), /this is gzip.*Content-Encoding/);
});

test("a header that is parted by something else than commas is refused, not taken for one field", () => {
  for (const [header, place] of [
    ["device;ts;a", /";" at byte 7/],
    ["device\tts\ta", /byte 0x09 at byte 7/],
  ] as const) {
    const refused = parseBody("csv", `${header}\nm1;1767254400;5\nm2;1767254401;6\n`);
    assert.deepEqual([refused.accepted, codes(refused)], [0, [[1, "E_CSV_HEADER", ""]]]);
    assert.match(refused.errors[0]!.message, place);
  }
  assert.deepEqual(valuesOf(parseBody("csv", '"a;b"\n1\n'), "a;b"), [1]);
  assert.deepEqual(valuesOf(parseBody("csv", "a\n1;2\n"), "a"), ["1;2"]);
  assert.deepEqual(valuesOf(parseBody("csv", "a;b,c\n1,2\n"), "c"), [2]);
});

test("types widen int → float → string, also in rows before", () => {
  const parsed = parseBody(
    "ndjson",
    ['{"x":1}', '{"x":2.5}', "{}", '{"x":"hot"}', '{"x":true}', '{"x":1e21}', '{"x":-0.1}'].join("\n"),
  );
  assert.deepEqual(parsed.schema, [{ name: "x", type: "string" }]);
  assert.deepEqual(valuesOf(parsed, "x"), ["1", "2.5", null, "hot", "true", "1e+21", "-0.1"]);
  const mixed = parseBody("ndjson", '{"x":false}\n{"x":1}\n{"x":9223372036854775807}');
  assert.deepEqual(valuesOf(mixed, "x"), ["false", "1", "9223372036854775807"]);
});

test("an integer beyond 64 bits is a float", () => {
  const parsed = parseBody("ndjson", '{"x":1}\n{"x":9223372036854775808}');
  assert.deepEqual(parsed.schema, [{ name: "x", type: "float" }]);
  assert.deepEqual(valuesOf(parsed, "x"), [1, 2 ** 63]);
});

test("a key that comes twice counts the second time, with all that stood under it", () => {
  assert.deepEqual([...parseEvent('{"a":1,"a":2}').values], [["a", 2]]);
  assert.deepEqual([...parseEvent('{"a":{"b":1,"c":2},"a":{"c":3}}').values], [["a.c", 3]]);
  assert.deepEqual([...parseEvent('{"a":{"b":1},"\\u0061":4}').values], [["a", 4]]);
  assert.deepEqual([...parseEvent('{"a":1,"a":null}').values], []);
  const again = parseEvent('{"a":[1],"a":5}');
  assert.deepEqual([again.extra, again.values.get("a")], [null, 5]);
  // Where both ways to write a path meet, the later one counts.
  assert.deepEqual([...parseEvent('{"a.b":1,"a":{"b":2}}').values], [["a.b", 2]]);
});

test("a key that comes twice in lines of a known form", () => {
  const line = '{"a":1,"b":{"c":1}}';
  const parsed = parseBody(
    "ndjson",
    [line, line, '{"a":1,"a":7,"b":{"c":1}}', '{"a":1,"b":{"c":1,"c":8}}', '{"a":1,"b":{"c":1},"b":{}}'].join(
      "\n",
    ),
  );
  assert.deepEqual(valuesOf(parsed, "a"), [1, 1, 7, 1, 1]);
  assert.deepEqual(valuesOf(parsed, "b.c"), [1, 1, 1, 8, null]);
  assert.equal(parsed.rows[4]!.extra, '{"b":{}}');
});

test("arrays and empty objects are kept as they stand", () => {
  const parsed = parseBody(
    "ndjson",
    ['{"a":1,"t":[1, "x\\n"],"o":{"p":{"q":[]}}}', '{"a":2}', '{"a":3,"t":[],"o":{}}'].join("\n"),
  );
  assert.deepEqual(
    parsed.rows.map(({ extra }) => extra),
    ['{"t":[1, "x\\n"],"o.p.q":[]}', null, '{"t":[],"o":{}}'],
  );
  const document = parseBody("json", '[{"t":[1,\n "a b\\"\\\\",\r\n {}]}]');
  assert.equal(document.rows[0]!.extra, '{"t":[1,"a b\\"\\\\",{}]}');
});

test("arrays under extra: drop and reject", () => {
  const body = '{"a":1,"t":[1]}\n{"a":2,"t":[2]}\n{"a":3}';
  const dropped = parseBody("ndjson", body, { extra: "drop" });
  assert.deepEqual([valuesOf(dropped, "a"), dropped.rows[0]!.extra], [[1, 2, 3], null]);
  assert.deepEqual(codes(parseBody("ndjson", body, { extra: "reject" })), [
    [1, "E_EXTRA", "t"],
    [2, "E_EXTRA", "t"],
  ]);
});

const DECLARED = {
  fields: [
    { name: "f", type: "float" },
    { name: "i", type: "int" },
    { name: "b", type: "bool" },
    { name: "s", type: "string" },
    { name: "o.p", type: "int" },
  ],
} as const;

test("declared types", () => {
  const good = [
    '{"f":1,"i":5.0,"b":true,"s":"x","o":{"p":1}}',
    '{"f":null,"i":-1e3,"b":null,"s":null}',
    '{"f":-0,"i":9223372036854775807}',
    '{"o.p":3}',
  ];
  const parsed = parseBody("ndjson", good.join("\n"), DECLARED);
  assert.deepEqual(parsed.errors, []);
  assert.deepEqual(parsed.schema, DECLARED.fields);
  assert.deepEqual(valuesOf(parsed, "i"), [5, -1000, 9223372036854775807n, null]);
  assert.deepEqual(valuesOf(parsed, "f"), [1, null, -0, null]);
  assert.deepEqual(valuesOf(parsed, "o.p"), [1, null, null, 3]);
  const bad = [
    '{"f":"1"}',
    '{"i":1.5}',
    '{"b":1}',
    '{"s":1}',
    '{"o":{"p":"x"}}',
    '{"i":1e19}',
    '{"i":9223372036854775808}',
    '{"s":["x"]}',
    '{"s":{"x":1}}',
    '{"f":true}',
    '{"b":"true"}',
  ];
  const refused = parseBody("ndjson", bad.join("\n"), DECLARED);
  assert.deepEqual(
    codes(refused).map(([, code, path]) => [code, path]),
    ["f", "i", "b", "s", "o.p", "i", "i", "s", "s", "f", "b"].map((path) => ["E_TYPE", path]),
  );
  assert.match(refused.errors[0]!.message, /f is declared as a number, but this is a string/);
});

test("members that are not declared", () => {
  const line = '{"f":1.5,"x":1e2,"o":{"p":1,"q":"\\u0041"},"u":{"v":[ 1 ]},"n":null}';
  const kept = parseBody("ndjson", `${line}\n${line}\n${line}`, DECLARED);
  for (const row of kept.rows) {
    assert.equal(row.extra, '{"x":1e2,"o.q":"\\u0041","u":{"v":[ 1 ]},"n":null}');
    assert.deepEqual(
      [...row.values],
      [
        ["f", 1.5],
        ["o.p", 1],
      ],
    );
  }
  assert.equal(kept.rows.length, 3);
  const dropped = parseBody("ndjson", `${line}\n${line}`, { ...DECLARED, extra: "drop" });
  assert.deepEqual(
    dropped.rows.map(({ extra, values }) => [extra, values.get("o.p")]),
    [
      [null, 1],
      [null, 1],
    ],
  );
  const rejected = parseBody("ndjson", `{"f":1}\n${line}\n{"f":2,"o":{"q":1}}`, {
    ...DECLARED,
    extra: "reject",
  });
  assert.deepEqual(codes(rejected), [
    [2, "E_EXTRA", "x"],
    [3, "E_EXTRA", "o.q"],
  ]);
  assert.deepEqual(valuesOf(rejected, "f"), [1]);
});

test("the key", () => {
  const declared = { key: ["dev"], isKeyDeclared: true, fields: [{ name: "x", type: "int" }] } as const;
  const body = [
    '{"dev":"m1","x":1}',
    '{"x":1}',
    '{"dev":null,"x":1}',
    '{"dev":{"a":1}}',
    '{"dev":[1]}',
    '{"dev":7,"x":2}',
    '{"dev":"m1","x":3}',
  ].join("\n");
  const parsed = parseBody("ndjson", body, declared);
  assert.deepEqual(codes(parsed), [
    [2, "E_NO_KEY", ""],
    [3, "E_NO_KEY", ""],
    [4, "E_KEY", "dev"],
    [5, "E_KEY", "dev"],
  ]);
  assert.deepEqual(valuesOf(parsed, "dev"), ["m1", "7", "m1"]);
  const inferred = parseBody("ndjson", body, { key: ["dev", "id"] });
  assert.equal(inferred.bad, 0);
  assert.deepEqual(valuesOf(inferred, "dev.a"), [null, null, null, 1, null, null, null]);
});

test("a key in an inner object", () => {
  const parsed = parseBody(
    "ndjson",
    '{"meta":{"id":"a"},"x":1}\n{"meta":{"id":"b"},"x":2}\n{"meta":{},"x":3}',
    { key: ["meta.id"], isKeyDeclared: true },
  );
  assert.deepEqual(valuesOf(parsed, "meta.id"), ["a", "b"]);
  assert.deepEqual(codes(parsed), [[3, "E_NO_KEY", ""]]);
});

test("the event time", () => {
  const candidates = { time: { fields: ["ts", "time"] } };
  const parsed = parseBody(
    "ndjson",
    [
      '{"ts":1000,"x":1}',
      '{"time":2000,"x":1}',
      '{"time":3000,"ts":4000}',
      '{"ts":null,"time":5000}',
      '{"ts":null,"x":1}',
      '{"ts":6000,"time":7}',
      '{"time":null}',
    ].join("\n"),
    candidates,
  );
  assert.deepEqual(
    parsed.rows.map(({ timeUs }) => timeUs),
    [
      1_000_000_000n,
      2_000_000_000n,
      4_000_000_000n,
      5_000_000_000n,
      BigInt(ARRIVAL_US),
      6_000_000_000n,
      BigInt(ARRIVAL_US),
    ],
  );
  assert.deepEqual(valuesOf(parsed, "time"), [null, null, 3000, null, null, 7, null]);
  assert.deepEqual(
    parsed.schema.map(({ name }) => name),
    ["x", "time"],
  );
  const declared = parseBody("ndjson", '{"at":1}\n{"x":1}\n{"at":null}\n{"at":"no"}\n{"at":2}', {
    time: { fields: ["at"], isDeclared: true },
  });
  assert.deepEqual(codes(declared), [
    [2, "E_NO_TIME", ""],
    [3, "E_NO_TIME", ""],
    [4, "E_TIME", "at"],
  ]);
  assert.equal(
    parseEvent('{"m":{"at":"1970-01-01T00:00:01Z"}}', { time: { fields: ["m.at"], isDeclared: true } })
      .timeUs,
    1_000_000n,
  );
});

test("times ahead of their arrival are flagged", () => {
  const seconds = ARRIVAL_US / 1e6;
  const parsed = parseBody(
    "ndjson",
    [seconds, seconds + 300, seconds + 301, 10].map((at) => `{"ts":${at}}`).join("\n"),
    { time: { fields: ["ts"] } },
  );
  assert.deepEqual(
    parsed.rows.map(({ flags }) => flags),
    [0, 0, 1, 0],
  );
});

test("depth: 64 containers are taken, 65 are not", () => {
  const nest = (depth: number): string => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
  const array = (depth: number): string => `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
  const lines = [
    nest(64),
    nest(65),
    array(64),
    array(65),
    nest(10_000),
    array(100_000),
    "[".repeat(100_000),
    '{"a":'.repeat(100_000),
  ];
  for (const repeated of [lines, [...lines.slice(0, 4), ...lines.slice(0, 4)]]) {
    const { errors } = parseBody("ndjson", repeated.join("\n"));
    const expected = repeated.flatMap((line, index) =>
      line === nest(64) || line === array(64) ? [] : [index + 1],
    );
    assert.deepEqual(
      errors.map(({ line }) => line),
      expected,
    );
    assert.ok(errors.slice(0, 2).every(({ code }) => code === "E_DEPTH"));
  }
  const document = parseBody("json", `[${nest(64)},${nest(65)},{"b":1}]`);
  assert.deepEqual(
    [document.accepted, codes(document).map(([line, code]) => [line, code])],
    [2, [[2, "E_DEPTH"]]],
  );
});

test("lines of more than 1 MiB are refused", () => {
  const line = (bytes: number): string => `{"a":"${"x".repeat(bytes - 8)}"}`;
  const parsed = parseBody(
    "ndjson",
    [line(1 << 20), line((1 << 20) + 1), '{"a":"y"}', line((1 << 20) + 2).replace("}", "")].join("\n"),
  );
  assert.deepEqual(codes(parsed), [
    [2, "E_LINE_TOO_LONG", ""],
    [4, "E_LINE_TOO_LONG", ""],
  ]);
  assert.ok(parsed.errors[0]!.text.length <= 16 << 10);
  assert.deepEqual(
    parsed.rows.map(({ values }) => String(values.get("a")).length),
    [(1 << 20) - 8, 1],
  );
});

test("more than 512 fields go to the extra column", () => {
  const wide = (from: number, to: number): string =>
    `{${Array.from({ length: to - from }, (_, i) => `"f${from + i}":${from + i}`).join(",")}}`;
  const parsed = parseBody(
    "ndjson",
    [wide(0, 510), wide(500, 520), wide(505, 515), '{"f1":1,"more":"x"}'].join("\n"),
  );
  assert.equal(parsed.schema.length, 512);
  assert.equal(
    parsed.rows[1]!.extra,
    `{${Array.from({ length: 8 }, (_, i) => `"f${512 + i}":${512 + i}`).join(",")}}`,
  );
  assert.equal(parsed.rows[3]!.extra, '{"more":"x"}');
  const refused = parseBody("ndjson", [wide(0, 510), wide(500, 520), '{"f1":1}'].join("\n"), {
    extra: "reject",
  });
  assert.deepEqual([codes(refused), refused.schema.length], [[[2, "E_EXTRA", "f512"]], 510]);
});

test("paths of more than 512 bytes go to the extra column", () => {
  const long = "k".repeat(600);
  const row = parseEvent(`{"${long}":1,"o":{"${long}":{"a":{"b":2}}},"x":3}`);
  assert.deepEqual([...row.values], [["x", 3]]);
  assert.deepEqual(JSON.parse(row.extra!), { [long]: 1, [`o.${long}`]: { a: { b: 2 } } });
});

test("keys with escapes, and keys that look like them", () => {
  const lines = [
    '{"a\\"b":1,"q\\\\":2}',
    '{"a\\"b":3,"q\\\\":4}',
    '{"a\\u0022b":5,"\\u0071\\\\":6}',
    '{"é\\n":7}',
  ];
  const parsed = parseBody("ndjson", [...lines, ...lines].join("\n"));
  assert.deepEqual(valuesOf(parsed, 'a"b').slice(0, 4), [1, 3, 5, null]);
  assert.deepEqual(valuesOf(parsed, "q\\").slice(4), [2, 4, 6, null]);
  assert.deepEqual(valuesOf(parsed, "é\n")[7], 7);
});

test("a document is one event or an array of them", () => {
  assert.deepEqual(valuesOf(parseBody("json", ' {"a":\n1}\n'), "a"), [1]);
  assert.equal(parseBody("json", " [ ] ").bad, 0);
  const mixed = parseBody("json", '[{"a":1},2,{"a":"\\ud800"},{"a":1e999},{"a":2}]');
  assert.deepEqual(codes(mixed), [
    [2, "E_NOT_OBJECT", ""],
    [3, "E_SURROGATE", "a"],
    [4, "E_NUMBER", "a"],
  ]);
  assert.deepEqual(valuesOf(mixed, "a"), [1, 2]);
  const cut = parseBody("json", '[{"a":1},\n{"a":2},\n{"a":3');
  assert.deepEqual([cut.accepted, codes(cut)], [0, [[1, "E_JSON", ""]]]);
  assert.match(cut.errors[0]!.message, /line 3, byte 7/);
  assert.deepEqual(codes(parseBody("json", '[{"a":1},{"a":1e999e5}]')), [[1, "E_JSON", ""]]);
  assert.deepEqual(codes(parseBody("json", '{"a":1}{"a":2}')), [[1, "E_JSON", ""]]);
  assert.deepEqual(codes(parseBody("json", "17")), [[1, "E_NOT_OBJECT", ""]]);
});

test("bodies add to one batch", () => {
  const parsed = parseBodies("ndjson", ['{"a":1}\n{"b":"x"}\n', '{"a":2.5,"b":"y"}', '{"a":3,"t":[1]}']);
  assert.deepEqual(valuesOf(parsed, "a"), [1, null, 2.5, 3]);
  assert.deepEqual(valuesOf(parsed, "b"), [null, "x", "y", null]);
  assert.equal(parsed.rows[3]!.extra, '{"t":[1]}');
});

test("types persist between batches, values do not", () => {
  const parser = createParser(core, makePlan());
  parser.begin(ARRIVAL_US);
  parser.parse("ndjson", toBytes('{"a":1.5,"s":"x"}'));
  parser.finish();
  parser.begin(ARRIVAL_US);
  parser.parse("ndjson", toBytes('{"a":2}\n{"c":1}'));
  assert.deepEqual(
    readRows(parser).map(({ values }) => [...values]),
    [[["a", 2]], [["c", 1]]],
  );
  assert.deepEqual(parser.schema(), [
    { name: "a", type: "float" },
    { name: "s", type: "string" },
    { name: "c", type: "int" },
  ]);
  parser.dispose();
});

test("a schema from elsewhere widens and adds", () => {
  const parser = createParser(core, makePlan());
  parser.setSchema([
    { name: "a", type: "float" },
    { name: "b", type: "bool" },
  ]);
  parser.begin(ARRIVAL_US);
  parser.parse("ndjson", toBytes('{"a":2,"c":1}\n{"a":3,"b":true,"c":2}'));
  parser.setSchema([
    { name: "c", type: "string" },
    { name: "a", type: "int" },
  ]);
  parser.parse("ndjson", toBytes('{"c":3}'));
  assert.deepEqual(
    readRows(parser).map(({ values }) => Object.fromEntries(values)),
    [{ a: 2, c: "1" }, { a: 3, b: true, c: "2" }, { c: "3" }],
  );
  assert.deepEqual(parser.schema(), [
    { name: "a", type: "float" },
    { name: "b", type: "bool" },
    { name: "c", type: "string" },
  ]);
  parser.dispose();
  const declared = createParser(core, makePlan({ fields: [{ name: "a", type: "int" }], key: ["k"] }));
  declared.setSchema([
    { name: "a", type: "string" },
    { name: "gone", type: "int" },
    { name: "k", type: "string" },
  ]);
  assert.deepEqual(declared.schema(), [
    { name: "a", type: "int" },
    { name: "k", type: "string" },
  ]);
  declared.dispose();
});

test("more than 1,000 bad lines are counted, 1,000 reported", () => {
  const { bad, errors, accepted } = parseBody("ndjson", `${"x\n".repeat(1500)}{"a":1}`);
  assert.deepEqual([bad, errors.length, accepted], [1500, 1000, 1]);
});

test("a body that needs too much memory is refused from there on, and the next one is not", () => {
  const parser = createParser(core, makePlan());
  parser.begin(ARRIVAL_US);
  const wide = `{${Array.from({ length: 500 }, (_, i) => `"f${i}":1`).join(",")}}\n`;
  const outcome = parser.parse("ndjson", toBytes(wide + "{}\n".repeat(300_000)));
  assert.ok(outcome.bad > 0 && outcome.accepted > 50_000);
  assert.equal(outcome.accepted + outcome.bad, 300_001);
  assert.equal(outcome.errors[0]!.code, "E_BATCH_TOO_LARGE");
  parser.finish();
  parser.begin(ARRIVAL_US);
  assert.deepEqual([parser.parse("ndjson", toBytes(wide)).accepted, readRows(parser).length], [1, 1]);
  parser.dispose();
});

test("texts of all lengths are told apart", () => {
  const texts = Array.from({ length: 70 }, (_, length) => [
    "x".repeat(length),
    `${"x".repeat(Math.max(0, length - 1))}y`,
    `é${"z".repeat(length)}`,
  ]).flat();
  const parsed = parseBody(
    "ndjson",
    [...texts, ...texts].map((text) => JSON.stringify({ s: text })).join("\n"),
  );
  assert.deepEqual(valuesOf(parsed, "s"), [...texts, ...texts]);
});

test("keys that come and go are learned anew, and always right", () => {
  const line = (from: number): string => `{"x":${from},"o":{"k${from % 3000}":${from}}}`;
  const lines = Array.from({ length: 10_000 }, (_, index) => line(index));
  const { rows, bad, schema } = parseBody("ndjson", [...lines, line(1), line(1)].join("\n"));
  assert.deepEqual([bad, schema.length], [0, 512]);
  rows.forEach((row, index) => {
    const from = index < 10_000 ? index : 1;
    const inner = row.values.get(`o.k${from % 3000}`) ?? JSON.parse(row.extra!)[`o.k${from % 3000}`];
    assert.deepEqual([row.values.get("x"), inner], [from, from]);
  });
});

test("a batch takes 256 MiB of bodies", () => {
  const parser = createParser(core, makePlan());
  parser.begin(ARRIVAL_US);
  const body = new Uint8Array(129 << 20).fill(0x20);
  assert.equal(parser.parse("ndjson", body).bad, 0);
  assert.equal(parser.parse("ndjson", body).errors[0]!.code, "E_BATCH_TOO_LARGE");
  parser.begin(ARRIVAL_US);
  assert.equal(parser.parse("ndjson", toBytes('{"a":1}')).accepted, 1);
  parser.dispose();
});
