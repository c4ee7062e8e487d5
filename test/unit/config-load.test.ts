import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { bufferSettings } from "../../host/config/buffer.ts";
import type { Config } from "../../host/config/config.ts";
import { configJsonSchema } from "../../host/config/json-schema.ts";
import { parseConfig } from "../../host/config/load.ts";
import { automaticQuery, automaticStream, queryPlan, streamPlan } from "../../host/config/plans.ts";
import { formatProblem } from "../../host/config/problems.ts";
import { parseHubConfig } from "../../host/hub/hub-config.ts";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const SECOND_US = 1_000_000;

function load(text: string, environment = {}): Config {
  const loaded = parseConfig(text, "test.yaml", {}, environment);
  assert.ok(loaded.ok, loaded.ok ? "" : loaded.problems.map(formatProblem).join("\n"));
  return loaded.config;
}

/** Every problem as it is printed. */
function problems(text: string, environment = {}): string[] {
  const loaded = parseConfig(text, "test.yaml", {}, environment);
  assert.ok(!loaded.ok, "this must not pass");
  return loaded.problems.map(formatProblem);
}

const STREAM = "streams:\n  s: { key: device }\n";

test("nothing at all gives the defaults", () => {
  const config = load("");
  assert.equal(config.acceptsAnyStream, true);
  assert.equal(config.dataDir, "./millrace-data");
  assert.deepEqual(config.listen, { host: "127.0.0.1", port: 7070 });
  assert.equal(config.limits.maxBodyBytes, 16 * 1024 * 1024);
  assert.equal(config.checkpointEveryMs, 30_000);
  assert.equal(config.groupCommitMs, 5);
  assert.ok(config.ingestWorkers >= 1);
  assert.deepEqual(load("streams:\nqueries:\n# nothing else"), config);
});

test("a stream without settings has the defaults of every stream", () => {
  const stream = load("streams:\n  s:\n").streams.get("s");
  assert.deepEqual(stream, automaticStream("s"));
  assert.deepEqual(stream?.watermark, {
    boundUs: 5 * SECOND_US,
    per: "stream",
    idleUs: 60 * SECOND_US,
    maxAheadUs: 300 * SECOND_US,
  });
  assert.equal(stream?.latenessUs, 30 * SECOND_US);
});

test("every setting arrives where it belongs", () => {
  const config = load(`
node: { id: press-hall-3 }
data: /var/lib/millrace
http: { listen: "[::1]:8080" }
streams:
  machines:
    key: meta.device
    time: { field: ts, unit: ms }
    fields: { temp: float, rpm: int, on: bool, state: string }
    extra: reject
    watermark: { bound: 1500ms, per: source, idle: 2m, maxAhead: 36500d }
    lateness: 0s
    priority: 0
queries:
  temp_5m:
    from: machines
    window: { tumbling: 5m, offset: 7m }
    by: []
    select: { n: count(), mean: avg(temp), p99: quantile(temp, 0.99), top: max(rpm) }
checkpoint: { every: 10s }
durability: { groupCommit: 2ms }
workers: { ingest: 3 }
limits: { maxBody: 32MiB, maxQueuedBytes: 1GiB, maxQueuedRequests: 7, maxStreams: 8, maxSources: 10, maxLiveClients: 9, maxParked: 14, maxParkedBytes: 1MiB, maxConnections: 11, maxKeyClocks: 12, maxState: 64MiB, maxTable: 2MiB, maxWatermarkAhead: 5d, maxWebhooksPerSecond: 12, maxQueuedWebhooks: 13, maxDevices: 14, maxDeviceAttributes: 15, maxAttributeBytes: 2KiB }
`);
  assert.equal(config.node.id, "press-hall-3");
  assert.equal(config.dataDir, "/var/lib/millrace");
  assert.deepEqual(config.listen, { host: "::1", port: 8080 });
  assert.equal(config.acceptsAnyStream, false);
  assert.deepEqual([config.checkpointEveryMs, config.groupCommitMs, config.ingestWorkers], [10_000, 2, 3]);
  const { maxBodyBytes, maxQueuedBytes, ...counts } = config.limits;
  assert.deepEqual([maxBodyBytes, maxQueuedBytes], [32 * 1024 ** 2, 1024 ** 3]);
  assert.deepEqual(counts, {
    maxQueuedRequests: 7,
    maxStreams: 8,
    maxSources: 10,
    maxLiveClients: 9,
    maxConnections: 11,
    maxKeyClocks: 12,
    maxStateBytes: 64 * 1024 ** 2,
    maxTableBytes: 2 * 1024 ** 2,
    maxWatermarkAheadUs: 5 * 86_400e6,
    maxParked: 14,
    maxParkedBytes: 1024 * 1024,
    maxWebhooksPerSecond: 12,
    maxQueuedWebhooks: 13,
    maxDevices: 14,
    maxDeviceAttributes: 15,
    maxAttributeBytes: 2 * 1024,
  });

  const stream = config.streams.get("machines");
  const query = config.queries.get("temp_5m");
  assert.ok(stream && query);
  assert.deepEqual(streamPlan(stream), {
    stream: "machines",
    key: ["meta.device"],
    isKeyDeclared: true,
    time: { fields: ["ts"], isDeclared: true, unit: "ms" },
    fields: [
      { name: "temp", type: "float" },
      { name: "rpm", type: "int" },
      { name: "on", type: "bool" },
      { name: "state", type: "string" },
    ],
    extra: "reject",
    maxAheadUs: 36_500 * 86_400 * SECOND_US,
  });
  assert.equal(stream.priority, 0);
  const { per, idleUs } = stream.watermark;
  assert.deepEqual([per, idleUs], ["source", 120 * SECOND_US]);
  assert.deepEqual(queryPlan(query, stream, 4), {
    id: 4,
    name: "temp_5m",
    stream: "machines",
    window: { kind: "tumbling", sizeUs: 300 * SECOND_US, offsetUs: 120 * SECOND_US },
    latenessUs: 0,
    by: [],
    select: [
      { name: "n", fn: "count", field: null, parameter: null },
      { name: "mean", fn: "avg", field: "temp", parameter: null },
      { name: "p99", fn: "quantile", field: "temp", parameter: 0.99 },
      { name: "top", fn: "max", field: "rpm", parameter: null },
    ],
  });
});

