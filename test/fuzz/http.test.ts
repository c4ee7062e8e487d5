import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HttpClient } from "../support/http-client.ts";
import { type NodeProcess, spawnNode } from "../support/node-process.ts";
import type { Cleanup } from "../support/temp-dir.ts";

const RUNS = Number(process.env.MILLRACE_FUZZ_RUNS ?? 300);
const CONTENT_TYPES = ["application/x-ndjson", "application/json", "text/csv"];
const ENCODINGS = ["identity", "identity", "identity", "gzip", "zstd"];
const STATUSES = new Set([200, 400, 413, 415, 422]);

/** Bytes that look like JSON as often as not. */
const jsonish = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '{"device":"a","ts":1',
        "}",
        "{",
        "[",
        "]",
        ",",
        ":",
        '"',
        "\\",
        "\\u",
        "\\ud800",
        "\n",
        "\r\n",
      ),
      fc.constantFrom(
        "null",
        "true",
        "1e308",
        "-0",
        "1e-400",
        "0.1",
        '"ts":',
        '"device":',
        "9223372036854775808",
      ),
      fc.json(),
      fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
      fc.string({ unit: "grapheme", maxLength: 8 }),
    ),
    { maxLength: 30 },
  )
  .map((parts) => Buffer.from(parts.join("")));

const body = fc.oneof(
  fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)),
  jsonish,
  jsonish,
);

async function withNode(
  task: (node: NodeProcess, client: HttpClient) => Promise<void>,
  context: Cleanup,
): Promise<void> {
  const node = await spawnNode({ config: null }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await task(node, client);
}

test("any bytes as a body: a promised answer, and the counts add up", (context) =>
  withNode(async (node, client) => {
    let accepted = 0;
    let deadLettered = 0;
    await fc.assert(
      fc.asyncProperty(
        body,
        fc.constantFrom(...CONTENT_TYPES),
        fc.constantFrom(...ENCODINGS),
        async (bytes, contentType, encoding) => {
          const headers = encoding === "identity" ? {} : { "content-encoding": encoding };
          const answer = await client.post("fuzz", bytes, { contentType, headers });
          assert.ok(node.isRunning, node.tail());
          assert.ok(STATUSES.has(answer.status), `${answer.status} ${answer.text}`);
          const said = JSON.parse(answer.text) as { accepted: number; deadLettered: number; status: number };
          if (answer.status === 200) {
            accepted += said.accepted;
            deadLettered += said.deadLettered;
          } else {
            assert.equal(said.status, answer.status);
          }
        },
      ),
      { numRuns: RUNS },
    );
    const lines = await client.events("fuzz");
    assert.equal(lines.length, accepted, "every accepted event can be read again");
    assert.ok(deadLettered >= 0);
    await node.restart("SIGKILL");
    assert.equal((await client.events("fuzz")).length, accepted);
    assert.equal((await client.send("fuzz", [{ device: "a", ts: 1, temp: 1 }])).accepted, 1);
  }, context));

test("any scalar that JSON can say is read back as it was", (context) =>
  withNode(async (_, client) => {
    const value = fc.oneof(
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.boolean(),
      fc.string(),
    );
    const sent = new Map<number, unknown>();
    await fc.assert(
      fc.asyncProperty(fc.array(value, { minLength: 1, maxLength: 20 }), async (values) => {
        const events = values.map((each) => {
          const index = sent.size;
          sent.set(index, JSON.parse(JSON.stringify(each)));
          // A field for each type, so that nothing is widened.
          return { device: "d", ts: 1_700_000_000_000, index, [typeof each]: each };
        });
        assert.equal((await client.send("mirror", events)).accepted, events.length);
      }),
      { numRuns: Math.ceil(RUNS / 5) },
    );
    const stored = await client.events("mirror");
    assert.equal(stored.length, sent.size);
    for (const event of stored) {
      const expected = sent.get(Number(event.index));
      assert.deepEqual(event[typeof expected], expected);
    }
  }, context));
