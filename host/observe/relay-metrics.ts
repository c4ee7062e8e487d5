import { Counter, Gauge, type Registry } from "prom-client";
import type { HubMetrics } from "../hub/hub-metrics.ts";
import type { Relay, RelayStatus } from "../relay/relay.ts";

export type RelayMetrics = Pick<HubMetrics, "batches" | "stored" | "wireBytes" | "watchQueue">;

/** Numbers of a node that other edges send through. */
export function registerRelay(registry: Registry, relay: Pick<Relay, "status" | "config">): RelayMetrics {
  const registers = [registry];
  const gauge = (name: string, help: string, read: (status: RelayStatus) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(read(await relay.status()));
      },
    });
  };
  const sum = (status: RelayStatus, of: "waiting" | "waitingBytes" | "parked"): number =>
    status.edges.reduce((total, edge) => total + edge[of], 0);
  gauge("millrace_relay_waiting_batches", "Batches of other edges that wait", (status) =>
    sum(status, "waiting"),
  );
  gauge("millrace_relay_waiting_bytes", "Bytes of them (limit: relay.cap)", (status) =>
    sum(status, "waitingBytes"),
  );
  gauge("millrace_relay_parked_batches", "Batches that the hub will not have", (status) =>
    sum(status, "parked"),
  );
  gauge("millrace_relay_cap_bytes", "relay.cap", ({ capBytes }) => capBytes);
  new Counter({
    name: "millrace_relay_forwarded_batches_total",
    help: "Batches of other edges that the hub has, since the beginning",
    labelNames: ["edge"],
    registers,
    async collect() {
      this.reset();
      for (const { edge, forwarded } of (await relay.status()).edges) this.inc({ edge }, forwarded);
    },
  });
  return {
    batches: new Counter({
      name: "millrace_relay_batches_total",
      help: "Batches of other edges by outcome: stored, duplicate, or the problem's code",
      labelNames: ["outcome"] as const,
      registers,
    }),
    stored: new Counter({
      name: "millrace_relay_stored_total",
      help: "Events and rows of other edges stored that were not there before",
      registers,
    }),
    wireBytes: new Counter({
      name: "millrace_relay_wire_bytes_total",
      help: "Bytes of batches of other edges as they came",
      registers,
    }),
    watchQueue: (bytes) => {
      new Gauge({
        name: "millrace_relay_queued_bytes",
        help: "Bytes of batches of other edges in memory",
        registers,
        collect() {
          this.set(bytes());
        },
      });
    },
  };
}
