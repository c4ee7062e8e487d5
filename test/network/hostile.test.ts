import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { type Acknowledgement, type Answer, HttpClient } from "../support/http-client.ts";
import { type NodeProcess, spawnNode } from "../support/node-process.ts";
import { RawSocket } from "../support/raw-socket.ts";

const MIB = 2 ** 20;
/** Far above what a node of this configuration needs, far below what swallowing a bomb would take. */
const SANE_RESIDENT_BYTES = 700 * MIB;

const CONFIG = `
streams:
  machines:
    key: device
    time: { field: ts, unit: auto }
    fields: { temp: float, rpm: int, on: bool, state: string }
    extra: keep
    watermark: { bound: 5s, maxAhead: 5m }
    lateness: 30s
queries:
  counts: { from: machines, window: { tumbling: 1m }, select: { n: count() } }
`;

/** Shared by all tests of this file: the point is that one client's nonsense does not hurt the next. */
let node: NodeProcess;
let client: HttpClient;
/** Events of the device `good` that were acknowledged. */
let goodEvents = 0;
let lines = 0;
const cleanups: (() => void | Promise<void>)[] = [];

before(async () => {
  node = await spawnNode({ config: CONFIG }, { after: (task) => void cleanups.push(task) });
  client = new HttpClient(() => node.url);
});

after(async () => {
  client.close();
  for (const task of cleanups.toReversed()) await task();
});

function goodLine(): string {
  return JSON.stringify({ device: "good", ts: Date.now(), temp: 20.5, number: lines++ });
}

/** The process lives, is not bloated, still takes events, and has every good event so far. */
async function checkUnharmed(): Promise<void> {
  assert.ok(node.isRunning, `the process is alive:\n${node.tail()}`);
  const resident = node.residentBytes();
  if (resident !== null) {
    assert.ok(resident < SANE_RESIDENT_BYTES, `resident memory is ${Math.round(resident / MIB)} MiB`);
  }
  countGood(await client.post("machines", `${goodLine()}\n`), 1);
  assert.equal((await client.events("machines", { key: "good" })).length, goodEvents);
  assert.equal((await client.request("GET", "/healthz")).status, 200);
}

function acknowledgement(answer: Answer): Acknowledgement {
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.text) as Acknowledgement;
}

/** So many good lines, and no others, were taken. */
function countGood(answer: Answer, count: number): Acknowledgement {
  const said = acknowledgement(answer);
  assert.equal(said.accepted, count);
  goodEvents += count;
  return said;
}

/** An error that tells a person what is wrong, in the form of RFC 9457. */
function checkProblem(answer: Answer, ...statuses: readonly number[]): Record<string, unknown> {
  assert.ok(statuses.includes(answer.status), `${answer.status} ${answer.text.slice(0, 500)}`);
  assert.match(String(answer.headers["content-type"]), /^application\/problem\+json/);
  const problem = JSON.parse(answer.text) as Record<string, unknown>;
  assert.equal(problem.status, answer.status);
  for (const member of ["type", "title", "detail"]) assert.equal(typeof problem[member], "string", member);
  return problem;
}

/** Lines that are bad on their own, each between good lines. */
const BAD_LINES: Readonly<Record<string, { line: string | Buffer; path?: string }>> = {
  "truncated UTF-8": {
    line: Buffer.concat([
      Buffer.from('{"device":"d","ts":1,"state":"'),
      Buffer.from([0xe2, 0x82]),
      Buffer.from('"}'),
    ]),
  },
  "an overlong UTF-8 form": {
    line: Buffer.concat([
      Buffer.from('{"device":"d","ts":1,"state":"'),
      Buffer.from([0xc0, 0xaf]),
      Buffer.from('"}'),
    ]),
  },
  "a lone surrogate": { line: '{"device":"d","ts":1,"state":"\\ud800"}' },
  "a line above 1 MiB": { line: `{"device":"d","ts":1,"state":"${"x".repeat(MIB)}"}` },
  "10,000-deep arrays": { line: `{"device":"d","ts":1,"deep":${"[".repeat(10_000)}${"]".repeat(10_000)}}` },
  "10,000-deep objects": {
    line: `{"device":"d","ts":1,"deep":${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}}`,
  },
  "10,000-deep and never closed": { line: `${"[".repeat(10_000)}` },
  "a number beyond all doubles": { line: '{"device":"d","ts":1,"temp":1e999}', path: "temp" },
  "a wrong type": { line: '{"device":"d","ts":1,"temp":"warm"}', path: "temp" },
  "a fraction for an int": { line: '{"device":"d","ts":1,"rpm":1.5}', path: "rpm" },
  "no key": { line: '{"ts":1,"temp":1}' },
  "a null key": { line: '{"device":null,"ts":1,"temp":1}' },
  "no time": { line: '{"device":"d","temp":1}' },
  "a time that is none": { line: '{"device":"d","ts":"soon","temp":1}' },
  "a cut line": { line: '{"device":"d","ts":1,"te' },
  "not an object": { line: "42" },
  "plain text": { line: "hello, is this thing on?" },
  "a NUL byte": { line: Buffer.from('{"device":"d\u0000","ts":1}') },
  NaN: { line: '{"device":"d","ts":1,"temp":NaN}' },
};

