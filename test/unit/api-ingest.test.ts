import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { schemas } from "../../host/api/schemas.ts";
import type { LineError } from "../../workers/messages.ts";
import { KNOWN, startTestNode, type TestProblem } from "./api-fixture.ts";

const LINE = '{"device":"a","temp":1}\n';
const PATH = `/v1/streams/${KNOWN}/events`;

async function problemOf(answer: Response, status: number, code: string): Promise<TestProblem> {
  const text = await answer.text();
  assert.equal(answer.status, status, text);
  assert.equal(answer.headers.get("content-type"), "application/problem+json");
  const problem = JSON.parse(text) as TestProblem;
  schemas.Problem.parse(problem);
  assert.equal(problem.status, status);
  assert.equal(problem.code, code);
  assert.equal(problem.type, `urn:millrace:problem:${code}`);
  assert.ok(problem.detail.length > 10);
  return problem;
}

const badLine = (line: number): LineError => ({
  line,
  path: "temp",
  code: "E_TYPE",
  message: "not a float",
  text: "{}",
});

test("events are handed on as they came, and answered in the promised form", async (context) => {
  const { url, engine } = await startTestNode(context);
  const headers = { "content-type": "application/x-ndjson", "idempotency-key": "k1" };
  const answer = await fetch(url + PATH, { method: "POST", body: LINE + LINE, headers });
  assert.equal(answer.status, 200);
  const body = await answer.json();
  assert.deepEqual(schemas.IngestAnswer.parse(body), {
    accepted: 2,
    deadLettered: 0,
    duplicate: false,
    errors: [],
  });
  const [taken] = engine.requests;
  assert.equal(taken?.text, LINE + LINE);
  const { stream, format, encoding, idempotencyKey } = taken!.request;
  assert.deepEqual(
    { stream, format, encoding, idempotencyKey },
    { stream: KNOWN, format: "ndjson", encoding: "identity", idempotencyKey: "k1" },
  );
});

test("content types and encodings: those that can be read, with parameters and in any case", async (context) => {
  const { url, engine } = await startTestNode(context);
  for (const [type, format] of [
    ["application/x-ndjson", "ndjson"],
    ["application/ndjson; charset=utf-8", "ndjson"],
    ["application/jsonlines", "ndjson"],
    ["Application/JSON;charset=UTF-8", "json"],
    ["text/csv; header=present", "csv"],
  ] as const) {
    const answer = await fetch(url + PATH, { method: "POST", body: LINE, headers: { "content-type": type } });
    assert.equal(answer.status, 200, type);
    assert.equal(engine.requests.at(-1)?.request.format, format);
  }
  // A body of bytes has no type of its own.
  assert.equal((await fetch(url + PATH, { method: "POST", body: Buffer.from(LINE) })).status, 200);
  assert.equal(engine.requests.at(-1)?.request.format, "ndjson");
  for (const encoding of ["gzip", "zstd", "identity"] as const) {
    await fetch(url + PATH, {
      method: "POST",
      body: LINE,
      headers: { "content-type": "text/csv", "content-encoding": encoding },
    });
    assert.equal(engine.requests.at(-1)?.request.encoding, encoding);
  }
});

test("an unknown type or encoding: 415 that lists what can be read", async (context) => {
  const { url, engine } = await startTestNode(context);
  const type = await fetch(url + PATH, {
    method: "POST",
    body: LINE,
    headers: { "content-type": "text/html" },
  });
  assert.match(
    (await problemOf(type, 415, "E_CONTENT_TYPE")).detail,
    /text\/html.*application\/x-ndjson.*text\/csv/,
  );
  const headers = { "content-type": "text/csv", "content-encoding": "br" };
  const encoding = await fetch(url + PATH, { method: "POST", body: LINE, headers });
  assert.equal(encoding.headers.get("accept-encoding"), "gzip, zstd, identity");
  assert.match((await problemOf(encoding, 415, "E_CONTENT_ENCODING")).detail, /br.*gzip, zstd/);
  assert.equal(engine.requests.length, 0);
});

test("an empty body is an error that says what to send", async (context) => {
  const { url, engine } = await startTestNode(context);
  for (const type of ["application/x-ndjson", "application/json", "text/csv"]) {
    const answer = await fetch(url + PATH, { method: "POST", body: "", headers: { "content-type": type } });
    assert.match((await problemOf(answer, 400, "E_EMPTY_BODY")).detail, /send at least one event/);
  }
  assert.equal(engine.requests.length, 0);
});

test("stream names and idempotency keys that cannot be: 400", async (context) => {
  const { url, engine } = await startTestNode(context);
  for (const name of ["a b", "a%2Fb", "%00", "x".repeat(129), "%C3%BC", "a:b"]) {
    for (const path of ["events", "watermark"]) {
      const answer = await fetch(`${url}/v1/streams/${name}/${path}`, { method: "POST", body: LINE });
      await problemOf(answer, 400, "E_STREAM_NAME");
    }
    await problemOf(await fetch(`${url}/v1/streams/${name}`), 400, "E_STREAM_NAME");
    await problemOf(await fetch(`${url}/v1/streams/${name}/events`), 400, "E_STREAM_NAME");
  }
  for (const key of ["", "k".repeat(256)]) {
    const headers = { "idempotency-key": key, "content-type": "text/csv" };
    const answer = await fetch(url + PATH, { method: "POST", body: LINE, headers });
    await problemOf(answer, 400, "E_IDEMPOTENCY_KEY");
  }
  assert.equal(engine.requests.length, 0);
  assert.equal(engine.watermarks.length, 0);
});

