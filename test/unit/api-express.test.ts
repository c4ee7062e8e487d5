import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BodyReader } from "../../host/ingest/body.ts";
import { ExpressWay } from "../../host/ingest/express-way.ts";
import type { IngestOutcome } from "../../host/pipeline/engine.ts";
import { KNOWN, startTestNode, type TestNode } from "./api-fixture.ts";

/*
 * Connections whose requests come whole are answered without node:http, which gets the others. Nothing in an answer tells which it was.
 */

const LINE = '{"device":"a","temp":1}\n';
const ACCEPTED: IngestOutcome = {
  kind: "accepted",
  accepted: 1,
  deadLettered: 0,
  isDuplicate: false,
  errors: [],
};

function request(body = LINE, more = ""): string {
  return `POST /v1/streams/${KNOWN}/events HTTP/1.1\r\nhost: test\r\ncontent-type: application/x-ndjson\r\n${more}content-length: ${body.length}\r\n\r\n${body}`;
}

class Client {
  readonly socket: Socket;
  received = "";
  isClosed = false;
  hasEnded = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("latin1");
    });
    socket.on("end", () => {
      this.hasEnded = true;
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.isClosed = true;
    });
  }

  static open({ url }: { readonly url: string }): Promise<Client> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const options = { host: hostname, port: Number(port), allowHalfOpen: true };
      const socket = connect(options, () => resolve(new Client(socket)));
      socket.once("error", reject);
    });
  }

  get answers(): number {
    return this.received.split("HTTP/1.1 ").length - 1;
  }

  async until(isSo: () => boolean): Promise<void> {
    const giveUpMs = performance.now() + 120_000;
    while (!isSo()) {
      assert.ok(performance.now() < giveUpMs, `waited in vain; so far: ${this.received}`);
      await sleep(5);
    }
  }
}

/** The engine answers when it is told to. */
function holdAnswers({ engine }: TestNode): (() => void)[] {
  const held: (() => void)[] = [];
  const ingest = engine.ingest.bind(engine);
  engine.ingest = async (one) => {
    void ingest(one);
    await new Promise<void>((resolve) => held.push(resolve));
    return ACCEPTED;
  };
  return held;
}

test("many requests on one connection, one after the other, each answered", async (context) => {
  const node = await startTestNode(context);
  const client = await Client.open(node);
  for (let index = 1; index <= 20; index++) {
    client.socket.write(request(LINE.repeat(index)));
    await client.until(() => client.answers === index && client.received.endsWith("}"));
  }
  assert.equal(node.engine.requests.length, 20);
  assert.equal(node.engine.requests.at(-1)?.text, LINE.repeat(20));
  const head = client.received.slice(0, client.received.indexOf("\r\n\r\n"));
  assert.match(head, /^HTTP\/1\.1 200 OK\r\ncontent-type: application\/json\r\ncontent-length: \d+\r\n/);
  assert.match(head, /Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/);
  assert.match(head, /Connection: keep-alive\r\nKeep-Alive: timeout=60$/);
  client.socket.destroy();
});

test("requests that come before the answer to the one before: all are answered, in their order", async (context) => {
  const node = await startTestNode(context);
  const held = holdAnswers(node);
  const client = await Client.open(node);
  client.socket.write(request("one\n"));
  await client.until(() => held.length === 1);
  client.socket.write(request("two\n"));
  await sleep(20);
  client.socket.write(`${request("three\n")}${request("four\n").slice(0, 30)}`);
  await sleep(20);
  assert.equal(held.length, 1, "one at a time");
  held.shift()?.();
  await client.until(() => held.length === 1);
  client.socket.write(request("four\n").slice(30));
  for (let index = 0; index < 3; index++) {
    await client.until(() => held.length > 0);
    held.shift()?.();
  }
  await client.until(() => client.answers === 4);
  assert.deepEqual(
    node.engine.requests.map(({ text }) => text.trim()),
    ["one", "two", "three", "four"],
  );
  client.socket.destroy();
});

test("a request in pieces, and whole ones before and behind it", async (context) => {
  const node = await startTestNode(context);
  const client = await Client.open(node);
  const sent = ["1\n", "2\n", "3\n"];
  client.socket.write(request(sent[0]));
  await client.until(() => client.answers === 1);
  for (const byte of request(sent[1])) {
    client.socket.write(byte);
    await sleep(1);
  }
  await client.until(() => client.answers === 2);
  client.socket.write(request(sent[2]));
  await client.until(() => client.answers === 3);
  client.socket.write("GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n");
  await client.until(() => client.answers === 4 && client.received.endsWith('{"status":"ok"}'));
  assert.deepEqual(
    node.engine.requests.map(({ text }) => text),
    sent,
  );
  client.socket.destroy();
});

