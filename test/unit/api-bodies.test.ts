import assert from "node:assert/strict";
import { IncomingMessage } from "node:http";
import { connect, Socket } from "node:net";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { BodyReader } from "../../host/ingest/body.ts";
import { KNOWN, startTestNode, type TestProblem } from "./api-fixture.ts";

const MIB = 1024 * 1024;
const PATH = `/v1/streams/${KNOWN}/events`;
const LINE = '{"device":"a"}\n';

const head = (framing: string, path = PATH): string =>
  `POST ${path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/x-ndjson\r\n${framing}\r\n\r\n`;

/** What a client sees that writes first and reads later, as many do. */
class Client {
  readonly #socket: Socket;
  #received = "";
  /** True when the other side reset the connection instead of closing it. */
  wasReset = false;
  readonly closed: Promise<void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#received += chunk.toString("latin1");
    });
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      this.wasReset ||= cause.code === "ECONNRESET" || cause.code === "EPIPE";
    });
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
  }

  static open(url: string): Promise<Client> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => resolve(new Client(socket)));
      socket.once("error", reject);
    });
  }

  get received(): string {
    return this.#received;
  }

  send(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) return resolve();
      this.#socket.once("close", resolve);
      this.#socket.write(bytes, () => {
        this.#socket.off("close", resolve);
        resolve();
      });
    });
  }

  async until(text: string): Promise<void> {
    while (!this.#received.includes(text)) {
      assert.ok(!this.#socket.destroyed, `closed without ${text}; received: ${this.#received}`);
      await sleep(5);
    }
  }

  cut(): void {
    this.#socket.resetAndDestroy();
  }
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/**
 * Bytes of buffers that something still refers to; chunks that were read and let go do not count. Asked in a turn of its
 * own, so that nothing on the stack refers to any, and with two collections: the second ends the freeing of the first.
 */
async function retainedBytes(): Promise<number> {
  await sleep(5);
  collect();
  collect();
  return process.memoryUsage().arrayBuffers;
}

function problemIn(received: string): TestProblem {
  const [answerHead = "", body = ""] = received.split(/\r\n\r\n(?=\{)/);
  assert.match(answerHead, /content-type: application\/problem\+json/i);
  return JSON.parse(body) as TestProblem;
}

describe("100 MB", () => {
  for (const [what, framing, wrap] of [
    ["announced", `content-length: ${100 * MIB}`, (piece: Buffer) => piece],
    [
      "in chunks",
      "transfer-encoding: chunked",
      (piece: Buffer) =>
        Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]),
    ],
  ] as const) {
    test(`${what}: 413, seen by a client that sends all of it before it reads`, async (context) => {
      const { url, engine } = await startTestNode(context);
      const client = await Client.open(url);
      await client.send(head(framing));
      const piece = wrap(Buffer.alloc(MIB, "\n"));
      const before = await retainedBytes();
      let mostBytes = 0;
      for (let sent = 0; sent < 100; sent++) {
        await client.send(piece);
        if (sent % 20 === 19) mostBytes = Math.max(mostBytes, (await retainedBytes()) - before);
      }
      if (framing.startsWith("transfer")) await client.send("0\r\n\r\n");
      await client.closed;
      assert.match(client.received, /^HTTP\/1\.1 413 /);
      assert.equal(problemIn(client.received).code, "E_BODY_TOO_LARGE");
      assert.equal(client.wasReset, false, "the connection was closed in order");
      assert.ok(mostBytes < 20 * MIB, `${mostBytes} bytes were kept of a body that is not taken`);
      assert.equal(engine.requests.length, 0);
    });
  }

  test("announced by a client that asks first: 413 before it sends any", async (context) => {
    const { url } = await startTestNode(context);
    const client = await Client.open(url);
    await client.send(head(`content-length: ${100 * MIB}\r\nexpect: 100-continue`));
    await client.until("E_BODY_TOO_LARGE");
    assert.ok(!client.received.includes("100 Continue"));
    client.cut();
  });

  test("a body that is taken is asked for", async (context) => {
    const { url } = await startTestNode(context);
    const client = await Client.open(url);
    await client.send(head(`content-length: ${LINE.length}\r\nexpect: 100-continue`));
    await client.until("100 Continue");
    await client.send(LINE);
    await client.until('"accepted":1');
    assert.equal(client.received.split("100 Continue").length, 2, "once");
    client.cut();
  });

  test("to a path that takes none: the answer, not a flood", async (context) => {
    const { url } = await startTestNode(context);
    const client = await Client.open(url);
    await client.send(head(`content-length: ${100 * MIB}`, "/nothing"));
    const piece = Buffer.alloc(MIB);
    for (let sent = 0; sent < 100; sent++) await client.send(piece);
    await client.closed;
    assert.equal(problemIn(client.received).code, "E_NOT_FOUND");
    assert.equal(client.wasReset, false);
  });
});

