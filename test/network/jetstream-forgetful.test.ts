import assert from "node:assert/strict";
import { cpSync, rmSync } from "node:fs";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ConsumerInfo, jetstream, jetstreamManager, type StreamInfo } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { natsStreamForm } from "../../host/config/nats-stream.ts";
import { ConsumerGroup } from "../../host/hub/consumer-group.ts";
import { all } from "../support/fleet.ts";
import { HttpClient } from "../support/http-client.ts";
import { openPublisher } from "../support/jetstream-publisher.ts";
import { NatsServer, withoutNats } from "../support/nats-server.ts";
import { NodeProcess } from "../support/node-process.ts";
import { PostgresServer, withoutPostgres } from "../support/postgres.ts";
import { Random } from "../support/random.ts";
import { machineEvents, type RecordedBatch, recordBatches } from "../support/recorded-batches.ts";
import type { Cleanup } from "../support/temp-dir.ts";

const skip = withoutPostgres() || withoutNats();
const DEADLINE_MS = 240_000;
const [STREAM, CONSUMER] = ["MILLRACE", "millrace-hub"];
const LIMITS = "limits: { maxStreamWait: 2s }\n";

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!(await isSo().catch(() => false))) {
    if (performance.now() > deadline) assert.fail(`never: ${what}`);
    await sleep(50);
  }
}

/** What the server says of stream and consumer. */
async function openInfo(nats: NatsServer, cleanup: Cleanup) {
  const connection = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  cleanup.after(() => connection.close());
  const manager = await jetstreamManager(connection, { checkAPI: false });
  return {
    manager,
    ask: async (): Promise<{ readonly stream: StreamInfo; readonly consumer: ConsumerInfo }> => ({
      stream: await manager.streams.info(STREAM),
      consumer: await manager.consumers.info(STREAM, CONSUMER),
    }),
  };
}

/** Nothing is in the stream, and the consumer waits for nothing. */
async function emptied({ ask }: Awaited<ReturnType<typeof openInfo>>): Promise<boolean> {
  const { stream, consumer } = await ask();
  return stream.state.messages + consumer.num_pending + consumer.num_ack_pending === 0;
}

async function startHubs(config: string, count: number, cleanup: Cleanup) {
  const hubs = Array.from({ length: count }, () => new NodeProcess({ config, command: "hub" }, cleanup));
  const clients = hubs.map((hub) => new HttpClient(() => hub.url));
  for (const client of clients) cleanup.after(() => client.close());
  await Promise.all(hubs.map((hub) => hub.start()));
  return { hubs, clients };
}

async function remediesOf(client: HttpClient): Promise<Readonly<Record<string, number>>> {
  const { text } = await client.request("GET", "/metrics");
  const lines = text.matchAll(/^millrace_hub_stream_remedies_total\{remedy="([a-z-]+)"\} (\d+)$/gm);
  return Object.fromEntries([...lines].map(([, remedy, count]) => [remedy, Number(count)]));
}

async function eventsOf(client: HttpClient): Promise<number> {
  const { edges } = await client.json<{ edges: { events: number }[] }>("/v1/edges");
  return edges.reduce((sum, { events }) => sum + events, 0);
}

async function assertOnce(client: HttpClient, count: number): Promise<void> {
  const events = await all(client, "/v1/streams/machines/events");
  assert.equal(events.length, count);
  assert.equal(new Set(events.map(({ n }) => n)).size, count);
  assert.deepEqual(await all(client, "/v1/dlq"), []);
}

function record(context: Cleanup, portions: number): Promise<RecordedBatch[]> {
  const sent = Array.from({ length: portions }, (_, at) => ({
    stream: "machines" as const,
    events: machineEvents(at * 100, 100),
  }));
  return recordBatches("edge-a", sent, context, 60);
}

