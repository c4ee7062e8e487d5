import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Config } from "../config/config.ts";
import type { Engine } from "../pipeline/engine.ts";

export interface Metrics {
  /** The Prometheus text format. */
  render(): Promise<string>;
  readonly contentType: string;
  readonly requestSeconds: Histogram<"route" | "status">;
  readonly liveClientsDropped: Counter;
}

/** Numbers are read from the engine when somebody asks; nothing is counted per event here. */
export function createMetrics({ config, engine }: { config: Config; engine: Engine }): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "millrace_" });
  const registers = [registry];
  const requestSeconds = new Histogram({
    name: "millrace_http_request_seconds",
    help: "Time from a request's first byte to its answer, by route and status",
    labelNames: ["route", "status"] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  });
  const liveClientsDropped = new Counter({
    name: "millrace_live_clients_dropped_total",
    help: "Live clients cut off because they read too slowly",
    registers,
  });
  registerStreams(registers, engine);
  registerNode(registers, engine);
  const limit = new Gauge({
    name: "millrace_limit",
    help: "Configured limits by name",
    labelNames: ["name"],
    registers,
  });
  for (const [name, value] of Object.entries(config.limits)) limit.set({ name }, value);
  return {
    render: () => registry.metrics(),
    contentType: registry.contentType,
    requestSeconds,
    liveClientsDropped,
  };
}

function registerStreams(registers: Registry[], engine: Engine): void {
  const perStream = (
    name: string,
    help: string,
    read: (stream: ReturnType<Engine["streams"]>[number]) => number | null,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: ["stream"],
      registers,
      collect() {
        for (const stream of engine.streams()) {
          const value = read(stream);
          if (value !== null) this.set({ stream: stream.config.name }, value);
        }
      },
    });
  };
  perStream("millrace_stream_accepted_events", "Events acknowledged", (stream) => stream.accepted);
  perStream("millrace_stream_dead_letters", "Lines set aside as bad", (stream) => stream.deadLettered);
  perStream("millrace_stream_late_events", "Events past allowed lateness", (stream) => stream.late);
  perStream("millrace_stream_clock_skewed_events", "Events beyond maxAhead", (stream) => stream.clockSkewed);
  perStream("millrace_stream_duplicate_batches", "Batches resent under a known key", (stream) => stream.duplicates);
  perStream("millrace_stream_stored_bytes", "Bytes of stored blocks", (stream) => stream.storedBytes);
  perStream("millrace_stream_rate", "Events a second over ten seconds", (stream) => stream.rate);
  perStream("millrace_stream_watermark_seconds", "Watermark, seconds since the epoch", ({ watermarkUs }) =>
    watermarkUs === null ? null : watermarkUs / 1e6,
  );
}

function registerNode(registers: Registry[], engine: Engine): void {
  const node = (name: string, help: string, read: (status: ReturnType<Engine["status"]>) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read(engine.status()));
      },
    });
  };
  node("millrace_queued_bytes", "Bytes of bodies waiting to be durable", (status) => status.queuedBytes);
  node("millrace_queued_requests", "Requests waiting to be durable", (status) => status.queuedRequests);
  node("millrace_rejected_requests", "Requests answered 429 since the start", (status) => status.rejectedRequests);
  node("millrace_commits", "Transactions since the start", (status) => status.commits);
  node("millrace_checkpoint_age_seconds", "Age of the last checkpoint", (status) => (status.checkpointAgeMs ?? 0) / 1e3);
  node("millrace_database_bytes", "Size of the database file", (status) => status.databaseBytes);
  node("millrace_wal_bytes", "Size of the write-ahead log", (status) => status.walBytes);
  new Gauge({
    name: "millrace_stage_seconds",
    help: "Time spent since the start, by stage",
    labelNames: ["stage"],
    registers,
    collect() {
      for (const [stage, ns] of Object.entries(engine.status().stageNs)) this.set({ stage }, ns / 1e9);
    },
  });
}
