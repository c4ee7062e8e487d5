import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { HttpClient } from "../support/http-client.ts";
import { type NodeProcess, spawnNode } from "../support/node-process.ts";
import { type Cleanup, makeTempDir } from "../support/temp-dir.ts";
import { millrace } from "./cli-stand-in.ts";

const CONFIG = `
streams:
  machines:
    key: device
    fields: { temp: float, count: int, on: bool, state: string, inner.n: int }
    watermark: { bound: 1s, maxAhead: 36500d }
queries:
  temp: { from: machines, window: { tumbling: 1m }, select: { n: count(), mean: avg(temp), top: "topk(state, 2)", last: last(state) } }
`;
/** Characters that some take for ends of lines; JSON has them as they are. */
const ODD = "ü😀\u2028\u2029\u0085";
const EVENTS = [
  {
    device: "d,1",
    ts: "2026-01-01T00:00:00.000001Z",
    temp: 1.5,
    count: 7,
    on: true,
    state: 'say "hi"\r\nthere',
  },
  {
    device: "d2",
    ts: "2026-01-01T00:00:01Z",
    temp: -0.25,
    on: false,
    state: "",
    inner: { n: 3, odd: [1, 2] },
  },
  { device: ODD, ts: "2026-01-01T00:00:02Z", more: { a: 1.0, b: "x" }, list: [1, "2", null] },
  { device: "d2", ts: "2026-01-01T00:00:03Z", temp: 21, state: null },
];
/** Larger than a double can hold. */
const LARGE =
  '{"device":"d9","ts":"2026-01-01T00:00:04Z","count":9007199254740993,"big":12345678901234567890}';