test("a query groups by the stream's key unless it says otherwise", () => {
  const stream = automaticStream("s");
  assert.deepEqual(queryPlan(automaticQuery("s"), stream, 0).by, [["device", "id"]]);
  assert.deepEqual(queryPlan({ ...automaticQuery("s"), by: ["site", "line"] }, stream, 0).by, [
    ["site"],
    ["line"],
  ]);
  const automatic = automaticQuery("s");
  assert.deepEqual(
    [automatic.name, automatic.select, automatic.window],
    ["s_1m", "*", { kind: "tumbling", sizeUs: 60 * SECOND_US, offsetUs: 0 }],
  );
});

test("every kind of window, and a clock for each key", () => {
  const config = load(`
streams:
  s: { watermark: { bound: 2s, per: key } }
  t:
queries:
  a: { from: s, window: { session: 30s }, select: { n: count() } }
  b: { from: t, window: { count: 100 }, select: { n: count() } }
  c: { from: t, window: none, select: { n: count() } }
  d: { from: t, window: { none: true }, select: { n: count() } }
limits: { maxKeyClocks: 5 }
`);
  const window = (name: string): unknown => config.queries.get(name)?.window;
  assert.deepEqual(window("a"), { kind: "session", gapUs: 30 * SECOND_US });
  assert.deepEqual(window("b"), { kind: "count", size: 100 });
  assert.deepEqual([window("c"), window("d")], [{ kind: "none" }, { kind: "none" }]);
  const plan = (query: string, stream: string) =>
    queryPlan(config.queries.get(query)!, config.streams.get(stream)!, 0, config.limits.maxKeyClocks);
  assert.deepEqual(plan("a", "s").keyClock, { boundUs: 2 * SECOND_US, maxIdleKeys: 5 });
  assert.equal(plan("b", "t").keyClock, undefined);
  const problem = (window: string): string =>
    problems(`${STREAM}queries:\n  q: { from: s, window: ${window}, select: { n: count() } }`).join();
  assert.match(problem("{}"), /queries\.q\.window: names no kind of window; add one of tumbling/);
  assert.match(problem("{ session: 1s, count: 5 }"), /window: is both session and count; keep one of them/);
  assert.match(
    problem("{ session: 1s, offset: 1s }"),
    /window\.offset: offset goes with tumbling and sliding windows; remove it/,
  );
  assert.match(problem("{ count: 0 }"), /window\.count: must be a whole number from 1 to 1000000000/);
  assert.match(problem("{ none: false }"), /window\.none: must be true/);
  const perKey = (query: string): string =>
    problems(
      `streams: { s: { watermark: { per: key } } }\nqueries:\n  q: { from: s, select: { n: count() }, ${query} }`,
    ).join();
  assert.match(
    perKey("window: { sliding: 2000d, every: 1d, timezone: UTC }"),
    /every: puts each event into more than 1000 windows, while/,
  );
  assert.match(
    perKey("window: { sliding: 1h, every: 1s }"),
    /every: puts each event into more than 1000 windows, while/,
  );
  for (const window of ["{ tumbling: 1m }", "{ session: 1m }", "{ tumbling: 1mo }"])
    assert.ok(
      parseConfig(
        `streams: { s: { watermark: { per: key } } }\nqueries: { q: { from: s, select: { n: count() }, window: ${window}, early: 1s } }`,
        "f.yaml",
      ).ok,
    );
  assert.match(perKey("window: { tumbling: 1m }, early: 1m"), /q\.early: is not shorter than the windows/);
  assert.match(problem("none, early: 1s"), /q\.early: has no windows that could be filling: .*; remove it/);
  assert.match(problem("never"), /window: must be a kind of window; write it like/);
});

