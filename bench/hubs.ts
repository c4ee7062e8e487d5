import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { openPublisher } from "../test/support/jetstream-publisher.ts";
import { NatsServer } from "../test/support/nats-server.ts";
import { NodeProcess } from "../test/support/node-process.ts";
import { PostgresServer } from "../test/support/postgres.ts";
import { machineEvents, type RecordedBatch, recordBatches } from "../test/support/recorded-batches.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";

/** Hubs as a group: how fast 1, 2 and 4 of them store what waits in one stream of JetStream, in one PostgreSQL. */

const DEFAULT_EVENTS = 400_000;
const EDGES = 4;
const EVENTS_PER_BODY = 5_000;
const GROUPS = [1, 2, 4];
const LONGEST_MS = 120_000;

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const events = Number(settings.get("events") ?? DEFAULT_EVENTS);
  const perEdge = Math.ceil(events / EDGES / EVENTS_PER_BODY);
  const batches: RecordedBatch[] = [];
  for (let edge = 0; edge < EDGES; edge++) {
    const sent = Array.from({ length: perEdge }, (_, at) => ({
      stream: "machines" as const,
      events: machineEvents(at * EVENTS_PER_BODY, EVENTS_PER_BODY),
    }));
    batches.push(...(await recordBatches(`edge-${edge}`, sent, cleanup, EVENTS_PER_BODY)));
  }
  const total = EDGES * perEdge * EVENTS_PER_BODY;
  const rows = [];
  const failures: string[] = [];
  for (const hubs of GROUPS) {
    const { seconds, stored } = await drain(batches, hubs, total, cleanup);
    if (stored !== total) failures.push(`${hubs} hubs stored ${stored} of ${total} events`);
    rows.push({
      hubs,
      events: total,
      batches: batches.length,
      seconds: Number(seconds.toFixed(2)),
      "events/s": Math.round(total / seconds),
    });
  }
  return {
    name: "hubs",
    rows,
    notes: [
      "one nats-server, one PostgreSQL (fsync off) and the hubs on one machine: its cores are shared by all of them",
    ],
    failures,
  };
}

async function drain(
  batches: readonly RecordedBatch[],
  hubs: number,
  total: number,
  cleanup: Cleanup,
): Promise<{ readonly seconds: number; readonly stored: number }> {
  const [server, nats] = [await PostgresServer.start(cleanup), await NatsServer.start(cleanup)];
  const database = `store: { postgres: "${server.url()}" }\n`;
  // Makes the schema; then the stream fills while nobody consumes.
  const first = new NodeProcess({ config: database, command: "hub" }, cleanup);
  await first.start();
  await first.stop();
  const connection = await connect({ servers: nats.url });
  const manager = await jetstreamManager(connection, { checkAPI: false });
  await manager.streams.add({ name: "MILLRACE", subjects: ["millrace.sync.>"] });
  await connection.close();
  const publish = await openPublisher(nats.url, cleanup);
  for (const batch of batches) await publish(batch);
  const group = Array.from(
    { length: hubs },
    () => new NodeProcess({ config: `${database}nats: { url: "${nats.url}" }\n`, command: "hub" }, cleanup),
  );
  const count = (): number =>
    Number(server.query("SELECT coalesce(sum(events), 0) FROM millrace.edge_streams"));
  await Promise.all(group.map((hub) => hub.start()));
  const startedMs = performance.now();
  let stored = count();
  while (stored < total && performance.now() - startedMs < LONGEST_MS) {
    await sleep(20);
    stored = count();
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  for (const hub of group) await hub.stop();
  await nats.kill();
  await server.kill();
  return { seconds, stored };
}