async function start(context: Cleanup): Promise<{ node: NodeProcess; client: HttpClient; dir: string }> {
  const node = await spawnNode({ config: CONFIG }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await client.send("machines", EVENTS);
  await client.send("machines", LARGE);
  await client.watermark("machines", { end: true });
  return { node, client, dir: makeTempDir(context) };
}

/** Rows of a Parquet file; µs as they are stored. */
async function readParquet(file: string): Promise<Record<string, unknown>[]> {
  const parsers = { timestampFromMicroseconds: (us: bigint) => us } as never;
  return parquetReadObjects({ file: await asyncBufferFromFile(file), compressors, parsers });
}

test("export: events and results as NDJSON, CSV and Parquet hold what the node gives", async (context) => {
  const { node, client, dir } = await start(context);
  const file = (name: string): string => join(dir, name);
  for (const args of [
    ["machines", "-o", file("all.ndjson")],
    ["machines", "-o", file("all.csv")],
    ["machines", "-o", file("all.parquet"), "--json"],
    ["machines", "-o", file("some.csv"), "--key", "d2", "--to", "2026-01-01T00:00:03Z"],
    ["--query", "temp", "-o", file("results.ndjson")],
    ["--query", "temp", "-o", file("results.csv")],
    ["--query", "temp", "-o", file("results"), "--format", "parquet"],
  ]) {
    const run = await millrace(["export", ...args, "--url", node.url]);
    assert.equal(run.code, 0, run.stderr);
    if (args.includes("--json"))
      assert.deepEqual(JSON.parse(run.stdout), { output: file("all.parquet"), format: "parquet", rows: 5 });
  }
  assert.equal(readdirSync(dir).length, 7, "nothing else is left");

  const given = await client.request("GET", "/v1/streams/machines/events");
  assert.equal(readFileSync(file("all.ndjson"), "utf8"), given.text);
  assert.equal(
    readFileSync(file("all.csv"), "utf8"),
    [
      "ts,temp,count,on,state,inner.n,device,extra",
      '2026-01-01T00:00:00.000001Z,1.5,7,true,"say ""hi""\r\nthere",,"d,1",',
      '2026-01-01T00:00:01.000Z,-0.25,,false,"",3,d2,"{""inner.odd"":[1,2]}"',
      `2026-01-01T00:00:02.000Z,,,,,,${ODD},"{""more"":{""a"":1,""b"":""x""},""list"":[1,""2"",null]}"`,
      "2026-01-01T00:00:03.000Z,21,,,,,d2,",
      '2026-01-01T00:00:04.000Z,,9007199254740993,,,,d9,"{""big"":12345678901234567890}"',
      "",
    ].join("\r\n"),
  );
  assert.equal(readFileSync(file("some.csv"), "utf8").split("\r\n").length, 3);

  const rows = await readParquet(file("all.parquet"));
  const zero = 1_767_225_600_000_000n;
  assert.deepEqual(
    rows.map(({ ts, device, temp, count, on, state }) => [ts, device, temp, count, on, state]),
    [
      [zero + 1n, "d,1", 1.5, 7n, true, 'say "hi"\r\nthere'],
      [zero + 1_000_000n, "d2", -0.25, null, false, ""],
      [zero + 2_000_000n, ODD, null, null, null, null],
      [zero + 3_000_000n, "d2", 21, null, null, null],
      [zero + 4_000_000n, "d9", null, 9_007_199_254_740_993n, null, null],
    ].map((row) => row.map((value) => value ?? rows[2]?.temp)),
  );
  assert.equal(rows[1]!["inner.n"], 3n);
  assert.equal(rows[4]!.extra, '{"big":12345678901234567890}');
  const { schema } = await parquetMetadataAsync(await asyncBufferFromFile(file("all.parquet")));
  assert.deepEqual(
    schema.slice(1).map(({ name, type, converted_type }) => [name, type, converted_type ?? null]),
    [
      ["ts", "INT64", "TIMESTAMP_MICROS"],
      ["temp", "DOUBLE", null],
      ["count", "INT64", null],
      ["on", "BOOLEAN", null],
      ["state", "BYTE_ARRAY", "UTF8"],
      ["inner.n", "INT64", null],
      ["device", "BYTE_ARRAY", "UTF8"],
      ["extra", "BYTE_ARRAY", "UTF8"],
    ],
  );

  const results = await client.results("temp");
  const inParquet = await readParquet(file("results"));
  assert.deepEqual(
    inParquet.map((row) => [
      row["window.start"],
      row["key.device"],
      row["values.n"],
      row["values.mean"] ?? null,
      row.kind,
    ]),
    results.map(({ window, key, values, kind }) => [
      BigInt(Date.parse(window.start)) * 1_000n,
      key.device,
      BigInt(values.n!),
      values.mean,
      kind,
    ]),
  );
  assert.deepEqual(JSON.parse(String(inParquet[0]!["values.top"])), results[0]!.values.top);
  const lines = readFileSync(file("results.csv"), "utf8").split("\r\n");
  assert.equal(
    lines[0],
    "window.start,window.end,key.device,values.n,values.mean,values.top,values.last,revision,kind",
  );
  assert.equal(lines.length, results.length + 3, "a text holds a line end");
});

test("export: many rows in row groups, widened columns, and what cannot be", async (context) => {
  const node = await spawnNode({ config: null }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const dir = makeTempDir(context);
  const events = Array.from({ length: 60_000 }, (_, at) => ({
    device: `d${at % 9}`,
    ts: Date.UTC(2026, 0, 1) + at,
    n: at < 30_000 ? at : at + 0.5,
    mixed: at % 3 === 0 ? at : `t${at}`,
  }));
  for (let at = 0; at < events.length; at += 10_000) await client.send("many", events.slice(at, at + 10_000));
  const out = join(dir, "many.parquet");
  const run = await millrace(["export", "many", "-o", out, "--url", node.url]);
  assert.equal(run.code, 0, run.stderr);
  const metadata = await parquetMetadataAsync(await asyncBufferFromFile(out));
  assert.deepEqual(
    metadata.row_groups.map(({ num_rows }) => Number(num_rows)),
    [50_000, 10_000],
  );
  const rows = await readParquet(out);
  assert.deepEqual(
    rows.map(({ n, mixed }) => [n, mixed]),
    events.map(({ n, mixed }) => [n, String(mixed)]),
  );
  for (const [args, message] of [
    [["many", "--query", "x", "-o", out], /name a stream, or a query/],
    [["many", "-o", join(dir, "file")], /does not say its format/],
    [["many", "-o", "-", "--format", "parquet"], /written to a file/],
  ] as const) {
    const refused = await millrace(["export", ...args, "--url", node.url]);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, message);
  }
  assert.equal((await millrace(["export", "nothing", "-o", join(dir, "a.csv"), "--url", node.url])).code, 1);
  for (const name of ["none/a.csv", "none/a.ndjson"]) {
    const unwritable = await millrace(["export", "many", "-o", join(dir, name), "--url", node.url]);
    assert.equal(unwritable.code, 1);
    assert.match(unwritable.stderr, /^millrace: .*none\/a\..* cannot be written \(ENOENT\)/);
  }
  assert.deepEqual(readdirSync(dir), ["many.parquet"]);
});
