import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { redact } from "../../host/api/describe-config.ts";
import { type SchemaName, schemas } from "../../host/api/schemas.ts";
import { parseTime } from "../../host/api/times.ts";
import { parseConfig } from "../../host/config/load.ts";
import { DEVICE, KNOWN, startTestNode, TABLE, type TestProblem } from "./api-fixture.ts";

const QUERY = `${KNOWN}_1m`;

test("times in requests", () => {
  const us = 1_767_225_600_000_000;
  for (const [text, expected] of [
    ["2026-01-01T00:00:00Z", us],
    ["2026-01-01", us],
    ["2026-01-01T00:00", us],
    ["2026-01-01 00:00:00.25", us + 250_000],
    ["2026-01-01T00:00:00.123456789Z", us + 123_456],
    ["2026-01-01T02:00:00+02:00", us],
    ["2026-01-01T02:00:00 02:00", us],
    ["2025-12-31T22:00:00-0200", us],
    ["1969-12-31T23:59:59.999999Z", -1],
    [String(us), us],
    ["-1", -1],
    [us, us],
    ["soon", null],
    ["", null],
    ["2026-02-30", null],
    ["2026-13-01T00:00:00Z", null],
    ["2026-01-01T25:00:00Z", null],
    ["9999999999999999", null],
    ["\0", null],
    [1.5, null],
    [Number.POSITIVE_INFINITY, null],
  ] as const) {
    assert.equal(parseTime(text), expected, String(text));
  }
});

test("lists ask for what the parameters say, after everything acknowledged is applied", async (context) => {
  const { url, engine, reads } = await startTestNode(context);
  const from = "2026-01-01T00:00:00Z";
  for (const [path, list, request] of [
    [
      `/v1/streams/${KNOWN}/events?from=${from}&to=1767225600000001&key=a&limit=7&after=x`,
      "events",
      {
        stream: KNOWN,
        timeField: "ts",
        keyFields: ["device", "id"],
        fromUs: 1_767_225_600_000_000,
        toUs: 1_767_225_600_000_001,
        key: "a",
        limit: 7,
        after: "x",
      },
    ],
    [
      `/v1/queries/${QUERY}/results`,
      "results",
      {
        query: QUERY,
        fromUs: null,
        toUs: null,
        key: null,
        kind: null,
        revisions: "latest",
        limit: 1_000,
        after: null,
      },
    ],
    [
      `/v1/queries/${QUERY}/results?kind=late&revisions=all&limit=100000`,
      "results",
      {
        query: QUERY,
        fromUs: null,
        toUs: null,
        key: null,
        kind: "late",
        revisions: "all",
        limit: 100_000,
        after: null,
      },
    ],
    [`/v1/streams/${KNOWN}/late`, "late", { stream: KNOWN, timeField: "ts", limit: 1_000, after: null }],
    ["/v1/dlq?stream=a", "dlq", { stream: "a", limit: 1_000, after: null }],
    ["/v1/losses", "losses", { stream: null, limit: 1_000, after: null }],
  ] as const) {
    const settles = engine.settles;
    const answer = await fetch(url + path);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), "application/x-ndjson");
    assert.equal(answer.headers.get("link"), null);
    assert.equal(await answer.text(), `{"list":"${list}"}\n`);
    assert.deepEqual(reads.asked.at(-1), { list, request });
    assert.equal(engine.settles, settles + 1, path);
  }
});

test("a page names the next one, with all parameters", async (context) => {
  const { url, reads } = await startTestNode(context);
  reads.next = "WzE+_w==";
  const answer = await fetch(`${url}/v1/streams/${KNOWN}/events?key=a%20b&after=old`);
  const link = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get("link") ?? "")?.[1];
  assert.ok(link?.startsWith("/v1/streams/"), String(link));
  await fetch(url + link);
  const { key, after } = reads.asked.at(-1)!.request;
  assert.deepEqual({ key, after }, { key: "a b", after: "WzE+_w==" });
});

test("wrong parameters: 400 that names the parameter", async (context) => {
  const { url, reads } = await startTestNode(context);
  for (const query of [
    "from=soon",
    "to=%00",
    "limit=0",
    "limit=-1",
    "limit=many",
    "limit=1e3",
    "limit=100001",
    "limit=",
    "kind=odd",
    "revisions=some",
  ]) {
    const answer = await fetch(`${url}/v1/queries/${QUERY}/results?${query}`);
    const problem = (await answer.json()) as TestProblem;
    assert.deepEqual([answer.status, problem.code], [400, "E_QUERY_PARAMETER"], query);
    assert.ok(problem.detail.startsWith(`${query.split("=")[0]}: `), problem.detail);
  }
  const tooMany = await fetch(`${url}/v1/streams/${KNOWN}/clocks?limit=10001`);
  assert.deepEqual(
    [tooMany.status, ((await tooMany.json()) as TestProblem).code],
    [400, "E_QUERY_PARAMETER"],
  );
  assert.equal(reads.asked.length, 0);
  const cursor = await fetch(`${url}/v1/dlq?after=none`);
  assert.deepEqual([cursor.status, ((await cursor.json()) as TestProblem).code], [400, "E_CURSOR"]);
});