test("a body of just the limit is taken, one byte more is not, however it is framed", async (context) => {
  const { url, engine } = await startTestNode(context, { limits: { maxBodyBytes: 100_000 } });
  const post = (bytes: number, isChunked: boolean): Promise<Response> => {
    const body = Buffer.alloc(bytes, "x");
    const stream = new Blob([body]).stream();
    return fetch(url + PATH, {
      method: "POST",
      ...(isChunked ? { body: stream, duplex: "half" as const } : { body }),
      headers: { "content-type": "application/x-ndjson" },
    });
  };
  for (const isChunked of [false, true]) {
    assert.equal((await post(100_000, isChunked)).status, 200);
    assert.equal(engine.requests.at(-1)?.text.length, 100_000);
    assert.equal((await post(100_001, isChunked)).status, 413);
  }
  assert.equal(engine.requests.length, 2);
});

test("a refusal leaves the connection usable when the body was of ordinary size", async (context) => {
  const { url, engine } = await startTestNode(context);
  const client = await Client.open(url);
  engine.refusal = { kind: "overloaded", status: 429, retryAfterSeconds: 1, detail: "the queue is full" };
  const body = "x".repeat(3 * MIB);
  await client.send(head(`content-length: ${body.length}`) + body);
  await client.until("E_OVERLOADED");
  engine.refusal = null;
  await client.send(head(`content-length: ${LINE.length}`) + LINE);
  await client.until('"accepted":1');
  client.cut();
});

test("a body that is cut off is not taken, and others are not disturbed", async (context) => {
  const { url, engine } = await startTestNode(context);
  for (const begun of [
    `${head("content-length: 1000")}${LINE}`,
    `${head("transfer-encoding: chunked")}f\r\n${LINE}\r\n`,
    `${head("transfer-encoding: chunked")}f\r\n${LINE}\r\nno chunk`,
  ]) {
    const client = await Client.open(url);
    await client.send(begun);
    client.cut();
    await client.closed;
  }
  const answer = await fetch(url + PATH, { method: "POST", body: Buffer.from(LINE) });
  assert.equal(answer.status, 200);
  assert.equal(engine.requests.length, 1);
});

describe("slow clients", () => {
  test("headers that do not end: 408, and the connection is closed", async (context) => {
    const { url } = await startTestNode(context, { timeouts: { headersMs: 100, requestMs: 400 } });
    const client = await Client.open(url);
    await client.send("POST /v1/streams/a/events HTTP/1.1\r\nhost: test\r\nx-");
    await client.closed;
    assert.match(client.received, /^HTTP\/1\.1 408 /);
    assert.equal(problemIn(client.received).code, "E_REQUEST_TIMEOUT");
  });

  test("a body that drips: the request ends when its time is up", async (context) => {
    const { url, engine } = await startTestNode(context, { timeouts: { headersMs: 100, requestMs: 300 } });
    const client = await Client.open(url);
    await client.send(head("content-length: 1000"));
    const drip = setInterval(() => void client.send("x"), 20);
    await client.closed;
    clearInterval(drip);
    assert.match(client.received, /^HTTP\/1\.1 408 /);
    assert.equal(engine.requests.length, 0);
  });

  test("an answer that nobody takes does not keep its connection", async (context) => {
    const { url, reads } = await startTestNode(context, { timeouts: { stallMs: 200 } });
    reads.events = () => Promise.resolve({ ndjson: Buffer.alloc(64 * MIB, "\n"), next: null });
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    const ended = new Promise<void>((resolve) =>
      socket.once("error", () => resolve()).once("close", () => resolve()),
    );
    socket.write(`GET ${PATH} HTTP/1.1\r\nhost: test\r\n\r\n`);
    // Writing finds out that the other side is gone without reading anything.
    const prod = setInterval(() => socket.write("x"), 300);
    await ended;
    clearInterval(prod);
    socket.destroy();
  });
});