test("a client that has said all it will say still gets its answer", async (context) => {
  const node = await startTestNode(context);
  const held = holdAnswers(node);
  const client = await Client.open(node);
  client.socket.end(request());
  await client.until(() => held.length === 1);
  await sleep(20);
  held[0]?.();
  await client.until(() => client.answers === 1 && client.isClosed);
});

test("a client that goes before its answer harms nobody", async (context) => {
  const node = await startTestNode(context);
  const held = holdAnswers(node);
  const gone = await Client.open(node);
  const other = await Client.open(node);
  gone.socket.write(request("gone\n"));
  await other.until(() => held.length === 1);
  gone.socket.resetAndDestroy();
  await sleep(20);
  other.socket.write(request("other\n"));
  await other.until(() => held.length === 2);
  for (const answer of held) answer();
  await other.until(() => other.answers === 1);
  other.socket.destroy();
});

test("a connection on which nothing comes: 408 and the end, as one whose headers do not end", async (context) => {
  const node = await startTestNode(context, { timeouts: { headersMs: 100 } });
  const silent = await Client.open(node);
  const slow = await Client.open(node);
  slow.socket.write(request().slice(0, 40));
  for (const client of [silent, slow]) {
    await client.until(() => client.hasEnded);
    assert.match(client.received, /^HTTP\/1\.1 408 /);
    assert.match(client.received, /E_REQUEST_TIMEOUT/);
    client.socket.destroy();
  }
});

test("a connection that rests is closed, one whose request takes its time is not", async (context) => {
  const node = await startTestNode(context, { timeouts: { keepAliveMs: 100 } });
  const held = holdAnswers(node);
  const busy = await Client.open(node);
  busy.socket.write(request());
  await busy.until(() => held.length === 1);
  const resting = await Client.open(node);
  resting.socket.write(request());
  await resting.until(() => held.length === 2);
  held[1]?.();
  await resting.until(() => resting.hasEnded || resting.isClosed);
  assert.equal(resting.answers, 1);
  assert.equal(busy.hasEnded, false);
  held[0]?.();
  await busy.until(() => busy.answers === 1);
  busy.socket.destroy();
  resting.socket.destroy();
});

test("at the end of the server requests get their answers, and what rests is closed", async (context) => {
  const node = await startTestNode(context, { timeouts: { drainMs: 20_000 } });
  const held = holdAnswers(node);
  const resting = await Client.open(node);
  const busy = await Client.open(node);
  busy.socket.write(request());
  await busy.until(() => held.length === 1);
  const closed = node.close();
  await resting.until(() => resting.hasEnded || resting.isClosed);
  resting.socket.destroy();
  held[0]?.();
  await busy.until(() => busy.answers === 1 && busy.hasEnded);
  assert.match(busy.received, /\r\nConnection: close\r\n\r\n/);
  busy.socket.destroy();
  await closed;
});

test("a client that takes no answers is asked for no more", async (context) => {
  const node = await startTestNode(context, { timeouts: { stallMs: 60_000 } });
  const errors = Array.from({ length: 10 }, (_, index) => {
    return { line: index + 1, code: "E_BAD", message: "m".repeat(20_000), path: "temp", text: "" };
  });
  node.engine.outcome = { kind: "accepted", accepted: 1, deadLettered: 10, isDuplicate: false, errors };
  const client = await Client.open(node);
  client.socket.pause();
  const tries = 400;
  for (let index = 0; index < tries; index++) {
    client.socket.write(request());
    if (index % 20 === 0) await sleep(5);
  }
  let taken = -1;
  while (taken !== node.engine.requests.length) {
    taken = node.engine.requests.length;
    await sleep(200);
  }
  assert.ok(taken < tries, `${taken} of ${tries} requests were read, with answers of 200 KB each`);
  client.socket.resume();
  await client.until(() => client.answers === tries);
  client.socket.destroy();
});

