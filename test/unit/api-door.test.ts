import assert from "node:assert/strict";
import { test } from "node:test";
import { MillraceError } from "../../workers/errors.ts";
import { KNOWN, startTestNode } from "./api-fixture.ts";

const LINE = '{"device":"a","temp":1}\n';
const PATH = `/v1/streams/${KNOWN}/events`;
/** A query makes a request unusual enough for the app's own route. */
const LONG_WAY = "?";

interface Seen {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly text: string;
}

async function post(
  url: string,
  { body, headers: more = {} }: { body?: string; headers?: Record<string, string> },
): Promise<Seen> {
  const sent = { "content-type": "application/x-ndjson", ...more };
  const answer = await fetch(url, { method: "POST", body: body ?? null, headers: sent });
  const headers = Object.fromEntries(answer.headers);
  delete headers.date;
  return { status: answer.status, headers, text: await answer.text() };
}

test("the short way in answers as the app does", async (context) => {
  const { url, engine } = await startTestNode(context, { limits: { maxBodyBytes: 1_000 } });
  const both = async (path: string, init: Parameters<typeof post>[1]): Promise<number> => {
    const short = await post(url + path, init);
    const long = await post(url + path + LONG_WAY, init);
    assert.deepEqual(short, long);
    return short.status;
  };
  const csv = { "content-type": "text/csv" };
  assert.equal(await both(PATH, { body: LINE }), 200);
  assert.equal(await both(PATH, { body: "device,temp\na,1\n", headers: csv }), 200);
  assert.equal(await both(PATH, { body: LINE, headers: { "content-type": "text/html" } }), 415);
  assert.equal(await both(PATH, { body: LINE, headers: { ...csv, "content-encoding": "br" } }), 415);
  assert.equal(await both(PATH, { body: LINE, headers: { "idempotency-key": "k".repeat(256) } }), 400);
  assert.equal(await both(PATH, {}), 400);
  assert.equal(await both(PATH, { body: LINE.repeat(100) }), 413);
  assert.equal(await both("/v1/streams/a%20b/events", { body: LINE }), 400);
  assert.equal(await both(`/v1/streams/${"a".repeat(129)}/events`, { body: LINE }), 400);
  assert.equal(await both(PATH, { body: LINE, headers: { origin: "http://elsewhere.example" } }), 403);
  engine.outcome = { kind: "accepted", accepted: 0, deadLettered: 3, isDuplicate: false, errors: [] };
  assert.equal(await both(PATH, { body: LINE }), 422);
  engine.outcome = { kind: "unknown-stream", detail: "there is no such stream" };
  assert.equal(await both(PATH, { body: LINE }), 404);
  engine.refusal = { kind: "overloaded", status: 429, retryAfterSeconds: 7, detail: "too much" };
  assert.equal(await both(PATH, { body: LINE }), 429);
  engine.refusal = null;
  engine.ingest = () => Promise.reject(new MillraceError("E_STORE_BUSY", "the store is busy"));
  assert.equal(await both(PATH, { body: LINE }), 503);
  engine.ingest = () => Promise.reject(new Error("unforeseen"));
  assert.equal(await both(PATH, { body: LINE }), 500);
});

test("both ways count in the same metrics", async (context) => {
  const { url } = await startTestNode(context);
  for (const way of ["", LONG_WAY]) {
    await post(url + PATH + way, { body: LINE });
    await post(url + PATH + way, { body: LINE, headers: { "content-type": "text/html" } });
  }
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const count = (status: number): string | undefined =>
    new RegExp(
      `request_seconds_count\\{route="/v1/streams/:stream/events",status="${status}"[^}]*\\} (\\d+)`,
    ).exec(metrics)?.[1];
  assert.equal(count(200), "2");
  assert.equal(count(415), "2");
  assert.match(metrics, /millrace_refused_bodies_total\{code="E_CONTENT_TYPE"[^}]*\} 2/);
});
