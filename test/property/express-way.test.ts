import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type Duplex, duplexPair } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { BodyReader } from "../../host/ingest/body.ts";
import { ExpressWay } from "../../host/ingest/express-way.ts";
import { readForm } from "../../host/ingest/http.ts";

/*
 * What the express way reads of a connection, and what it hands over, must come to what node:http alone makes of the same
 * bytes: the same requests with the same bodies in the same order, the same errors. Anything else is the stuff of request
 * smuggling.
 */

const RUNS = Number(process.env.MILLRACE_EXPRESS_RUNS ?? 2_000);
const TIMEOUTS = { headersMs: 60_000, requestMs: 60_000, stallMs: 60_000, keepAliveMs: 60_000 };
const MAX_BODY_BYTES = 100_000_000;
const ANSWER = "{}";

/** What a server made of a connection: its requests as far as they matter, and what it could not read. */
interface Account {
  readonly requests: string[];
  readonly errors: string[];
}

function requestLine(stream: string, form: unknown, body: Buffer): string {
  return JSON.stringify([stream, form, body.toString("latin1")]);
}

function observed(): { server: Server; account: Account } {
  const account: Account = { requests: [], errors: [] };
  const answer = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const stream = /^\/v1\/streams\/([^/]*)\/events$/.exec(incoming.url ?? "")?.[1];
      const what =
        incoming.method === "POST" && stream !== undefined ? stream : `${incoming.method} ${incoming.url}`;
      account.requests.push(requestLine(what, readForm(incoming.headers), Buffer.concat(chunks)));
      outgoing.writeHead(200, { "content-length": ANSWER.length });
      outgoing.end(ANSWER);
    });
  };
  const server = createServer(answer);
  server.on("clientError", (cause: NodeJS.ErrnoException, socket: Duplex) => {
    if (account.errors.length > 0) return;
    account.errors.push(cause.code ?? cause.message);
    // Nothing behind the error is of use; the requests before it get their answers.
    socket.pause();
    void settled().then(() => socket.destroy());
  });
  return { server, account };
}

/** Sends the chunks one by one, then the end. @returns the first lines of the answers that came */
async function converse(server: Server, chunks: readonly Buffer[]): Promise<readonly string[]> {
  const [client, socket] = duplexPair();
  client.on("error", () => undefined);
  const received = text(client).catch(() => "");
  server.emit("connection", socket);
  for (const chunk of chunks) {
    // A copy: what is handed on belongs to who gets it.
    client.write(Buffer.from(chunk));
    await settled();
  }
  client.end();
  const answers = (await received).match(/HTTP\/1\.1 \d+ .*/g) ?? [];
  await settled();
  return answers;
}

/** What was said has gone through all streams. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 8; turns++) await turn();
}

interface Made {
  readonly plain: unknown;
  readonly express: unknown;
  /** Requests that went the express way: whole ones, and such as came in parts. */
  readonly ways: { readonly whole: number; readonly parts: number };
  /** Bytes of unfinished bodies that are counted as held when all is over. */
  readonly heldBytes: number;
}

async function both(chunks: readonly Buffer[]): Promise<Made> {
  const plain = observed();
  const plainAnswers = await converse(plain.server, chunks);
  const express = observed();
  const bodies = new BodyReader({ maxHeldBytes: MAX_BODY_BYTES });
  const ways = { whole: 0, parts: 0 };
  const way = new ExpressWay(
    express.server,
    {
      maxBodyBytes: MAX_BODY_BYTES,
      answer: ({ stream, form, body }, reply) => {
        ways.whole++;
        express.account.requests.push(requestLine(stream, form, Buffer.from(body)));
        queueMicrotask(() => reply(ANSWER));
      },
      begin: ({ stream, form, bodyBytes }, reply) =>
        bodies.begin(bodyBytes, MAX_BODY_BYTES, (read) => {
          if (read.kind !== "read") return;
          ways.parts++;
          express.account.requests.push(requestLine(stream, form, Buffer.from(read.body)));
          queueMicrotask(() => reply(ANSWER));
        }),
    },
    TIMEOUTS,
  );
  const expressAnswers = await converse(express.server, chunks);
  way.closeAll();
  return {
    plain: { ...plain.account, answers: plainAnswers },
    express: { ...express.account, answers: expressAnswers },
    ways,
    heldBytes: bodies.heldBytes,
  };
}