describe("bodies in parts", () => {
  const HALF = LINE.repeat(10_000);
  const BODY = HALF + HALF;

  /** How many requests `node:http` sees while the test runs. */
  function countLongWay(context: TestContext): () => number {
    let count = 0;
    const channel = "http.server.request.start";
    const seen = (): void => {
      count++;
    };
    subscribe(channel, seen);
    context.after(() => void unsubscribe(channel, seen));
    return () => count;
  }

  async function refusals(node: TestNode, code: string): Promise<number> {
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    return Number(
      new RegExp(`millrace_refused_bodies_total\\{code="${code}"[^}]*\\} (\\d+)`).exec(metrics)?.[1] ?? 0,
    );
  }

  /** Until the node has so much of a request's first `sent` bytes as is body: a sleep would be too short for it at times. */
  async function untilHeld(node: TestNode, sent: number): Promise<void> {
    const bytes = sent - (request(BODY).length - BODY.length);
    const giveUpMs = performance.now() + 120_000;
    for (;;) {
      const metrics = await (await fetch(`${node.url}/metrics`)).text();
      const held = Number(/^millrace_incoming_body_bytes (\d+)$/m.exec(metrics)?.[1]);
      if (held === bytes) return;
      assert.ok(performance.now() < giveUpMs, `${held} of ${bytes} bytes are held`);
    }
  }

  async function untilRefused(node: TestNode, code: string): Promise<void> {
    const giveUpMs = performance.now() + 120_000;
    while ((await refusals(node, code)) === 0)
      assert.ok(performance.now() < giveUpMs, `no ${code} was counted`);
  }

  test("one after the other, large and small, none of them seen by node:http", async (context) => {
    const longWay = countLongWay(context);
    const node = await startTestNode(context);
    const client = await Client.open(node);
    const sent = [BODY, "1\n2\n", LINE.repeat(700), BODY];
    for (const [index, body] of sent.entries()) {
      const bytes = request(body);
      const headBytes = bytes.length - body.length;
      client.socket.write(bytes.slice(0, headBytes));
      await sleep(20);
      client.socket.write(bytes.slice(headBytes, -3));
      await sleep(20);
      client.socket.write(bytes.slice(-3));
      await client.until(() => client.answers === index + 1 && client.received.endsWith("}"));
    }
    assert.ok(node.engine.requests.every(({ text }, index) => text === sent[index]));
    assert.equal(node.engine.requests.length, sent.length);
    const { body } = node.engine.requests[0]!.request;
    assert.equal(
      body.buffer.byteLength,
      BODY.length,
      "in a buffer of its own, to be handed on without a copy",
    );
    assert.equal(longWay(), 0);
    client.socket.destroy();
  });

  test("what comes behind a body is the next request, whoever reads it", async (context) => {
    const node = await startTestNode(context);
    const held = holdAnswers(node);
    const client = await Client.open(node);
    client.socket.write(request(HALF).slice(0, -5));
    await sleep(20);
    const probe = "GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n";
    client.socket.write(request(HALF).slice(-5) + request("two\n") + probe);
    await client.until(() => held.length === 1);
    await sleep(20);
    assert.equal(held.length, 1, "one at a time");
    held.shift()?.();
    await client.until(() => held.length === 1);
    held.shift()?.();
    await client.until(() => client.answers === 3 && client.received.endsWith('{"status":"ok"}'));
    assert.deepEqual(
      node.engine.requests.map(({ text }) => text),
      [HALF, "two\n"],
    );
    client.socket.destroy();
  });

  test("a client that goes in the middle: nothing is taken, and it is counted", async (context) => {
    const node = await startTestNode(context);
    const client = await Client.open(node);
    const cut = request(BODY).slice(0, -1);
    client.socket.write(cut);
    await untilHeld(node, cut.length);
    client.socket.resetAndDestroy();
    await untilRefused(node, "E_BODY_CUT");
    assert.equal(await refusals(node, "E_BODY_CUT"), 1);
    assert.equal(node.engine.requests.length, 0);
  });

  test("a client that says in the middle that it has said all: 400, and nothing is taken", async (context) => {
    const node = await startTestNode(context);
    const client = await Client.open(node);
    client.socket.end(request(BODY).slice(0, -1));
    await client.until(() => client.hasEnded);
    assert.match(client.received, /^HTTP\/1\.1 400 [\s\S]*E_NOT_HTTP/);
    await untilRefused(node, "E_BODY_CUT");
    assert.equal(node.engine.requests.length, 0);
    client.socket.destroy();
  });

  test("one that is refused is answered at once, its rest passed over, and the connection stays", async (context) => {
    const longWay = countLongWay(context);
    const node = await startTestNode(context);
    const client = await Client.open(node);
    node.engine.refusal = {
      kind: "overloaded",
      status: 429,
      retryAfterSeconds: 3,
      detail: "the queue is full",
    };
    client.socket.write(request(BODY).slice(0, 100_000));
    await client.until(() => client.answers === 1);
    assert.match(client.received, /^HTTP\/1\.1 429 [\s\S]*retry-after: 3\r\n[\s\S]*E_OVERLOADED/);
    node.engine.refusal = null;
    client.socket.write(request(BODY).slice(100_000) + request("next\n"));
    await client.until(() => client.answers === 2);
    assert.deepEqual(
      node.engine.requests.map(({ text }) => text),
      ["next\n"],
    );
    assert.equal(longWay(), 0);
    client.socket.destroy();
  });

  test("no more is held of unfinished bodies than limits.maxQueuedBytes", async (context) => {
    const node = await startTestNode(context, { limits: { maxQueuedBytes: 300_000 } });
    const first = await Client.open(node);
    const second = await Client.open(node);
    first.socket.write(request(BODY).slice(0, 250_000));
    await untilHeld(node, 250_000);
    second.socket.write(request(BODY).slice(0, 250_000));
    await second.until(() => second.answers === 1);
    assert.match(second.received, /^HTTP\/1\.1 429 [\s\S]*limits\.maxQueuedBytes/);
    first.socket.write(request(BODY).slice(250_000));
    await first.until(() => first.answers === 1);
    second.socket.write(request(BODY).slice(250_000) + request("again\n"));
    await second.until(() => second.answers === 2);
    assert.deepEqual(
      node.engine.requests.map(({ text }) => text.length),
      [BODY.length, "again\n".length],
    );
    first.socket.destroy();
    second.socket.destroy();
  });

  test("one that is announced larger than limits.maxBody is left to node:http", async (context) => {
    const longWay = countLongWay(context);
    const node = await startTestNode(context, { limits: { maxBodyBytes: 100_000 } });
    const client = await Client.open(node);
    client.socket.write(request(BODY));
    await client.until(() => client.hasEnded);
    assert.match(client.received, /^HTTP\/1\.1 413 /);
    assert.equal(longWay(), 1);
    client.socket.destroy();
  });

  test("at the end of the server a body that is on its way is still taken", async (context) => {
    const node = await startTestNode(context, { timeouts: { drainMs: 20_000 } });
    const client = await Client.open(node);
    client.socket.write(request(BODY).slice(0, 200_000));
    // One of which nothing was read yet would be at rest for the server, and closed.
    await untilHeld(node, 200_000);
    const closed = node.close();
    await sleep(100);
    client.socket.write(request(BODY).slice(200_000));
    await client.until(() => client.answers === 1 && client.hasEnded);
    assert.match(client.received, /^HTTP\/1\.1 200 [\s\S]*\r\nConnection: close\r\n\r\n/);
    assert.equal(node.engine.requests.length, 1);
    client.socket.destroy();
    await closed;
  });

  test("one that stalls is given up with the connection; the rest of a refused one may not stall either", async (context) => {
    const bodies = new BodyReader({ maxHeldBytes: BODY.length, stallMs: 40 });
    const server = createServer();
    const stalled = {
      status: 408,
      code: "E_STALLED",
      title: "Stalled",
      detail: "",
      headers: { connection: "close" },
    };
    const refused = { status: 429, code: "E_REFUSED", title: "Refused", detail: "" };
    let asked = 0;
    const way = new ExpressWay(
      server,
      {
        maxBodyBytes: BODY.length,
        answer: () => assert.fail("nothing is whole"),
        begin: ({ bodyBytes }, reply) => {
          asked++;
          if (asked === 1)
            return bodies.begin(bodyBytes, BODY.length, ({ kind }) =>
              reply(kind === "stalled" ? stalled : kind),
            );
          reply(refused);
          return null;
        },
      },
      { headersMs: 60_000, requestMs: 60_000, stallMs: 100, keepAliveMs: 60_000 },
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    context.after(() => {
      way.closeAll();
      server.close();
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const first = await Client.open({ url });
    first.socket.write(request(BODY).slice(0, 1_000));
    await first.until(() => first.hasEnded || first.isClosed);
    assert.match(first.received, /^HTTP\/1\.1 408 [\s\S]*\r\nConnection: close\r\n/);
    assert.equal(bodies.heldBytes, 0);
    const second = await Client.open({ url });
    second.socket.write(request(BODY).slice(0, 1_000));
    await second.until(() => second.isClosed || second.hasEnded);
    assert.match(second.received, /^HTTP\/1\.1 429 /);
    first.socket.destroy();
    second.socket.destroy();
  });
});
