import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { fullAtBytes, isMended } from "../../host/sync/sinks/nats-room.ts";
import { NatsSink } from "../../host/sync/sinks/nats-sink.ts";
import { NatsServer, withoutNats } from "../support/nats-server.ts";
import { Random } from "../support/random.ts";

const MAX_BYTES = 64 * 1024;

test("a stream that is filled to its limit keeps every message it acknowledged, whatever the server's release", {
  skip: withoutNats(),
}, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const server = await NatsServer.start(context);
  const connection = await connect({ servers: server.url });
  context.after(() => connection.close());
  const manager = await jetstreamManager(connection);
  for (let round = 0; round < 20; round++) {
    const stream = `FULL${round}`;
    const sink = new NatsSink({
      name: "out",
      target: {
        kind: "nats",
        url: server.url,
        stream,
        subject: `full${round}`,
        creates: true,
        form: { retention: "work-queue", maxBytes: MAX_BYTES, maxAgeUs: null },
        user: null,
        password: null,
        token: null,
      },
      edge: "press-1",
      timeoutMs: 5_000,
    });
    const delivered = { count: 0 };
    let refused = 0;
    // As many at a time as a sink may have under way.
    const deliver = async (): Promise<void> => {
      while (refused < 40) {
        const body = new Uint8Array(random.integer(1, refused === 0 ? 3_000 : 300));
        const key = randomBytes(20).toString("hex");
        const batch = { key, body } as Parameters<NatsSink["deliver"]>[0];
        const delivery = await sink.deliver(batch, new AbortController().signal);
        if (delivery.kind === "delivered") delivered.count++;
        else {
          assert.equal(delivery.kind, "unreachable");
          assert.match(delivery.reason, /maximum bytes exceeded/);
          refused++;
        }
      }
    };
    await Promise.all(Array.from({ length: 4 }, deliver));
    const { state } = await manager.streams.info(stream);
    assert.deepEqual(
      { first: state.first_seq, messages: state.messages },
      { first: 1, messages: delivered.count },
      `round ${round}`,
    );
    assert.ok(delivered.count > 10);
    await sink.close();
    await manager.streams.delete(stream);
  }
});

test("servers before 2.10.5, and those of which nothing is known, are not trusted to refuse what is new", () => {
  const isTrusted = (version: string): boolean => isMended(version);
  assert.deepEqual(["2.10.5", "2.10.12", "2.11.0-RC.1", "3.0.0"].filter(isTrusted).length, 4);
  assert.deepEqual(["", "2.9.10", "2.9.25", "2.10.4", "1.99.99", "beta"].filter(isTrusted), []);
  assert.equal(fullAtBytes(1024 ** 3), 1024 ** 3 * (15 / 16));
  assert.equal(fullAtBytes(16 * 1024), 12 * 1024);
});