test("what is not there, and methods that are not for it", async (context) => {
  const { url } = await startTestNode(context);
  const problem = async (method: string, path: string): Promise<[number, string, string | null]> => {
    const answer = await fetch(url + path, { method });
    assert.equal(answer.headers.get("content-type"), "application/problem+json");
    return [answer.status, ((await answer.json()) as TestProblem).code, answer.headers.get("allow")];
  };
  assert.deepEqual(await problem("GET", "/nothing"), [404, "E_NOT_FOUND", null]);
  assert.deepEqual(await problem("POST", "/v1/dlq/nothing"), [404, "E_NOT_FOUND", null]);
  assert.deepEqual(await problem("GET", "/v1/streams/nothing"), [404, "E_UNKNOWN_STREAM", null]);
  assert.deepEqual(await problem("GET", "/v1/streams/nothing/events"), [404, "E_UNKNOWN_STREAM", null]);
  assert.deepEqual(await problem("GET", "/v1/streams/nothing/clocks"), [404, "E_UNKNOWN_STREAM", null]);
  assert.deepEqual(await problem("GET", "/v1/queries/nothing/live"), [404, "E_UNKNOWN_QUERY", null]);
  assert.deepEqual(await problem("DELETE", `/v1/streams/${KNOWN}/events`), [
    405,
    "E_METHOD",
    "POST, GET, HEAD",
  ]);
  assert.deepEqual(await problem("GET", `/v1/streams/${KNOWN}/watermark`), [405, "E_METHOD", "POST"]);
  assert.deepEqual(await problem("DELETE", "/v1/config"), [405, "E_METHOD", "GET, PUT, HEAD"]);
  const head = await fetch(`${url}/v1/streams/nothing`, { method: "HEAD" });
  assert.deepEqual([head.status, head.headers.get("content-type")], [404, "application/problem+json"]);
  assert.equal((await fetch(`${url}/v1/status`, { method: "HEAD" })).status, 200);
});

test("answers have the form that the OpenAPI document promises, and it names every route", async (context) => {
  const { url, engine, app } = await startTestNode(context);
  engine.watermarkUs = 1_767_225_600_000_000;
  for (const [path, name] of [
    ["/v1/streams", "StreamList"],
    [`/v1/streams/${KNOWN}`, "Stream"],
    [`/v1/streams/${KNOWN}/clocks`, "Clocks"],
    ["/v1/queries", "QueryList"],
    [`/v1/queries/${QUERY}`, "Query"],
    ["/v1/status", "Status"],
    ["/v1/tables", "TableList"],
    ["/v1/config", "Config"],
    ["/healthz", "Health"],
    ["/readyz", "Readiness"],
  ] as const satisfies readonly (readonly [string, SchemaName])[]) {
    schemas[name].parse(await (await fetch(url + path)).json());
  }
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
    openapi: string;
    paths: Record<string, Record<string, { responses: Record<string, { content: Record<string, object> }> }>>;
    components: { schemas: Record<string, object> };
  };
  assert.equal(document.openapi, "3.1.0");
  for (const [, name] of JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    assert.ok(name !== undefined && name in document.components.schemas, name);
  }
  for (const { method, path } of (await app()).routes.filter((route) => route.method !== "ALL")) {
    const named = document.paths[path.replaceAll(/:(\w+)/g, "{$1}")];
    assert.ok(
      named !== undefined && method.toLowerCase() in named,
      `${method} ${path} is not in the document`,
    );
  }
  for (const [path, methods] of Object.entries(document.paths)) {
    const real = path
      .replace("{stream}", KNOWN)
      .replace("{query}", QUERY)
      .replace("{table}", TABLE)
      .replace("{device}", DEVICE);
    for (const [method, { responses }] of Object.entries(methods)) {
      // Without sync there is nothing to compare.
      if (path.endsWith("/live") || path === "/v1/audit") continue;
      const answer = await fetch(url + real, {
        method: method.toUpperCase(),
        ...(method === "put" && path.startsWith("/v1/tables")
          ? { body: Buffer.from('[{"device":"a"}]') }
          : {}),
        ...(path.startsWith("/v1/devices/") && method !== "get"
          ? { body: Buffer.from('{"firmware":"1.4"}') }
          : {}),
        ...(method === "post" ? { body: Buffer.from(path.endsWith("/apply") ? "{}" : '{"end":true}') } : {}),
      });
      assert.equal(answer.status, 200, `${method} ${real}`);
      const type = (answer.headers.get("content-type") ?? "").split(";")[0] ?? "";
      assert.ok(type in responses["200"]!.content, `${method} ${real} answers ${type}`);
    }
  }
});