describe("hostile lines", () => {
  for (const [what, { line, path }] of Object.entries(BAD_LINES)) {
    test(`${what}: set aside with its line number, the good lines beside it are kept`, async () => {
      const body = Buffer.concat([
        Buffer.from(`${goodLine()}\n`),
        Buffer.from(line),
        Buffer.from(`\n${goodLine()}\n`),
      ]);
      const { deadLettered, errors } = countGood(await client.post("machines", body), 2);
      assert.equal(deadLettered, 1);
      assert.equal(errors[0]?.line, 2);
      assert.ok((errors[0]?.message.length ?? 0) > 5, "the message says something");
      if (path !== undefined) assert.equal(errors[0]?.path, path);
      checkProblem(await client.post("machines", Buffer.from(line)), 422);
      await checkUnharmed();
    });
  }

  test("bad lines are in the dead-letter queue", async () => {
    const answer = await client.request("GET", "/v1/dlq");
    assert.equal(answer.status, 200);
    const rows = answer.text.split("\n").filter((row) => row !== "");
    assert.ok(rows.length >= Object.keys(BAD_LINES).length, `${rows.length} rows`);
    for (const row of rows) JSON.parse(row);
  });

  test("a line of 1,000,000 bytes is an ordinary line", async () => {
    const line = `{"device":"long","ts":${Date.now()},"state":"${"x".repeat(1_000_000 - 60)}"}`;
    assert.equal(acknowledgement(await client.post("machines", line)).accepted, 1);
    await checkUnharmed();
  });

  test("a body with more bad lines than are kept: the good line is taken, or all is refused", async () => {
    const answer = await client.post("machines", `${goodLine()}\n${"x\n".repeat(1_000_000)}`);
    if (answer.status !== 200) {
      checkProblem(answer, 422);
    } else {
      const { deadLettered, errors } = countGood(answer, 1);
      assert.deepEqual({ deadLettered, shown: errors.length }, { deadLettered: 1_000_000, shown: 10 });
    }
    await checkUnharmed();
  });
});

test("an event from the future is kept aside as clock-skew and moves no watermark", async () => {
  await client.send("machines", `{"device":"dreamer","ts":"2200-01-01T00:00:00Z","temp":1}\n`);
  const aside = await client.late("machines");
  assert.ok(aside.some(({ event, reason }) => event.device === "dreamer" && reason === "clock-skew"));
  countGood(await client.post("machines", `${goodLine()}\n`), 1);
  assert.ok(
    !(await client.late("machines")).some(({ event }) => event.device === "good"),
    "no good event is late",
  );
  await checkUnharmed();
});

