import { setTimeout as sleep } from "node:timers/promises";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Config } from "../config/config.ts";
import type { Encryption } from "../encryption/encryption.ts";
import type { Engine, EngineStatus, StreamState } from "../pipeline/engine.ts";
import type { Reloader } from "../pipeline/reloader.ts";
import { type BufferSource, registerBuffer } from "./buffer-metrics.ts";
import { registerClocks } from "./clock-metrics.ts";
import { registerEncryption } from "./encryption-metrics.ts";
import { registerReloads } from "./reload-metrics.ts";

/** Between two samples of the event loop's delay, each of which wakes the process. */
const LOOP_DELAY_MS = 20;
/** The first only begins, and without any the least delay would be said to be 292 years. */
const FIRST_SAMPLES = 3;

export interface Metrics {
  /** For what is not there on every node. */
  readonly registry: Registry;
  /** The Prometheus text format. */
  render(): Promise<string>;
  readonly contentType: string;
  readonly requestSeconds: Histogram<"route" | "status">;
  /** Bodies that were refused or not taken, by problem code. */
  readonly refusedBodies: Counter<"code">;
  readonly liveClients: Gauge;
  readonly liveClientsDropped: Counter;
  readonly waitingReads: Gauge;
  /** Bytes of bodies on their way in, asked at each scrape. */
  watchBodies(heldBytes: () => number): void;
  /** Open connections, asked at each scrape. */
  watchConnections(open: () => Promise<number>): void;
  readonly refusedConnections: Counter;
}

export interface MetricsParts {
  readonly config: Config;
  readonly engine: Engine;
  readonly reloader?: Pick<Reloader, "applied" | "refused">;
  readonly buffer?: BufferSource;
  readonly encryption?: Pick<Encryption, "status">;
}

/** Numbers are read from the engine when somebody asks; nothing is counted per event here. */
export function createMetrics({ config, engine, reloader, buffer, encryption }: MetricsParts): Metrics {
  const registry = new Registry();
  const registers = [registry];
  registerStreams(registers, engine);
  registerClocks(registers, engine);
  registerQueries(registers, engine);
  registerAlerts(registers, engine);
  registerNode(registers, engine);
  registerReloads(registers, engine, reloader);
  registerBuffer(registers, buffer);
  registerEncryption(registers, encryption);
  const limit = new Gauge({
    name: "millrace_limit",
    help: "Configured limits by name",
    labelNames: ["name"],
    registers,
  });
  for (const [name, value] of Object.entries(config.limits)) limit.set({ name }, value);
  let watching: Promise<void> | null = null;
  return {
    registry,
    render: async () => {
      watching ??= watchRuntime(registry);
      await watching;
      return registry.metrics();
    },
    contentType: registry.contentType,
    requestSeconds: new Histogram({
      name: "millrace_http_request_seconds",
      help: "Time from a request's headers to its answer's, by route and status",
      labelNames: ["route", "status"] as const,
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers,
    }),
    refusedBodies: new Counter({
      name: "millrace_refused_bodies_total",
      help: "Bodies of events that were not taken, by problem code",
      labelNames: ["code"] as const,
      registers,
    }),
    liveClients: new Gauge({
      name: "millrace_live_clients",
      help: "Open live feeds (limit: maxLiveClients)",
      registers,
    }),
    watchConnections: (open) => {
      new Gauge({
        name: "millrace_connections",
        help: "Open connections (limit: maxConnections)",
        registers,
        async collect() {
          this.set(await open());
        },
      });
    },
    refusedConnections: new Counter({
      name: "millrace_refused_connections_total",
      help: "Connections closed at once because maxConnections were open",
      registers,
    }),
    liveClientsDropped: new Counter({
      name: "millrace_live_clients_dropped_total",
      help: "Live clients cut off because they read too slowly",
      registers,
    }),
    waitingReads: new Gauge({
      name: "millrace_waiting_reads",
      help: "Reads of the store under way or waiting",
      registers,
    }),
    watchBodies: (heldBytes) => {
      new Gauge({
        name: "millrace_incoming_body_bytes",
        help: "Bytes of bodies that are not complete yet (limit: maxQueuedBytes)",
        registers,
        collect() {
          this.set(heldBytes());
        },
      });
    },
  };
}