/** 24 bytes, as some of the odd lengths say. */
const BODY = '{"device":"a","temp":1}\n';
const name = fc.constantFrom("Content-Type", "content-type", "CONTENT-TYPE");
const plainFields = fc.subarray(
  [
    "Host: edge.local:7070",
    "User-Agent: sensor/1.0 (x; y)",
    "Accept: */*",
    "Connection: keep-alive",
    "accept-encoding: gzip, deflate",
    "Idempotency-Key: a-b:c d",
    "Content-Encoding: identity",
  ],
  { minLength: 3 },
);
const oddField = fc.constantFrom(
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: identity",
  "transfer-encoding : chunked",
  "Transfer-Encoding: \x0bchunked",
  "Content-Length: 5",
  "Content-Length: 24",
  "Content-Length: 24, 24",
  "Content-Length : 24",
  "Content-Length: +24",
  "Content-Length: 024",
  "Content-Length: 0x18",
  "Content-Length: 24 ",
  "Content-Length:\t24",
  "Content-Length: 2 4",
  "Content-Length: 99999999999999999999",
  "content_length: 5",
  "Expect: 100-continue",
  "Connection: close",
  "Connection: keep-alive, upgrade",
  "Connection: content-length",
  "Upgrade: websocket",
  "Trailer: x",
  "Keep-Alive: timeout=1",
  "Origin: http://elsewhere",
  "X-Odd: \u00e9",
  "X-Nul: a\0b",
  "X-Bare: a\rb",
  "X-Feed: a\nContent-Length: 5",
  " folded: yes",
  "\tfolded",
  "Host: another",
  "Host:",
  ": nothing",
  "nothing",
  "Sp ace: 1",
  "Content-Type: text/csv",
  "__proto__: x",
  "constructor: x",
);
const startLine = fc.oneof(
  { weight: 6, arbitrary: fc.constant("POST /v1/streams/machines/events HTTP/1.1") },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "POST /v1/streams/machines/events HTTP/1.0",
      "POST  /v1/streams/machines/events HTTP/1.1",
      "POST /v1/streams/machines/events  HTTP/1.1",
      "POST /v1/streams/machines/events HTTP/1.1 ",
      "POST\t/v1/streams/machines/events HTTP/1.1",
      "post /v1/streams/machines/events HTTP/1.1",
      "PUT /v1/streams/machines/events HTTP/1.1",
      "POST http://edge/v1/streams/machines/events HTTP/1.1",
      "POST /v1/streams/machines/events?x=1 HTTP/1.1",
      "POST /v1/streams/a%20b/events HTTP/1.1",
      "POST /v1/streams/machines/events HTTP/2.0",
      "POST /v1/streams/machines/events",
      "GET /healthz HTTP/1.1",
      "\r\nPOST /v1/streams/machines/events HTTP/1.1",
    ),
  },
);
const lineEnd = fc.oneof(
  { weight: 12, arbitrary: fc.constant("\r\n") },
  { weight: 1, arbitrary: fc.constantFrom("\n", "\r\r\n", "\r") },
);

/** A request that is plain more often than not. */
const request = fc
  .record({
    startLine,
    plainFields,
    name,
    odd: fc.oneof(
      { weight: 3, arbitrary: fc.constant([] as string[]) },
      { weight: 2, arbitrary: fc.array(oddField, { minLength: 1, maxLength: 2 }) },
    ),
    body: fc.constantFrom(
      BODY,
      BODY.repeat(3),
      BODY.repeat(400),
      "x",
      "5\r\nhello\r\n0\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\n",
      // A request within a body: nothing of it may be taken for one.
      `POST /v1/streams/machines/events HTTP/1.1\r\nHost: a\r\nContent-Length: 24\r\n\r\n${BODY}`,
    ),
    wrongBytes: fc.oneof(
      { weight: 10, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: -3, max: 3 }) },
    ),
    at: fc.nat(8),
    isInstead: fc.boolean(),
    lineEnd,
  })
  .map(({ startLine: start, plainFields: fields, name: type, odd, body, wrongBytes, at, ...more }) => {
    const { isInstead, lineEnd: end } = more;
    const length = `Content-Length: ${Math.max(0, body.length + wrongBytes)}`;
    const isLength = odd.some((field) => field.toLowerCase().startsWith("content-length"));
    const all = [...fields, `${type}: application/x-ndjson`, ...(isLength && isInstead ? [] : [length])];
    all.splice(at, 0, ...odd);
    return `${[start, ...all].join(end)}${end}${end}${body}`;
  });