test("the command line has the last word", () => {
  const text = "data: a\nhttp: { listen: 127.0.0.1:1 }";
  const loaded = parseConfig(text, "test.yaml", { dataDir: "b", listen: "0.0.0.0:2" });
  assert.ok(loaded.ok);
  assert.equal(loaded.config.dataDir, "b");
  assert.deepEqual(loaded.config.listen, { host: "0.0.0.0", port: 2 });
  const refused = parseConfig(text, "test.yaml", { listen: "nowhere" });
  assert.ok(!refused.ok);
  assert.match(formatProblem(refused.problems[0]!), /--listen nowhere must be HOST:PORT/);
});

test("a misspelt key is shown with its line and what was meant", () => {
  assert.deepEqual(problems("streams:\n  s:\n    watermark:\n      bond: 5s\n"), [
    "test.yaml:4: streams.s.watermark.bond: there is no setting `bond` here; did you mean `bound`?",
  ]);
  assert.deepEqual(problems("strems:\n  s: {}\n"), [
    "test.yaml:1: strems: there is no setting `strems` here; did you mean `streams`?",
  ]);
  const loaded = parseConfig("streams:\n  s:\n    watermark: { bond: 5s }\n", "test.yaml");
  assert.ok(!loaded.ok);
  assert.deepEqual([loaded.problems[0]?.line, loaded.problems[0]?.column], [3, 18]);
});

test("a query on a query takes its groups, and goes back to a stream", () => {
  const query = (name: string, from: string, rest = ""): string =>
    `  ${name}: { from: ${from}, window: { tumbling: 1m }, select: { n: count() }${rest} }\n`;
  const config = load(
    `${STREAM}queries:\n${query("c", "b")}${query("b", "a", ", where: n > 1")}${query("a", "s", ", by: [x, y]")}`,
  );
  assert.deepEqual(
    [config.queries.get("b")?.by, config.queries.get("c")?.by],
    [
      ["x", "y"],
      ["x", "y"],
    ],
  );
  assert.equal(config.queries.get("c")?.isOnQuery, true);
  assert.equal(config.queries.get("a")?.isOnQuery, undefined);
  assert.deepEqual(problems(`${STREAM}queries:\n${query("a", "b")}${query("b", "a")}`), [
    "test.yaml:4: queries.a.from: goes round in a circle (a → b → a); start from a stream",
    "test.yaml:5: queries.b.from: goes round in a circle (b → a → b); start from a stream",
  ]);
  const each = "  each: { from: s, window: none, select: { v: first(v) } }\n";
  assert.deepEqual(problems(`${STREAM}queries:\n${each}${query("a", "each")}`), [
    "test.yaml:5: queries.a.from: each gives a row for each event; start from the stream, with the same where and derive",
  ]);
  const perKey = "streams: { s: { key: k, watermark: { per: key } } }\n";
  assert.match(
    problems(`${perKey}queries:\n${query("a", "s")}${query("b", "a")}`).join(),
    /no watermark to follow/,
  );
});