describe("hostile bodies", () => {
  test("empty", async () => {
    checkProblem(await client.post("machines", ""), 400, 422);
    const blank = await client.post("machines", "\n\r\n\n");
    if (blank.status === 200) assert.equal(acknowledgement(blank).accepted, 0);
    else checkProblem(blank, 400, 422);
    await checkUnharmed();
  });

  test("100 MB with its length told: 413", async () => {
    const socket = await RawSocket.open(node.url);
    await socket.send(head("machines", `content-length: ${100 * MIB}`));
    await sendInPieces(socket, 100 * MIB, (piece) => piece);
    assert.equal(await socket.firstStatus(), 413);
    socket.cut();
    await checkUnharmed();
  });

  test("100 MB in chunks of unknown number: 413", async () => {
    const socket = await RawSocket.open(node.url);
    await socket.send(head("machines", "transfer-encoding: chunked"));
    await sendInPieces(socket, 100 * MIB, (piece) =>
      Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]),
    );
    assert.equal(await socket.firstStatus(), 413);
    socket.cut();
    await checkUnharmed();
  });

  for (const [encoding, compress] of [
    ["gzip", gzipSync],
    ["zstd", zstdCompressSync],
  ] as const) {
    test(`a ${encoding} bomb: 413`, async () => {
      const bomb = compress(Buffer.alloc(512 * MIB, "\n"));
      const answer = await client.post("machines", bomb, { headers: { "content-encoding": encoding } });
      checkProblem(answer, 413);
      await checkUnharmed();
    });

    test(`eight ${encoding} bombs at once: 413`, async () => {
      const bomb = compress(Buffer.alloc(128 * MIB, "0"));
      const headers = { "content-encoding": encoding };
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => client.post("machines", bomb, { headers })),
      );
      for (const answer of answers) checkProblem(answer, 413);
      await checkUnharmed();
    });

    test(`invalid ${encoding}: an error, nothing stored`, async () => {
      const headers = { "content-encoding": encoding };
      const whole = compress(Buffer.from(`{"device":"cut","ts":${Date.now()}}\n`.repeat(1_000)));
      for (const body of [
        Buffer.from("no such thing"),
        whole.subarray(0, whole.length / 2),
        Buffer.alloc(0),
      ]) {
        checkProblem(await client.post("machines", body, { headers }), 400, 415, 422);
      }
      assert.equal((await client.events("machines", { key: "cut" })).length, 0);
      await checkUnharmed();
    });

    test(`good ${encoding} is read`, async () => {
      const body = compress(Buffer.from(`${goodLine()}\n${goodLine()}\n`));
      const answer = await client.post("machines", body, { headers: { "content-encoding": encoding } });
      countGood(answer, 2);
      await checkUnharmed();
    });
  }

  test("a broken JSON document: 422", async () => {
    const post = (body: string): Promise<Answer> =>
      client.post("machines", body, { contentType: "application/json" });
    for (const body of ["[", "[{]", '{"device":', "[1,2", "", "null", "[null]"]) {
      const answer = await post(body);
      if (body === "") assert.ok([200, 400, 422].includes(answer.status));
      else checkProblem(answer, 422);
    }
    const mixed = countGood(await post(`[${goodLine()}, 17, ${goodLine()}]`), 2);
    assert.deepEqual([mixed.deadLettered, mixed.errors[0]?.line], [1, 2]);
    await checkUnharmed();
  });

  test("CSV with too many, too few and unfinished cells harms nothing", async () => {
    const body = `device,ts,temp\nd,${Date.now()},1\nd,1\nd,1,2,3,4\nd,1,"open`;
    const { accepted, deadLettered } = acknowledgement(
      await client.post("machines", body, { contentType: "text/csv" }),
    );
    assert.ok(accepted >= 1 && deadLettered >= 1, `${accepted} accepted, ${deadLettered} set aside`);
    await checkUnharmed();
  });
});

