import assert from "node:assert/strict";
import { test } from "node:test";
import { AckPolicy, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { unpackBatch } from "../../workers/sync/batch-format.ts";
import { TableMaker } from "../../workers/sync/tables.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { NatsServer, withoutNats } from "../support/nats-server.ts";
import { Random } from "../support/random.ts";
import { newest, SinkEdge, type SinkRows } from "../support/sink-fixture.ts";
import type { Cleanup } from "../support/temp-dir.ts";

const skip = withoutNats();

async function client(server: NatsServer, cleanup: Cleanup): Promise<NatsConnection> {
  const connection = await connect({ servers: server.url });
  cleanup.after(() => connection.close());
  return connection;
}

/** What a consumer of the stream gets: each batch once by its key, in the form that hubs read. */
async function contents(
  connection: NatsConnection,
  stream: string,
): Promise<SinkRows & { messages: number }> {
  const manager = await jetstreamManager(connection);
  await manager.consumers.add(stream, { durable_name: "reader", ack_policy: AckPolicy.Explicit });
  const consumer = await jetstream(connection).consumers.get(stream, "reader");
  const { state } = await manager.streams.info(stream);
  const codec = await portableCodec();
  const maker = new TableMaker(codec);
  const rows: Record<string, Record<string, unknown>[]> = { events: [], results: [], alerts: [], losses: [] };
  const seen = new Set<string>();
  for (let read = 0; read < state.messages; read++) {
    const message = await consumer.next();
    assert.ok(message !== null);
    message.ack();
    assert.equal(message.headers?.get("Millrace-Edge"), "press-1");
    assert.equal(message.headers?.get("Content-Type"), "application/vnd.millrace.batch");
    assert.match(message.subject, /\.press-1$/);
    const { header, items } = unpackBatch(codec, message.data);
    assert.equal(message.headers?.get("Nats-Msg-Id"), header.key);
    if (seen.has(header.key)) continue;
    seen.add(header.key);
    for (const { kind, body } of await maker.tables(header, items, "ndjson"))
      for (const line of new TextDecoder().decode(body).split("\n"))
        if (line !== "") rows[kind]!.push(JSON.parse(line) as Record<string, unknown>);
  }
  return { events: rows.events!, results: rows.results!, alerts: rows.alerts!, messages: state.messages };
}

test("a stream of JetStream holds what the edge holds, over cut lines, kills of the edge and of the server", {
  skip,
}, async (context) => {
  const server = await NatsServer.start(context);
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const proxy = await ChaosProxy.start(
    () => `http://127.0.0.1:${server.port}`,
    random,
    context,
    () => random.pick(["pass", "pass", "cut-request", "cut-answer", "delay"]),
  );
  const edge = new SinkEdge(`nats: "${proxy.url.replace("http", "nats")}"`, context);
  await edge.node.start();
  for (let round = 0; round < 4; round++) {
    await edge.send(4);
    proxy.cut();
    if (round === 1) await server.kill();
    await edge.send(2);
    if (round === 1) await server.start();
    if (round === 2) await edge.node.restart("SIGKILL");
  }
  await edge.end();
  const held = await contents(await client(server, context), "MILLRACE");
  const rows = await edge.assertHolds(newest(held));
  assert.ok(rows > 4_800, `${rows} rows were compared`);
  await edge.node.stop();
});

test("batches larger than the server's max_payload go in parts that fit", { skip }, async (context) => {
  const server = await NatsServer.start(context, "max_payload: 16KB");
  const edge = new SinkEdge(`nats: { url: "${server.url}", stream: SMALL, subject: factory.a }`, context);
  await edge.node.start();
  await edge.send(40);
  await edge.end();
  const held = await contents(await client(server, context), "SMALL");
  assert.ok(held.messages > 3, `${held.messages} messages`);
  await edge.assertHolds(newest(held));
  await edge.node.stop();
});

test("a stream that must not be made is asked for, and what waited goes once it is there", {
  skip,
}, async (context) => {
  const server = await NatsServer.start(context);
  const edge = new SinkEdge(`nats: { url: "${server.url}", create: false }`, context);
  await edge.node.start();
  await edge.send(2);
  await edge.failsFor(/no stream takes millrace\.sync\.press-1; make stream MILLRACE over millrace\.sync\.>/);
  const reasons = (pattern: RegExp): string[] => edge.node.lines.filter((line) => pattern.test(line));
  const cut = reasons(/connection closed|closed connection/);
  assert.ok(
    cut.length === 0 || reasons(/no answer within/).length > 0,
    `what was answered to one batch cuts no other: ${cut[0]}`,
  );
  const connection = await client(server, context);
  const manager: JetStreamManager = await jetstreamManager(connection);
  await manager.streams.add({ name: "MILLRACE", subjects: ["millrace.sync.>"] });
  await edge.end();
  await edge.assertHolds(newest(await contents(connection, "MILLRACE")));
  await edge.node.stop();
});

test("a wrong password parks nothing, and is named", { skip }, async (context) => {
  const server = await NatsServer.start(context, 'authorization: { user: edge, password: "right-one" }');
  const edge = new SinkEdge(`nats: { url: "${server.url}", user: edge, password: wrong-one }`, context);
  await edge.node.start();
  await edge.send(1);
  await edge.failsFor(/authorization/i);
  assert.equal(await edge.parked(), 0);
  const shown = (await edge.client.request("GET", "/v1/config")).text;
  assert.doesNotMatch(shown, /wrong-one/);
  await edge.node.stop();
});
