import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Admin, Consumer, ListOffsetTimestamps } from "@platformatic/kafka";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { KafkaServer, withoutKafka } from "../support/kafka-server.ts";
import { Random } from "../support/random.ts";
import { newest, SinkEdge, type SinkRows } from "../support/sink-fixture.ts";

const skip = withoutKafka();
const TOPIC = "millrace";

type Row = Record<string, unknown>;

/** What a consumer of the topic has that passes over records it has seen, as docs/sinks.md says. */
async function contents(broker: string): Promise<SinkRows & { records: number }> {
  const consumer = new Consumer({
    clientId: "reader",
    groupId: `reader-${process.pid}`,
    bootstrapBrokers: [broker],
  });
  const ends = (
    await consumer.listOffsets({
      topics: [TOPIC],
      timestamp: ListOffsetTimestamps.LATEST,
    })
  ).get(TOPIC)!;
  const expected = Number(ends.reduce((sum, offset) => sum + offset, 0n));
  const stream = await consumer.consume({ topics: [TOPIC], mode: "earliest" });
  const rows: Record<string, Row[]> = { events: [], results: [], alerts: [], losses: [] };
  const seen = new Set<string>();
  let records = 0;
  for await (const message of stream) {
    const headers = new Map([...message.headers].map(([name, value]) => [String(name), String(value)]));
    assert.equal(headers.get("millrace-edge"), "press-1");
    const id = `${message.key} ${headers.get("millrace-row")}`;
    if (!seen.has(id)) rows[headers.get("millrace-kind")!]!.push(JSON.parse(String(message.value)) as Row);
    seen.add(id);
    if (++records >= expected) break;
  }
  await consumer.close(true);
  return { events: rows.events!, results: rows.results!, alerts: rows.alerts!, records };
}

test("a topic of Kafka holds what the edge holds, over cut lines, kills of the edge and of the broker", {
  skip,
}, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  let target = 0;
  const proxy = await ChaosProxy.start(
    () => `http://127.0.0.1:${target}`,
    random,
    context,
    () => random.pick(["pass", "pass", "pass", "cut-answer", "delay"]),
  );
  const front = Number(new URL(proxy.url).port);
  const server = await KafkaServer.start(context, async (port) => {
    target = port;
    return front;
  });
  const admin = new Admin({ clientId: "admin", bootstrapBrokers: [`127.0.0.1:${front}`], retries: 20 });
  await admin.createTopics({ topics: [TOPIC], partitions: 3, replicas: 1 });
  await admin.close();
  const edge = new SinkEdge(`kafka: { brokers: ["127.0.0.1:${front}"], topic: ${TOPIC} }`, context);
  await edge.node.start();
  for (let round = 0; round < 4; round++) {
    await edge.send(4);
    proxy.cut();
    if (round === 1) await server.kill();
    await edge.send(2);
    if (round === 1) await server.start();
    if (round === 2) await edge.node.restart("SIGKILL");
    await sleep(100);
  }
  await edge.end();
  target = server.port;
  const held = await contents(`127.0.0.1:${front}`);
  const rows = await edge.assertHolds(newest(held));
  assert.ok(rows > 4_800, `${rows} rows were compared`);
  await edge.node.stop();
});

test("a topic that is not there parks nothing", { skip }, async (context) => {
  const server = await KafkaServer.start(context, async (port) => port);
  const edge = new SinkEdge(`kafka: { brokers: ["127.0.0.1:${server.port}"], topic: nowhere }`, context);
  await edge.node.start();
  await edge.send(1);
  await edge.failsFor(/./);
  assert.equal(await edge.parked(), 0);
  await edge.node.stop();
});