describe("what the engine says is told", () => {
  const post = (url: string): Promise<Response> =>
    fetch(url + PATH, { method: "POST", body: Buffer.from(LINE) });

  test("bad lines beside good ones: the first 10", async (context) => {
    const { url, engine } = await startTestNode(context);
    const errors = Array.from({ length: 12 }, (_, index) => badLine(index + 1));
    engine.outcome = { kind: "accepted", accepted: 5, deadLettered: 12, isDuplicate: true, errors };
    const answer = await post(url);
    assert.equal(answer.status, 200);
    const body = schemas.IngestAnswer.parse(await answer.json());
    assert.deepEqual(
      [body.accepted, body.deadLettered, body.duplicate, body.errors.length],
      [5, 12, true, 10],
    );
    assert.deepEqual(body.errors[0], { line: 1, path: "temp", message: "not a float" });
  });

  test("all lines bad: 422 with the counts", async (context) => {
    const { url, engine } = await startTestNode(context);
    engine.outcome = {
      kind: "accepted",
      accepted: 0,
      deadLettered: 1,
      isDuplicate: false,
      errors: [badLine(1)],
    };
    const problem = await problemOf(await post(url), 422, "E_ALL_LINES_BAD");
    assert.deepEqual([problem.accepted, problem.deadLettered], [0, 1]);
    assert.deepEqual(problem.errors, [{ line: 1, path: "temp", message: "not a float" }]);
  });

  test("a refusal before the body is read, and one after it", async (context) => {
    const { url, engine } = await startTestNode(context);
    const overloaded = {
      kind: "overloaded",
      status: 429,
      retryAfterSeconds: 7,
      detail: "the queue is full",
    } as const;
    engine.refusal = overloaded;
    const before = await post(url);
    assert.equal(before.headers.get("retry-after"), "7");
    await problemOf(before, 429, "E_OVERLOADED");
    assert.equal(engine.requests.length, 0);
    engine.refusal = null;
    for (const [outcome, status, code] of [
      [{ ...overloaded, status: 503 }, 503, "E_UNAVAILABLE"],
      [{ kind: "unknown-stream", detail: "there is no such stream" }, 404, "E_UNKNOWN_STREAM"],
      [{ kind: "too-large", limitBytes: 100 }, 413, "E_BODY_TOO_LARGE"],
      [{ kind: "bad-encoding", detail: "no gzip" }, 400, "E_BAD_ENCODING"],
    ] as const) {
      engine.outcome = outcome;
      await problemOf(await post(url), status, code);
    }
  });
});

test("watermarks: a time, a number, the end; and what is none of them", async (context) => {
  const { url, engine } = await startTestNode(context);
  const post = (body: string, stream = KNOWN): Promise<Response> =>
    fetch(`${url}/v1/streams/${stream}/watermark`, { method: "POST", body });
  const answer = await post('{"time":"2026-01-01T00:00:00.000001Z"}');
  assert.deepEqual(await answer.json(), { watermark: "2026-01-01T00:00:00.000001Z" });
  assert.equal(engine.settles, 1);
  await post('{"time":1767225600000000}');
  await post('{"end":true}');
  assert.deepEqual(
    engine.watermarks.map(({ time }) => time),
    [1_767_225_600_000_001, 1_767_225_600_000_000, "end"],
  );
  const bad = [
    "",
    "{",
    "null",
    "{}",
    '{"end":false}',
    '{"time":"soon"}',
    '{"time":1.5}',
    '{"time":1e400}',
    '{"time":1,"end":true}',
  ];
  for (const body of [...bad, " ".repeat(5_000)]) await problemOf(await post(body), 400, "E_WATERMARK");
  await problemOf(await post('{"end":true}', "nothing"), 404, "E_UNKNOWN_STREAM");
  engine.refusal = {
    kind: "overloaded",
    status: 503,
    retryAfterSeconds: 1,
    detail: "the node is shutting down",
  };
  await problemOf(await post('{"end":true}'), 503, "E_UNAVAILABLE");
  assert.equal(engine.watermarks.length, 3);
});

test("a page of another site cannot send anything", async (context) => {
  const { url, engine } = await startTestNode(context);
  const post = (origin: string): Promise<Response> =>
    fetch(url + PATH, { method: "POST", body: LINE, headers: { origin, "content-type": "text/csv" } });
  for (const origin of ["https://example.org", "null", "http://127.0.0.1:1"]) {
    await problemOf(await post(origin), 403, "E_OTHER_SITE");
  }
  assert.equal(engine.requests.length, 0);
  assert.equal((await post(url)).status, 200);
});

test("a watermark that would make everything late for ever is refused", async (context) => {
  const { url } = await startTestNode(context);
  const send = (time: unknown): Promise<Response> =>
    fetch(`${url}/v1/streams/${KNOWN}/watermark`, { method: "POST", body: JSON.stringify({ time }) });
  const inMs = (days: number): string => new Date(Date.now() + days * 86_400_000).toISOString();
  for (const time of ["9999-12-31T23:59:59Z", inMs(367), Number.MAX_SAFE_INTEGER])
    assert.match(
      (await problemOf(await send(time), 400, "E_WATERMARK_AHEAD")).detail,
      /limits\.maxWatermarkAhead/,
    );
  for (const time of [inMs(365), "1969-07-20T20:17:00Z"]) assert.equal((await send(time)).status, 200);
});