test("messages that a server which lost its last writes takes for acknowledged reach the hubs, once, and leave the stream", {
  skip,
}, async (context) => {
  const [server, nats] = [await PostgresServer.start(context), await NatsServer.start(context)];
  const info = await openInfo(nats, context);
  const connection = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  context.after(() => connection.close());
  const form = natsStreamForm({});
  const config = { url: nats.url, stream: STREAM, consumer: CONSUMER, form };
  await ConsumerGroup.join(connection, config);
  await info.manager.consumers.update(STREAM, CONSUMER, { max_ack_pending: 77 });
  const [last, ...batches] = (await record(context, 12)).reverse();
  assert.ok(last && batches.length > 5);
  const publish = await openPublisher(nats.url, context);
  const publications = [batches[0]!, { ...batches[0]!, key: "00".repeat(20) }, ...batches.slice(1)];
  for (const batch of publications) await publish(batch);
  const place = join(nats.storeDir, "jetstream/$G/streams", STREAM);
  const messages = new Saved(join(place, "msgs"), join(nats.storeDir, "messages"));
  const states = new Saved(join(place, "obs"), join(nats.storeDir, "states"));
  const started = async (): Promise<void> => {
    await nats.start();
    await until("the server is there", async () => (await info.ask()).stream.state.messages > 0);
  };
  await nats.stop();
  messages.save();
  await started();
  // Nobody stores anything: all is acknowledged but the second message, which is given out alone.
  const consumer = await jetstream(connection).consumers.get(STREAM, CONSUMER);
  const given = await consumer.fetch({ max_messages: publications.length, expires: 5_000 });
  for await (const message of given) if (message.seq !== 2) await message.ackAck();
  await nats.stop();
  states.save();
  messages.restore();
  await started();
  await info.manager.streams.deleteMessage(STREAM, 2, false);
  await nats.stop();
  // Now it waits for the acknowledgement of a message that is gone, and takes all that are there for acknowledged.
  states.restore();
  await started();
  const { stream, consumer: believes } = await info.ask();
  const { num_pending, num_ack_pending } = believes;
  const fault = { left: stream.state.messages, num_pending, num_ack_pending };
  context.diagnostic(JSON.stringify(fault));
  assert.deepEqual(fault, { left: publications.length - 1, num_pending: 0, num_ack_pending: 1 });

  const { hubs, clients } = await startHubs(
    `store: { postgres: "${server.url()}" }\nnats: { url: "${nats.url}" }\n${LIMITS}`,
    2,
    context,
  );
  await until("the stream is empty", () => emptied(info));
  const remedies = await Promise.all(clients.map(remediesOf));
  const made = remedies.reduce((sum, each) => sum + (each["make-anew"] ?? 0), 0);
  assert.ok(made >= 1 && made <= 2, `the consumer was made anew ${made} times`);
  assert.equal((await info.ask()).consumer.config.max_ack_pending, 77, "settings stay");
  // Both hubs go on, and also when somebody else takes the consumer away.
  await info.manager.consumers.delete(STREAM, CONSUMER);
  await publish(last);
  await until("what came later is stored", async () => (await eventsOf(clients[0]!)) === 1_200);
  await until("the stream is empty again", () => emptied(info));
  await assertOnce(clients[1]!, 1_200);
  for (const hub of hubs) await hub.stop();
});

test("a server that is killed again and again leaves nothing in the stream, and nothing is lost or counts twice", {
  skip,
}, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const [server, nats] = [await PostgresServer.start(context), await NatsServer.start(context)];
  const info = await openInfo(nats, context);
  const { hubs, clients } = await startHubs(
    `store: { postgres: "${server.url()}" }\nnats: { url: "${nats.url}" }\n${LIMITS}`,
    2,
    context,
  );
  const publish = await openPublisher(nats.url, context);
  const batches = await record(context, 30);
  let [kills, mostLeft] = [0, 0];
  for (const batch of batches) {
    await until("published", async () => (await publish(batch)).seq > 0);
    if (!random.chance(0.6)) continue;
    await sleep(random.integer(0, 150));
    await nats.kill();
    kills++;
    await nats.start();
    const { state } = await info.manager.streams.info(STREAM).catch(() => ({ state: { messages: 0 } }));
    mostLeft = Math.max(mostLeft, state.messages);
  }
  await until("all is stored", async () => (await eventsOf(clients[0]!)) === 3_000);
  await until("the stream is empty", () => emptied(info));
  await assertOnce(clients[1]!, 3_000);
  const remedies = JSON.stringify(await Promise.all(clients.map(remediesOf)));
  context.diagnostic(`${kills} kills, up to ${mostLeft} messages came back, ${remedies}`);
  for (const hub of hubs) await hub.stop();
});

test("a line to the server that goes silent without an end is given up for a new one", {
  skip,
}, async (context) => {
  const nats = await NatsServer.start(context);
  const info = await openInfo(nats, context);
  const line = await openLine(nats.port, context);
  const {
    hubs: [hub],
    clients: [client],
  } = await startHubs(`nats: { url: "nats://127.0.0.1:${line.port}" }\n${LIMITS}`, 1, context);
  assert.ok(hub && client);
  const publish = await openPublisher(nats.url, context);
  const [first, ...rest] = await record(context, 6);
  await publish(first!);
  await until("the first is stored", () => emptied(info));
  line.silence();
  for (const batch of rest) await publish(batch);
  await until("all is stored", async () => (await eventsOf(client)) === 600);
  await until("the stream is empty", () => emptied(info));
  await assertOnce(client, 600);
  const remedies = await remediesOf(client);
  assert.ok((remedies["consume-anew"] ?? 0) >= 1, JSON.stringify(remedies));
  await hub.stop();
});

/** A folder as it was once: what it is after writes were lost. */
class Saved {
  readonly #place: string;
  readonly #copy: string;

  constructor(place: string, copy: string) {
    this.#place = place;
    this.#copy = copy;
  }

  save(): void {
    cpSync(this.#place, this.#copy, { recursive: true });
  }

  restore(): void {
    rmSync(this.#place, { recursive: true });
    cpSync(this.#copy, this.#place, { recursive: true });
  }
}

/** Passes everything on, until what is open goes silent: it stays open, and nothing comes through. */
async function openLine(target: number, cleanup: Cleanup) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const upstream = connectTcp(target, "127.0.0.1");
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      sockets.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(address !== null && typeof address !== "string");
  return {
    port: address.port,
    silence: (): void => {
      for (const socket of sockets) {
        socket.unpipe();
        socket.pause();
      }
    },
  };
}
