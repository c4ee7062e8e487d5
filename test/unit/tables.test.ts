import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseConfig } from "../../host/config/load.ts";
import { formatProblem } from "../../host/config/problems.ts";
import { tableColumns } from "../../host/config/table/load.ts";
import { readTable, TableError, type TableFormat } from "../../host/config/table/rows.ts";
import { createRowProgram, type RowProgram } from "../../workers/core/expression.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { Tables } from "../../workers/core/tables.ts";
import { MillraceError } from "../../workers/errors.ts";
import type { TableData } from "../../workers/messages.ts";
import {
  batchOf,
  type Columns,
  compiled,
  disposeBatch,
  streamOf,
  viewWithin,
} from "../support/expression-fixture.ts";
import type { Value } from "../support/expression-interpreter.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const core = instantiateCore();

function columnsOf({ columns }: TableData): Record<string, readonly unknown[]> {
  return Object.fromEntries(columns.map(({ name, type, values }) => [`${name} ${type}`, values]));
}

test("CSV: a column has the narrowest type of its cells, an empty cell is null", () => {
  const text =
    'limit,device,site,rate,on,code\r\n90,press-1,"Berlin, Mitte",1.5,true,007\r\n,press-2,"say ""hi""",2,false,x\n\n-3,"","two\nlines",,,""\n';
  assert.deepEqual(columnsOf(readTable("t", text, "csv", "device")), {
    "device string": ["press-1", "press-2", ""],
    "limit int": [90n, null, -3n],
    "site string": ["Berlin, Mitte", 'say "hi"', "two\nlines"],
    "rate float": [1.5, 2, null],
    "on bool": [true, false, null],
    "code string": ["007", "x", ""],
  });
});

test("JSON and NDJSON: keys of any type become texts, ints and floats mix", () => {
  const rows = [
    '{"id":7,"x":1,"y":"a"}',
    '{"id":9007199254740993,"x":2.5}',
    '{"id":true,"x":null,"z":9007199254740993}',
  ];
  const expected = {
    "id string": ["7", "9007199254740993", "true"],
    "x float": [1n, 2.5, null],
    "y string": ["a", null, null],
    "z int": [null, null, 9007199254740993n],
  };
  assert.deepEqual(columnsOf(readTable("t", `[${rows.join(",\n")}]`, "json", "id")), expected);
  assert.deepEqual(columnsOf(readTable("t", `${rows.join("\n\n")}\n`, "ndjson", "id")), expected);
});

test("what is wrong with a table is named with its line", () => {
  const cases: readonly (readonly [TableFormat, string, number, RegExp])[] = [
    ["csv", "", 1, /the file is empty/],
    ["csv", "site,limit\nx,1\n", 1, /there is no column device; the columns are site, limit/],
    ["csv", "device,device\n", 1, /the column device stands twice/],
    ["csv", "device,site\na,x\nb\n", 3, /1 cells, and 2 columns/],
    ["csv", 'device,site\na,"x\ny"\na,z\n', 4, /the key "a" stands in line 2 already/],
    ["csv", "device,site\na,x\n,y\n", 3, /the key device is missing/],
    ["csv", 'device,site\na,x"y\n', 2, /a double quote stands where none may/],
    ["csv", 'device,site\na,"x\n', 2, /a double quote/],
    ["json", '[\n {"device": "a"},\n {"device": "a"}\n]', 3, /the key "a" stands in line 2 already/],
    ["json", '[\n {"device": "a"},\n {"site": "x"}\n]', 3, /the key device is missing/],
    [
      "json",
      '[\n {"device": "a", "x": 1},\n {"device": "b", "x": "y"}\n]',
      3,
      /x is string here and int before/,
    ],
    ["json", '[\n {"device": "a", "x": [1]}\n]', 2, /x is a list or a map/],
    ["json", '[\n {"device": "a"},\n 7\n]', 3, /this is no object/],
    ["json", "[]", 1, /the table is empty/],
    ["json", '{"device": "a"}', 1, /this is no list/],
    ["json", '[\n {"device": "a"},\n oops\n]', 3, /this is not JSON/],
    ["ndjson", '{"device":"a"}\n{oops}\n', 2, /this is not JSON/],
  ];
  for (const [format, text, line, message] of cases) {
    assert.throws(
      () => readTable("t", text, format, "device"),
      (thrown) => {
        assert.ok(thrown instanceof TableError, text);
        assert.equal(thrown.line, line, text);
        assert.match(`${thrown.message}; ${thrown.fix}`, message, text);
        return true;
      },
    );
  }
});

const DEVICES = readTable(
  "devices",
  "device,site,limit,rate,on\npress-1,Berlin,90,0.5,true\npress-2,Ulm,,1,false\n7,Jena,70,2,true\n",
  "csv",
  "device",
);
const TABLE = tableColumns({ name: "devices", file: "", key: "device", on: null, data: DEVICES }, [
  "device",
  "id",
]);

function lookUp(program: RowProgram, columns: Columns, names: readonly string[]): Value[][] {
  const rows = Object.values(columns)[0]?.values.length ?? 0;
  const batch = batchOf(core, Array(rows).fill(0n), columns);
  const seen = viewWithin(core, program, batch).columns;
  disposeBatch(core, batch);
  return names.map((name) => seen.get(name) ?? []);
}

