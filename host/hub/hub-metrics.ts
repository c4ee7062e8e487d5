import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { ParkedTotals } from "../../workers/hub/parked.ts";
import type { HubLimits } from "./hub-config.ts";

export interface HubMetrics {
  render(): Promise<string>;
  readonly contentType: string;
  /** For parts that have metrics of their own. */
  readonly registry: Registry;
  readonly requestSeconds: Histogram<"route" | "status">;
  readonly batches: Counter<"outcome">;
  readonly stored: Counter;
  readonly refusedAttributes: Counter;
  readonly wireBytes: Counter;
  readonly refusedConnections: Counter;
  readonly waitingReads: Gauge;
  readonly streamRemedies: Counter<"remedy">;
  watchConnections(open: () => Promise<number>): void;
  watchQueue(bytes: () => number): void;
  watchParked(totals: () => Promise<ParkedTotals>): void;
  watchStream(standsForSeconds: () => number): void;
}

export function createHubMetrics(limits: HubLimits): HubMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: "millrace_hub_" });
  const limit = new Gauge({
    name: "millrace_hub_limit",
    help: "Configured limits by name",
    labelNames: ["name"],
    registers,
  });
  for (const [name, value] of Object.entries(limits)) limit.set({ name }, value);
  return {
    render: () => registry.metrics(),
    contentType: registry.contentType,
    registry,
    requestSeconds: new Histogram({
      name: "millrace_hub_http_request_seconds",
      help: "Time from a request's headers to its answer's, by route and status",
      labelNames: ["route", "status"] as const,
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers,
    }),
    batches: new Counter({
      name: "millrace_hub_batches_total",
      help: "Batches by outcome: stored, duplicate, or the problem's code",
      labelNames: ["outcome"] as const,
      registers,
    }),
    stored: new Counter({
      name: "millrace_hub_stored_total",
      help: "Events and rows stored that were not there before",
      registers,
    }),
    refusedAttributes: new Counter({
      name: "millrace_hub_refused_attributes_total",
      help: "Attributes of devices passed over: too far ahead (limit: maxClockAhead), or too many (limit: maxAttributes)",
      registers,
    }),
    wireBytes: new Counter({
      name: "millrace_hub_wire_bytes_total",
      help: "Bytes of batches as they came",
      registers,
    }),
    refusedConnections: new Counter({
      name: "millrace_hub_refused_connections_total",
      help: "Connections closed at once because maxConnections were open",
      registers,
    }),
    waitingReads: new Gauge({
      name: "millrace_hub_waiting_reads",
      help: "Reads under way or waiting",
      registers,
    }),
    streamRemedies: new Counter({
      name: "millrace_hub_stream_remedies_total",
      help: "What was done about a stream of JetStream that stood: consume-anew, or make-anew of the consumer",
      labelNames: ["remedy"] as const,
      registers,
    }),
    watchStream: (standsForSeconds) => {
      new Gauge({
        name: "millrace_hub_stream_stands_seconds",
        help: "How long the oldest message of the stream of JetStream has been the same (limit: maxStreamWaitMs)",
        registers,
        collect() {
          this.set(standsForSeconds());
        },
      });
    },
    watchConnections: (open) => {
      new Gauge({
        name: "millrace_hub_connections",
        help: "Open connections (limit: maxConnections)",
        registers,
        async collect() {
          this.set(await open());
        },
      });
    },
    watchParked: (totals) => {
      for (const [of, help] of [
        ["batches", "Batches from JetStream that no hub can take (limit: maxParked)"],
        ["bytes", "Their bytes (limit: maxParkedBytes)"],
      ] as const)
        new Gauge({
          name: `millrace_hub_parked_${of}`,
          help,
          registers,
          async collect() {
            // While the store is away nothing is said.
            const known = await totals().catch(() => null);
            if (known === null) this.reset();
            else this.set(known[of]);
          },
        });
    },
    watchQueue: (bytes) => {
      new Gauge({
        name: "millrace_hub_queued_bytes",
        help: "Bytes of batches in memory (limit: maxQueuedBytes)",
        registers,
        collect() {
          this.set(bytes());
        },
      });
    },
  };
}