describe("the reader of bodies", () => {
  /** A request whose parts come when the test says so. */
  class Request extends IncomingMessage {
    constructor(headers: Record<string, string>) {
      super(new Socket());
      Object.assign(this.headers, headers);
    }
    override _read(): void {}
  }
  const announced = (bytes: number): Request => new Request({ "content-length": String(bytes) });
  const chunked = (): Request => new Request({ "transfer-encoding": "chunked" });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  test("what is read is what was sent, in one buffer of just its size", async () => {
    const reader = new BodyReader({ maxHeldBytes: 64 * MIB });
    for (const make of [() => announced(3 * MIB + 5), chunked]) {
      const sent = Buffer.from(Uint8Array.from({ length: 3 * MIB + 5 }, (_, index) => (index * 31) % 251));
      const request = make();
      const reading = reader.read(request, 16 * MIB);
      for (let at = 0; at < sent.length; at += 100_003) request.push(sent.subarray(at, at + 100_003));
      request.push(null);
      const read = await reading;
      assert.equal(read.kind, "read");
      if (read.kind !== "read") return;
      assert.equal(read.body.byteLength, sent.length);
      assert.ok(sent.equals(Buffer.from(read.body)));
      assert.equal(
        structuredClone(read.body, { transfer: [read.body.buffer] }).buffer.byteLength,
        sent.length,
        "can be transferred",
      );
      assert.equal(reader.heldBytes, 0);
    }
  });

  test("no more is held than allowed, but for one body alone", async () => {
    const reader = new BodyReader({ maxHeldBytes: 1_000 });
    const [first, second, third] = [announced(900), announced(900), announced(5_000)];
    const [a, b] = [reader.read(first, 10_000), reader.read(second, 10_000)];
    first.push(Buffer.alloc(800));
    await turn();
    assert.equal(reader.heldBytes, 800);
    second.push(Buffer.alloc(300));
    assert.equal((await b).kind, "no-room");
    assert.equal(reader.heldBytes, 800);
    first.push(Buffer.alloc(100));
    first.push(null);
    assert.equal((await a).kind, "read");
    assert.equal(reader.heldBytes, 0);
    const alone = reader.read(third, 10_000);
    third.push(Buffer.alloc(5_000));
    third.push(null);
    assert.equal((await alone).kind, "read");
  });

  test("a large announcement costs nothing until its bytes come", () => {
    const reader = new BodyReader({ maxHeldBytes: 64 * MIB });
    const before = process.memoryUsage().arrayBuffers;
    const readings = Array.from({ length: 20 }, () => reader.read(announced(16 * MIB), 16 * MIB));
    assert.ok(process.memoryUsage().arrayBuffers - before <= 21 * MIB);
    assert.equal(readings.length, 20);
    assert.equal(reader.heldBytes, 0);
  });

  test("a body that stalls is given up", async () => {
    const reader = new BodyReader({ maxHeldBytes: 1_000, stallMs: 40 });
    const request = announced(100);
    const reading = reader.read(request, 1_000);
    // The reader's own timer does not keep a process alive.
    const alive = setInterval(() => {}, 1_000);
    request.push(Buffer.alloc(10));
    assert.equal((await reading).kind, "stalled");
    clearInterval(alive);
    assert.equal(reader.heldBytes, 0);
  });
});

describe("what is no request", () => {
  test("bytes that are no HTTP, and a target or host that cannot be: 400, as a problem", async (context) => {
    const { url } = await startTestNode(context);
    for (const [bytes, code] of [
      ["\u0016\u0003\u0001\u0002garbage\r\n\r\n", "E_NOT_HTTP"],
      ["GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n", "E_BAD_REQUEST"],
      ["GET /a\\b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "E_BAD_REQUEST"],
      [`GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(20_000)}\r\n\r\n`, "E_HEADERS_TOO_LARGE"],
      [`${head("content-length: 3\r\ntransfer-encoding: chunked")}abc`, "E_NOT_HTTP"],
      [`${head("transfer-encoding: chunked")}zz\r\n`, "E_NOT_HTTP"],
    ] as const) {
      const client = await Client.open(url);
      await client.send(bytes);
      await client.closed;
      assert.equal(problemIn(client.received).code, code, JSON.stringify(bytes.slice(0, 60)));
    }
  });

  test("garbage behind a good request: the good one is answered first", async (context) => {
    const { url, engine } = await startTestNode(context);
    const client = await Client.open(url);
    await client.send(`${head(`content-length: ${LINE.length}`)}${LINE}\u0001\u0002 garbage\r\n\r\n`);
    await client.closed;
    assert.match(
      client.received,
      /^HTTP\/1\.1 200 [\s\S]*"accepted":1[\s\S]*HTTP\/1\.1 400 [\s\S]*E_NOT_HTTP/,
    );
    assert.equal(engine.requests.length, 1);
  });
});