test("a stream tells which key and time are in use", async (context) => {
  const { url, engine } = await startTestNode(context);
  const stream = (): Promise<Record<string, unknown>> =>
    fetch(`${url}/v1/streams/${KNOWN}`).then((answer) => answer.json() as Promise<Record<string, unknown>>);
  const fresh = await stream();
  assert.deepEqual(
    [
      fresh.schema,
      fresh.keyField,
      fresh.keySource,
      fresh.timeField,
      fresh.timeSource,
      fresh.watermark,
      fresh.lagMs,
    ],
    [{ device: "string", temp: "float" }, "device", "found", "ts", "found-or-arrival", null, null],
  );
  assert.deepEqual(fresh.timeFound, { fields: ["ts"], arrival: true });
  engine.watermarkUs = 1_767_225_600_000_000;
  const later = await stream();
  assert.equal(later.watermark, "2026-01-01T00:00:00.000Z");
  assert.equal(typeof later.lagMs, "number");
});

test("the configuration in force can be read as it is written, without secrets", async (context) => {
  const { url } = await startTestNode(context);
  const shown = (await (await fetch(`${url}/v1/config`)).json()) as Record<string, unknown>;
  assert.ok(parseConfig(JSON.stringify(shown), "shown").ok);
  assert.deepEqual(redact({ sync: { url: "https://me:pw@hub/x", token: "t", every: "1s" } }), {
    sync: { url: "https://***@hub/x", token: "***", every: "1s" },
  });
});

test("health, readiness, and a failure that is not the client's", async (context) => {
  const { url, engine } = await startTestNode(context);
  engine.isReady = false;
  const ready = await fetch(`${url}/readyz`);
  assert.deepEqual([ready.status, await ready.json()], [503, { ready: false }]);
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  const failed = await fetch(`${url}/v1/streams/${KNOWN}/events?key=broken`);
  const problem = (await failed.json()) as TestProblem;
  assert.deepEqual([failed.status, problem.code], [500, "E_INTERNAL"]);
  assert.ok(!problem.detail.includes("fire"), "what failed is for the log");
});

test("metrics: every limit, every stream, and routes without their parameters", async (context) => {
  const { url, engine } = await startTestNode(context);
  engine.watermarkUs = 1_767_225_600_000_000;
  await fetch(`${url}/v1/streams/${KNOWN}`);
  await fetch(`${url}/v1/streams/other`);
  await fetch(`${url}/no/such/path`);
  await fetch(`${url}/v1/streams/${KNOWN}/events`, { method: "POST", body: Buffer.alloc(0) });
  for (let scrape = 0; scrape < 2; scrape++) {
    const answer = await fetch(`${url}/metrics`);
    assert.match(answer.headers.get("content-type") ?? "", /^text\/plain/);
    const text = await answer.text();
    for (const line of [
      'millrace_limit{name="maxBodyBytes"} 16777216',
      'millrace_limit{name="maxLiveClients"} 100',
      'millrace_events_accepted_total{stream="machines"} 3',
      'millrace_stream_watermark_seconds{stream="machines"} 1767225600',
      'millrace_results_total{query="machines_1m"} 2',
      'millrace_stage_seconds_total{stage="commit"} 0.000002',
      "millrace_commits_total 3",
      "millrace_incoming_body_bytes 0",
      'millrace_refused_bodies_total{code="E_EMPTY_BODY"} 1',
      'millrace_http_request_seconds_count{route="/v1/streams/:stream",status="200"} 1',
      'millrace_http_request_seconds_count{route="/v1/streams/:stream",status="404"} 1',
      'millrace_http_request_seconds_count{route="/*",status="404"} 1',
    ]) {
      assert.ok(text.split("\n").includes(line), `${line}\n${text.slice(0, 100)}`);
    }
  }
});

test("pages stand alone: nothing from elsewhere, and nothing runs but what is in them", async (context) => {
  const { url } = await startTestNode(context);
  for (const path of ["/", "/docs"]) {
    const answer = await fetch(url + path);
    const html = await answer.text();
    assert.match(answer.headers.get("content-type") ?? "", /^text\/html/);
    assert.match(
      answer.headers.get("content-security-policy") ?? "",
      /default-src 'none'; script-src 'sha256-/,
    );
    assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
    assert.equal(answer.headers.get("access-control-allow-origin"), null);
    assert.ok(!/(?:src|href)=["']?(?:https?:)?\/\//.test(html), "no address of another host");
  }
});

test("a connection beyond limits.maxConnections is closed at once, and counted", async (context) => {
  const { url } = await startTestNode(context, { limits: { maxConnections: 1 } });
  const { hostname, port } = new URL(url);
  const first = connect(Number(port), hostname);
  context.after(() => void first.destroy());
  await once(first, "connect");
  const second = connect(Number(port), hostname);
  second.on("error", () => {});
  await once(second, "close");
  first.write("GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
  const text = (await first.setEncoding("utf8").toArray()).join("");
  assert.match(text, /^millrace_connections 1$/m);
  assert.match(text, /^millrace_refused_connections_total 1$/m);
});