test("a column of the event's row, null where there is no such row or no value", () => {
  const derive = {
    site: "devices.site",
    room: "devices.limit - temp",
    rate: "devices.rate",
    on: "devices.on",
    name: "devices.device",
  };
  const program = createRowProgram(core, compiled({ derive }, streamOf(null), new Map([["devices", TABLE]])));
  const tables = new Tables(core);
  assert.throws(
    () => tables.bind(program),
    (thrown) => thrown instanceof MillraceError && thrown.code === "E_UNKNOWN_TABLE",
  );
  tables.load(DEVICES);
  tables.bind(program);
  const columns: Columns = {
    device: { type: "string", values: ["press-1", "press-2", "press-3", null, "press-1"] },
    temp: { type: "int", values: [80n, 1n, 1n, 1n, null] },
  };
  const names = Object.keys(derive);
  const nothing = [null, null, null, null, null];
  assert.deepEqual(lookUp(program, columns, names), [
    ["Berlin", "Ulm", null, null, "Berlin"],
    [10n, null, null, null, null],
    [0.5, 1, null, null, 0.5],
    [true, false, null, null, true],
    ["press-1", "press-2", null, null, "press-1"],
  ]);
  tables.load(readTable("devices", "device,site\npress-3,Rom\n", "csv", "device"));
  assert.deepEqual(lookUp(program, columns, ["site", "rate"]), [[null, null, "Rom", null, null], nothing]);
  tables.unbind(program);
  program.dispose();
});

test("keys that are no texts are found by their text; the second candidate stands in for the first", () => {
  const program = createRowProgram(
    core,
    compiled({ derive: { site: "devices.site" } }, streamOf(null), new Map([["devices", TABLE]])),
  );
  const tables = new Tables(core);
  tables.load(DEVICES);
  tables.bind(program);
  for (const [type, value] of [
    ["int", 7n],
    ["float", 7],
    ["string", "7"],
  ] as const) {
    assert.deepEqual(lookUp(program, { device: { type, values: [value, null] } }, ["site"]), [
      ["Jena", null],
    ]);
    assert.deepEqual(lookUp(program, { id: { type, values: [null, value] } }, ["site"]), [[null, "Jena"]]);
  }
  tables.unbind(program);
  program.dispose();
});

test("many rows over several chunks", () => {
  const keys = Array.from({ length: 10_000 }, (_, row) => `k${row}`);
  const data: TableData = {
    name: "devices",
    columns: [
      { name: "device", type: "string", values: keys },
      { name: "n", type: "int", values: keys.map((_, row) => BigInt(row)) },
    ],
  };
  const columns = tableColumns({ name: "devices", file: "", key: "device", on: "key", data }, []);
  const program = createRowProgram(
    core,
    compiled({ derive: { n: "devices.n * 2" } }, streamOf(null), new Map([["devices", columns]])),
  );
  const tables = new Tables(core);
  tables.load(data);
  tables.bind(program);
  const values = Array.from({ length: 5_000 }, (_, row) => `k${(row * 7_919) % 12_000}`);
  const expected = values.map((key) => (Number(key.slice(1)) < 10_000 ? BigInt(key.slice(1)) * 2n : null));
  assert.deepEqual(lookUp(program, { key: { type: "string", values } }, ["n"]), [expected]);
});

test("a table whose keys are not unique is refused, and the one before stays", () => {
  const tables = new Tables(core);
  const twice: TableData = { name: "t", columns: [{ name: "k", type: "string", values: ["a", "a"] }] };
  assert.throws(
    () => tables.load(twice),
    (thrown) => thrown instanceof MillraceError && thrown.code === "E_TABLE_KEY",
  );
});

const CONFIG = `streams:
  s: { key: device }
tables:
  devices: { file: devices.csv, key: device }
  sites: { file: sites.json, key: name, on: place }
queries:
  q:
    from: s
    derive: { site: devices.site, over: temp - devices.limit }
    where: sites.country == "DE"
    window: { tumbling: 1m }
    by: [site]
    select: { worst: max(over) }
`;

test("tables are read beside the configuration, and what is wrong is named by file and line", (context) => {
  const dir = makeTempDir(context);
  const check = (text: string): string[] => {
    const loaded = parseConfig(text, join(dir, "millrace.yaml"));
    return loaded.ok ? [] : loaded.problems.map((problem) => formatProblem(problem).replaceAll(dir, ""));
  };
  writeFileSync(join(dir, "devices.csv"), "device,site,limit\na,x,1\na,y,2\n");
  assert.deepEqual(
    check(CONFIG),
    [
      "/millrace.yaml:5: tables.sites.file: there is no file /sites.json; mend the path",
      '/devices.csv:3: tables.devices: the key "a" stands in line 2 already; let every key stand once',
    ].toSorted(),
  );
  writeFileSync(join(dir, "devices.csv"), "device,site,limit\na,x,1\nb,y,2\n");
  writeFileSync(join(dir, "sites.json"), '[{"name":"x","country":"DE"}]');
  assert.deepEqual(check(CONFIG), []);
  assert.deepEqual(check(CONFIG.replace("devices.limit", "devices.limt")), [
    "/millrace.yaml:9: queries.q.derive.over: column 8: table devices has no column limt; did you mean `devices.limit`?",
  ]);
  assert.deepEqual(check(CONFIG.replace("devices.limit", "devices.site")), [
    "/millrace.yaml:9: queries.q.derive.over: column 8: - needs a number, and this is a text; name a field with numbers, or declare the field as int or float",
  ]);
  assert.deepEqual(check(CONFIG.replace("devices.csv", "devices.xml")), [
    "/millrace.yaml:4: tables.devices.file: devices.xml is of no known form; name a file that ends in .csv, .json or .ndjson",
  ]);
  assert.match(
    check(CONFIG.replace("  sites:", "  a.b:"))[0] ?? "",
    /:5: tables\.a\.b: .*1 to 128 letters, digits or _/,
  );
});