test("wrong values are shown where they stand, with the right form", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["http: { listen: 7070 }", /^test\.yaml:1: http\.listen: must be HOST:PORT/],
    ["http: { listen: 127.0.0.1:99999 }", /must be HOST:PORT/],
    ["limits: { maxBody: 5 }", /limits\.maxBody: must be a size; write it like 64KiB/],
    ["limits:\n  maxBody: 1B", /^test\.yaml:2: .*from 1KiB to 1GiB/],
    ["checkpoint:\n  every: 30", /^test\.yaml:2: checkpoint\.every: must be a duration/],
    ["checkpoint: { every: 90d }", /must be from 10ms to 1d/],
    ["workers: { ingest: 0 }", /a whole number from 1 to 64/],
    ["streams: []", /streams: must be a map of settings/],
    ["just text", /must be a map of settings/],
    ["streams:\n  a b: {}", /^test\.yaml:2: streams\.a b: this name must be 1 to 128 letters/],
    ["streams:\n  s:\n    fields: { t: double }", /must be one of bool, int, float, string/],
    ["streams:\n  s:\n    extra: maybe", /must be one of keep, drop, reject/],
    ["streams:\n  s:\n    priority: 10", /a whole number from 0 to 9/],
    [`${STREAM}queries:\n  q:\n    from: s`, /queries\.q\.window: `window` is missing; add it/],
    [
      `${STREAM}queries:\n  q: { from: s, window: { tumbling: 0s }, select: { n: count() } }`,
      /must be from 1us/,
    ],
    [`${STREAM}queries:\n  q: { from: s, window: { tumbling: 1s }, select: {} }`, /must select something/],
    [
      `${STREAM}queries:\n  q: { from: t, window: { tumbling: 1s }, select: { n: count() } }`,
      /there is no stream t/,
    ],
    [
      `${STREAM}queries:\n  q: { from: s, window: { tumbling: 1s }, by: [a, a], select: { n: count() } }`,
      /twice/,
    ],
    ["limits: { maxBody: 2MiB, maxQueuedBytes: 1MiB }", /the largest body \(2097152 bytes\) must fit/],
    ["data: a\ndata: b", /^test\.yaml:2: this setting stands twice/],
    ["data: [", /^test\.yaml:\d+: /],
    ["data: *nowhere", /alias/],
  ];
  for (const [text, message] of cases) {
    const found = problems(text);
    assert.ok(
      found.some((line) => message.test(line)),
      `${text}\n${found.join("\n")}`,
    );
  }
});

test("a name that is lost in a map or in an address is refused: what it stands for would be passed over in silence", () => {
  assert.deepEqual(
    problems(
      "streams:\n  __proto__: { key: a }\n  s: { fields: { __proto__: float } }\nqueries:\n  q: { from: s, window: none, select: { __proto__: count() } }\n",
    ),
    ["2:", "3:", "5:"].map((line) => `test.yaml:${line} __proto__ cannot be a name; choose another`),
  );
  const steps = problems('node: { id: .. }\nstreams:\n  ..:\n  .:\n  ...: { key: "." }\n');
  assert.equal(steps.length, 3);
  for (const [at, problem] of steps.entries())
    assert.match(
      problem,
      new RegExp(`^test.yaml:${[1, 3, 4][at]}: .*neither \\. nor \\.\\., which are steps`),
    );
  assert.deepEqual(problems("streams: { s: }\n---\nqueries: {}"), [
    "test.yaml:2: --- begins a second document; keep one of them",
  ]);
  const hub = parseHubConfig("tokens: { __proto__: 12345678 }", "hub.yaml", {}, {});
  assert.ok(!hub.ok);
  assert.deepEqual(hub.problems.map(formatProblem), [
    "hub.yaml:1: __proto__ cannot be a name; choose another",
  ]);
});

test("a select expression is shown at its column in the file", () => {
  const text = `${STREAM}queries:\n  q:\n    from: s\n    window: { tumbling: 5s }\n    select: { a: count(), b: "quantile(t, 9)" }\n`;
  const loaded = parseConfig(text, "test.yaml");
  assert.ok(!loaded.ok);
  const [problem] = loaded.problems;
  assert.deepEqual([problem?.line, problem?.path], [7, "queries.q.select.b"]);
  const line = text.split("\n")[6] ?? "";
  assert.equal(line.slice((problem?.column ?? 0) - 1, problem?.column), "9");
});