/** Where bytes are changed, taken away or put in: none of it most of the time. */
const damage = fc.oneof(
  { weight: 3, arbitrary: fc.constant([] as { at: number; by: number; kind: string }[]) },
  {
    weight: 1,
    arbitrary: fc.array(
      fc.record({ at: fc.nat(), by: fc.nat(255), kind: fc.constantFrom("change", "remove", "insert") }),
      { minLength: 1, maxLength: 3 },
    ),
  },
);

function harm(bytes: Buffer, changes: readonly { at: number; by: number; kind: string }[]): Buffer {
  let harmed = bytes;
  for (const { at, by, kind } of changes) {
    const place = at % Math.max(1, harmed.length);
    const rest = harmed.subarray(kind === "insert" ? place : place + 1);
    const own = kind === "remove" ? [] : [by];
    harmed = Buffer.concat([harmed.subarray(0, place), Buffer.from(own), rest]);
  }
  return harmed;
}

test("what the express way makes of a connection is what node:http makes of it", async () => {
  const ways = { whole: 0, parts: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: 1, maxLength: 4 }),
      damage,
      fc.array(fc.nat(), { maxLength: 5 }),
      fc.boolean(),
      fc.boolean(),
      async (requests, changes, cuts, isTogether, isCutOff) => {
        const pieces = isTogether ? [requests.join("")] : requests;
        const whole = pieces.map((piece, index) =>
          index === 0 ? harm(Buffer.from(piece, "latin1"), changes) : Buffer.from(piece, "latin1"),
        );
        const cut = cuts.reduce<Buffer[]>(cutAt, whole).filter((chunk) => chunk.length > 0);
        // The client may go before it has said all.
        const chunks = isCutOff && cut.length > 1 ? cut.slice(0, -1) : cut;
        const made = await both(chunks);
        ways.whole += made.ways.whole;
        ways.parts += made.ways.parts;
        assert.deepEqual(made.express, made.plain);
        assert.equal(made.heldBytes, 0);
      },
    ),
    { numRuns: RUNS },
  );
  assert.ok(
    ways.whole > RUNS / 20,
    `${ways.whole} requests of ${RUNS} connections went the express way whole`,
  );
  assert.ok(ways.parts > RUNS / 100, `${ways.parts} requests of ${RUNS} connections went it in parts`);
});

/** As devices send them. */
const plainRequest = fc
  .tuple(
    fc.constantFrom(BODY, BODY.repeat(2), BODY.repeat(400), "x", "\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    fc.boolean(),
  )
  .map(
    ([body, isCsv]) =>
      `POST /v1/streams/machines/events HTTP/1.1\r\nHost: edge\r\nContent-Type: ${isCsv ? "text/csv" : "application/json"}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );

test("plain requests in chunks of every kind, cut in heads, bodies and between, are those that were sent", async () => {
  let parts = 0;
  const runs = Math.ceil(RUNS / 2);
  await fc.assert(
    fc.asyncProperty(
      fc.array(plainRequest, { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      fc.boolean(),
      fc.boolean(),
      async (requests, cuts, isApart, isCutOff) => {
        const bytes = Buffer.from(requests.join(""), "latin1");
        // A client that waits for its answer sends nothing behind a request.
        const ends = isApart ? requests.map((_, index) => requests.slice(0, index).join("").length) : [0];
        const from = [...ends, ...cuts.map((cut) => cut % bytes.length)].toSorted((a, b) => a - b);
        const cut = from
          .map((at, index) => bytes.subarray(at, from[index + 1]))
          .filter((chunk) => chunk.length > 0);
        const chunks = isCutOff ? cut.slice(0, -1) : cut;
        const made = await both(chunks);
        parts += made.ways.parts;
        assert.deepEqual(made.express, made.plain);
        assert.equal(made.heldBytes, 0);
      },
    ),
    { numRuns: runs },
  );
  assert.ok(parts > runs / 10, `${parts} requests of ${runs} connections went the express way in parts`);
});

/** One of the chunks in two, somewhere. */
function cutAt(chunks: Buffer[], cut: number): Buffer[] {
  const index = cut % chunks.length;
  const chunk = chunks[index]!;
  const at = cut % (chunk.length + 1);
  return chunks.toSpliced(index, 1, chunk.subarray(0, at), chunk.subarray(at));
}