/**
 * The process and Node itself, from the first scrape on: to sample the loop's delay is half of what the main thread of a node that rests
 * would do, and until then nobody sees it. Resolves when there are samples.
 */
async function watchRuntime(registry: Registry): Promise<void> {
  collectDefaultMetrics({
    register: registry,
    prefix: "millrace_",
    eventLoopMonitoringPrecision: LOOP_DELAY_MS,
  });
  await sleep(FIRST_SAMPLES * LOOP_DELAY_MS);
}

type Kind = "counter" | "gauge";

/** A metric per item of a list, asked at each scrape; items that are gone disappear. */
function registerEach<T>(
  registers: Registry[],
  label: string,
  items: () => Iterable<readonly [string, T]>,
): (kind: Kind, name: string, help: string, read: (item: T) => number | null) => void {
  return (kind, name, help, read) => {
    const options = { name, help, labelNames: [label], registers };
    const pairs = function* (): Iterable<readonly [string, number]> {
      for (const [key, item] of items()) {
        const value = read(item);
        if (value !== null) yield [key, value];
      }
    };
    if (kind === "gauge") {
      new Gauge({
        ...options,
        collect() {
          this.reset();
          for (const [key, value] of pairs()) this.set({ [label]: key }, value);
        },
      });
    } else {
      new Counter({
        ...options,
        collect() {
          this.reset();
          for (const [key, value] of pairs()) this.inc({ [label]: key }, value);
        },
      });
    }
  };
}

function registerStreams(registers: Registry[], engine: Engine): void {
  const each = registerEach<StreamState>(registers, "stream", () =>
    engine.streams().map((stream) => [stream.config.name, stream] as const),
  );
  each("counter", "millrace_events_accepted_total", "Events acknowledged", (stream) => stream.accepted);
  each("counter", "millrace_dead_letters_total", "Lines set aside as bad", (stream) => stream.deadLettered);
  each("counter", "millrace_late_events_total", "Events past allowed lateness", (stream) => stream.late);
  each(
    "counter",
    "millrace_clock_skewed_events_total",
    "Events beyond maxAhead",
    (stream) => stream.clockSkewed,
  );
  each(
    "counter",
    "millrace_duplicate_batches_total",
    "Batches resent under a known key",
    (stream) => stream.duplicates,
  );
  each("gauge", "millrace_stream_blocks", "Stored blocks", (stream) => stream.blocks);
  each("gauge", "millrace_stream_stored_bytes", "Bytes of stored blocks", (stream) => stream.storedBytes);
  each(
    "gauge",
    "millrace_stream_events_per_second",
    "Events a second over ten seconds",
    (stream) => stream.rate,
  );
  each(
    "gauge",
    "millrace_stream_watermark_seconds",
    "Watermark, seconds since the epoch",
    ({ watermarkUs }) => (watermarkUs === null ? null : watermarkUs / 1e6),
  );
}

function registerQueries(registers: Registry[], engine: Engine): void {
  const each = registerEach(registers, "query", () =>
    engine.queries().map((query) => [query.config.name, query] as const),
  );
  each(
    "counter",
    "millrace_results_total",
    "Result rows since the start, revisions among them",
    (query) => query.results,
  );
  each(
    "counter",
    "millrace_revisions_total",
    "Result rows that revise one before",
    (query) => query.revisions,
  );
  each("gauge", "millrace_query_open_groups", "Groups in open windows", (query) => query.openGroups);
  each("gauge", "millrace_query_keys", "Keys known", (query) => query.keys);
  each(
    "gauge",
    "millrace_query_idle_keys",
    "Keys without an open window whose clocks are remembered",
    (query) => query.idleKeys,
  );
  each("gauge", "millrace_query_state_bytes", "Memory of the windows' state", (query) => query.stateBytes);
}