describe("hostile requests", () => {
  test("an unknown content type or encoding: 415", async () => {
    const line = '{"device":"d","ts":1}\n';
    checkProblem(await client.post("machines", line, { contentType: "application/x-msdownload" }), 415);
    checkProblem(await client.post("machines", line, { headers: { "content-encoding": "br" } }), 415);
    await checkUnharmed();
  });

  test("bad stream names: an error", async () => {
    for (const name of ["..", "a/b", "a b", "x".repeat(5_000), "ünïcode\u0000", "%00", "unknown"]) {
      checkProblem(await client.post(name, '{"device":"d","ts":1}\n'), 400, 404, 414);
    }
    await checkUnharmed();
  });

  test("a huge idempotency key or header: an error", async () => {
    const long = await client.post("machines", '{"device":"d","ts":1}\n', {
      idempotencyKey: "k".repeat(5_000),
    });
    assert.ok(long.status >= 400 && long.status < 500, String(long.status));
    const huge = await client.post("machines", '{"device":"d","ts":1}\n', {
      idempotencyKey: "k".repeat(100_000),
    });
    assert.ok(huge.status >= 400 && huge.status < 500, String(huge.status));
    await checkUnharmed();
  });

  test("bad watermarks: an error", async () => {
    for (const body of [
      "",
      "{",
      "[]",
      '{"time":"soon"}',
      '{"time":1e400}',
      '{"end":"maybe"}',
      "null",
      '{"time":{}}',
    ]) {
      const answer = await client.request("POST", "/v1/streams/machines/watermark", body, {
        "content-type": "application/json",
      });
      checkProblem(answer, 400, 422);
    }
    await checkUnharmed();
  });

  test("bad parameters of a list: an error", async () => {
    for (const query of ["limit=-1", "limit=many", "from=soon", "to=%00", "after=nonsense", "limit=1e9"]) {
      const answer = await client.request("GET", `/v1/streams/machines/events?${query}`);
      assert.ok(
        answer.status === 400 || answer.status === 422 || query === "limit=1e9",
        `${query}: ${answer.status}`,
      );
    }
    await checkUnharmed();
  });

  test("garbage behind a good request on the same connection", async () => {
    const body = `${goodLine()}\n`;
    const socket = await RawSocket.open(node.url);
    await socket.send(
      `${head("machines", `content-length: ${body.length}`)}${body}\u0001\u0002 GARBAGE\r\n\r\n`.repeat(1),
    );
    await socket.waitFor('"accepted":1');
    goodEvents++;
    socket.cut();
    await checkUnharmed();
  });

  test("pipelined requests are all answered, in order", async () => {
    const socket = await RawSocket.open(node.url);
    const pipeline = Array.from({ length: 20 }, () => {
      const body = `${goodLine()}\n`;
      return `${head("machines", `content-length: ${body.length}`)}${body}`;
    });
    await socket.send(pipeline.join(""));
    const deadline = performance.now() + 120_000;
    while (socket.received.split('"accepted":1').length <= 20 && performance.now() < deadline)
      await sleep(20);
    assert.equal(socket.received.split('"accepted":1').length - 1, 20);
    goodEvents += 20;
    socket.cut();
    await checkUnharmed();
  });

  test("no HTTP at all", async () => {
    const socket = await RawSocket.open(node.url);
    await socket.send(Buffer.from("\u0016\u0003\u0001\u0002\u0000garbage\r\n\r\n", "latin1"));
    assert.ok([400, null].includes(await socket.firstStatus()));
    socket.cut();
    await checkUnharmed();
  });

  test("a connection cut in mid body: nothing of it is stored", async () => {
    const lines = `{"device":"ghost","ts":${Date.now()},"temp":1}\n`.repeat(1_000);
    for (const framing of [`content-length: ${lines.length * 2}`, "transfer-encoding: chunked"]) {
      const socket = await RawSocket.open(node.url);
      await socket.send(head("machines", framing));
      await socket.send(framing.startsWith("t") ? `${lines.length.toString(16)}\r\n${lines}\r\n` : lines);
      socket.cut();
    }
    await checkUnharmed();
    assert.equal((await client.events("machines", { key: "ghost" })).length, 0);
  });

  test("200 connections that begin a body and say no more do not stop the others", async () => {
    const sockets = await Promise.all(Array.from({ length: 200 }, () => RawSocket.open(node.url)));
    for (const socket of sockets)
      await socket.send(`${head("machines", "content-length: 8000000")}{"device":`);
    await checkUnharmed();
    for (const socket of sockets) socket.cut();
    await checkUnharmed();
  });
});

test("bodies that are almost there are not kept without limit", async () => {
  const body = Buffer.alloc(15 * MIB, "\n");
  const sockets = await Promise.all(Array.from({ length: 80 }, () => RawSocket.open(node.url)));
  await Promise.all(
    sockets.map(async (socket) => {
      await socket.send(head("machines", `content-length: ${body.length + 1}`));
      await Promise.race([socket.send(body), sleep(5_000)]);
    }),
  );
  const resident = node.residentBytes() ?? 0;
  assert.ok(resident < SANE_RESIDENT_BYTES, `resident memory is ${Math.round(resident / MIB)} MiB`);
  for (const socket of sockets) socket.cut();
  await sleep(100);
  await checkUnharmed();
});

test("after all this it stops in order and starts again with every good event", async () => {
  await node.stop();
  await node.start();
  await checkUnharmed();
});

function head(stream: string, framing: string): string {
  return (
    `POST /v1/streams/${stream}/events HTTP/1.1\r\nhost: millrace\r\n` +
    `content-type: application/x-ndjson\r\n${framing}\r\n\r\n`
  );
}

/** Sends so many bytes of newlines unless the other side answers or closes before. */
async function sendInPieces(
  socket: RawSocket,
  bytes: number,
  wrap: (piece: Buffer) => Buffer,
): Promise<void> {
  const piece = Buffer.alloc(MIB, "\n");
  for (let sent = 0; sent < bytes && !socket.isClosed; sent += piece.length) {
    if (socket.received !== "") return;
    await Promise.race([socket.send(wrap(piece)), sleep(200)]);
  }
}