test("declared fields catch a misspelt one and a string that is to be averaged", () => {
  const stream =
    "streams:\n  s: { fields: { temp: float, state: string }, key: device, extra: drop }\nqueries:\n";
  const query = (by: string, select: string): string =>
    `${stream}  q: { from: s, window: { tumbling: 5s }, by: [${by}], select: { v: ${select} } }`;
  assert.match(
    problems(query("device", "avg(tmep)"))[0] ?? "",
    /stream s has no field tmep; did you mean `temp`\?/,
  );
  assert.match(
    problems(query("site", "avg(temp)"))[0] ?? "",
    /queries\.q\.by\.0: stream s has no field site/,
  );
  assert.match(
    problems(query("device", "avg(state)"))[0] ?? "",
    /test\.yaml:4: queries\.q\.select\.v: state is declared as a string, and avg\(\) takes numbers and bools; use one of count, min, max, first, last, distinct, topk, mode/,
  );
  for (const select of ["count(state)", "last(state)", "topk(state, 3)", "distinct(state)"])
    load(query("state", select));
});

test("environment variables are put in anywhere, and may not change the form", () => {
  const environment = { NAME: "hall", PORT: "8081", N: "2", ODD: "a: b, {c}\n- d # e" };
  const config = load(
    [
      `node: { id: \${NAME}-3 }`,
      `data: "/data/\${NAME}/\${N}"`,
      `http: { listen: 127.0.0.1:\${PORT} }`,
      `workers: { ingest: \${N} }`,
    ].join("\n"),
    environment,
  );
  assert.equal(config.node.id, "hall-3");
  assert.equal(config.dataDir, "/data/hall/2");
  assert.equal(config.listen.port, 8081);
  assert.equal(config.ingestWorkers, 2);
  assert.equal(load(`data: \${ODD}`, environment).dataDir, environment.ODD);
});

test("a missing variable is a problem beside the others; in a comment it is none", () => {
  assert.deepEqual(problems(`# \${COMMENT}\ndata: x/\${GONE}\nhttp: { listen: \${ALSO} }\nlimts: {}\n`), [
    "test.yaml:2: the environment variable GONE is not set; set it, or write the value here",
    "test.yaml:3: the environment variable ALSO is not set; set it, or write the value here",
    "test.yaml:4: limts: there is no setting `limts` here; did you mean `limits`?",
  ]);
});

test("the page on configuration shows a valid one, with the defaults that it states", (context) => {
  const page = readFileSync(join(REPOSITORY_ROOT, "docs/configuration.md"), "utf8");
  const example = /^```yaml\n([\s\S]*?)^```$/m.exec(page)?.[1];
  assert.ok(example);
  const table = join(makeTempDir(context), "devices.csv");
  writeFileSync(table, "device,limit\npress-1,90\n");
  const shown = load(example.replace("devices.csv", table));
  const { limits, checkpointEveryMs, groupCommitMs, dataDir, listen } = load("");
  assert.deepEqual(
    [shown.limits, shown.checkpointEveryMs, shown.groupCommitMs],
    [limits, checkpointEveryMs, groupCommitMs],
  );
  assert.deepEqual([shown.dataDir, shown.listen], [dataDir, listen]);
  const stream = shown.streams.get("machines");
  const { watermark, latenessUs, priority, extra } = automaticStream("machines");
  assert.deepEqual(
    {
      watermark: stream?.watermark,
      latenessUs: stream?.latenessUs,
      priority: stream?.priority,
      extra: stream?.extra,
    },
    { watermark, latenessUs, priority, extra },
  );
});

test("the JSON Schema has every setting and allows variables", () => {
  const schema = JSON.stringify(configJsonSchema());
  for (const key of ["streams", "queries", "maxAhead", "tumbling", "groupCommit", "maxQueuedBytes", "sync"]) {
    assert.ok(schema.includes(`"${key}"`), key);
  }
  assert.ok(schema.includes("2020-12"));
  assert.ok(schema.includes(String.raw`\\$\\{[A-Za-z_]\\w*\\}`));
});

test("what nobody has expires where a retention was set and nothing is synced, and never with a hub or another sink", (context) => {
  const dir = makeTempDir(context);
  const url = "{ url: http://127.0.0.1:7080 }";
  const file = `{ sinks: { copy: { file: ${JSON.stringify(dir)} } } }`;
  for (const [text, expires] of [
    ["", false],
    ["buffer: { cap: 1GiB }", false],
    ["buffer: { retention: 1h }", true],
    [`sync: ${url}`, false],
    [`buffer: { retention: 1h }\nsync: ${url}`, false],
    [`buffer: { retention: 1h }\nsync: ${file}`, false],
  ] as const) {
    assert.equal(bufferSettings(load(text)).expiresUnsynced, expires, text);
  }
});