function registerAlerts(registers: Registry[], engine: Engine): void {
  const each = registerEach(registers, "alert", () =>
    engine.alerts().alerts.map((alert) => [alert.config.name, alert] as const),
  );
  each("gauge", "millrace_alert_pending", "Keys for which an alert is pending", (alert) => alert.pending);
  each("gauge", "millrace_alert_firing", "Keys for which an alert fires", (alert) => alert.firing);
  each(
    "counter",
    "millrace_alert_ignored_revisions_total",
    "Revised results too far back to be judged again",
    (alert) => alert.ignoredRevisions,
  );
  new Counter({
    name: "millrace_alert_steps_total",
    help: "Steps of alerts since the start, those of a replay among them",
    registers,
    collect() {
      this.reset();
      this.inc(engine.alerts().steps);
    },
  });
  const webhooks = registerEach(registers, "outcome", () => {
    const { delivered, failedAttempts, setAside } = engine.alerts().webhooks;
    return Object.entries({ delivered, failed: failedAttempts, "set-aside": setAside });
  });
  webhooks(
    "counter",
    "millrace_webhooks_total",
    "Posts to webhooks since the start, by outcome",
    (count) => count,
  );
  new Gauge({
    name: "millrace_webhooks_waiting",
    help: "Posts to webhooks that wait (limit: maxQueuedWebhooks)",
    registers,
    collect() {
      this.set(engine.alerts().webhooks.waiting);
    },
  });
}

function registerNode(registers: Registry[], engine: Engine): void {
  const gauge = (name: string, help: string, read: (status: EngineStatus) => number | null): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const value = read(engine.status());
        if (value === null) this.remove();
        else this.set(value);
      },
    });
  };
  const counter = (name: string, help: string, read: (status: EngineStatus) => number): void => {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read(engine.status()));
      },
    });
  };
  gauge("millrace_ready", "1 when events are taken", (status) => Number(status.isReady));
  gauge(
    "millrace_queued_bytes",
    "Bytes of bodies waiting to be durable (limit: maxQueuedBytes)",
    (s) => s.queuedBytes,
  );
  gauge(
    "millrace_queued_requests",
    "Requests waiting to be durable (limit: maxQueuedRequests)",
    (s) => s.queuedRequests,
  );
  gauge("millrace_ingest_workers", "Ingest threads now", (status) => status.ingestWorkers);
  counter(
    "millrace_ingest_workers_added_total",
    "Ingest threads started because requests waited for one another",
    (status) => status.addedIngestWorkers,
  );
  counter(
    "millrace_rejected_requests_total",
    "Requests answered 429 because a queue was full",
    (s) => s.rejectedRequests,
  );
  gauge("millrace_state_bytes", "Memory of all windows' state (limit: maxState)", ({ state }) => state.bytes);
  gauge("millrace_state_max_bytes", "limits.maxState", ({ state }) => state.maxBytes);
  gauge(
    "millrace_state_largest_key_bytes",
    "Memory of the key that takes most, while state takes more than half of maxState",
    ({ state }) => state.largestKeys?.keys[0]?.bytes ?? null,
  );
  counter(
    "millrace_state_refused_requests_total",
    "Requests answered 503 because the windows hold more than maxState",
    ({ state }) => state.refusedRequests,
  );
  counter("millrace_commits_total", "Transactions since the start", (status) => status.commits);
  gauge("millrace_log_seq", "Greatest committed sequence number", (status) => status.lastSeq);
  gauge(
    "millrace_checkpoint_seq",
    "Sequence number of the last checkpoint",
    (status) => status.checkpointSeq,
  );
  gauge("millrace_checkpoint_age_seconds", "Age of the last checkpoint", ({ checkpointAgeMs }) =>
    checkpointAgeMs === null ? null : checkpointAgeMs / 1e3,
  );
  gauge("millrace_checkpoint_bytes", "Size of the last checkpoint as written", ({ checkpoint }) =>
    checkpoint === null ? null : checkpoint.bytes,
  );
  gauge(
    "millrace_checkpoint_longest_pause_seconds",
    "Longest time that the last checkpoint held the windows at once",
    ({ checkpoint }) => (checkpoint === null ? null : checkpoint.longestPauseMs / 1e3),
  );
  gauge("millrace_database_bytes", "Size of the database file", (status) => status.databaseBytes);
  gauge("millrace_wal_bytes", "Size of the write-ahead log", (status) => status.walBytes);
  gauge("millrace_streams", "Streams known (limit: maxStreams)", () => engine.streams().length);
  const stages = registerEach(registers, "stage", () => Object.entries(engine.status().stageNs));
  stages("counter", "millrace_stage_seconds_total", "Time spent since the start, by stage", (ns) => ns / 1e9);
  const passed = registerEach(registers, "stage", () => Object.entries(engine.status().stageEvents));
  passed(
    "counter",
    "millrace_stage_events_total",
    "Events that went through a stage since the start; of emit, rows of results",
    (events) => events,
  );
}
