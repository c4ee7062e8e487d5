import { Counter, Gauge, type Registry } from "prom-client";
import type { SinkReport, Sync } from "../sync/sync.ts";

const BREAKER = { closed: 0, "half-open": 1, open: 2 } as const;

/** Numbers of each sink, asked at each scrape. */
export function registerSync(registry: Registry, sync: Pick<Sync, "reports">): void {
  const registers = [registry];
  const gauge = (name: string, help: string, read: (report: SinkReport) => number | null): void => {
    new Gauge({
      name,
      help,
      labelNames: ["sink"],
      registers,
      async collect() {
        this.reset();
        for (const report of await sync.reports()) {
          const value = read(report);
          if (value !== null) this.set({ sink: report.sink }, value);
        }
      },
    });
  };
  const counter = (name: string, help: string, read: (report: SinkReport) => number): void => {
    new Counter({
      name,
      help,
      labelNames: ["sink"],
      registers,
      async collect() {
        this.reset();
        for (const report of await sync.reports()) this.inc({ sink: report.sink }, read(report));
      },
    });
  };
  new Gauge({
    name: "millrace_sync_backlog_rows",
    help: "Events and rows that a sink has not got, by class",
    labelNames: ["sink", "class"],
    registers,
    async collect() {
      this.reset();
      for (const { sink, backlog } of await sync.reports())
        for (const [kind, rows] of Object.entries(backlog.rows)) this.set({ sink, class: kind }, rows);
    },
  });
  gauge("millrace_sync_backlog_bytes", "Bytes that a sink has not got", ({ backlog }) => backlog.bytes);
  gauge("millrace_sync_backlog_age_seconds", "Age of the oldest that a sink has not got", ({ backlog }) =>
    backlog.oldestUs === null ? null : Math.max(0, Date.now() / 1e3 - backlog.oldestUs / 1e6),
  );
  gauge("millrace_sync_parked_batches", "Batches that a sink will not have", ({ backlog }) => backlog.parked);
  gauge("millrace_sync_breaker", "0 closed, 1 half-open, 2 open", ({ breaker }) => BREAKER[breaker]);
  gauge("millrace_sync_batches_under_way", "Batches under way", ({ underWay }) => underWay);
  gauge("millrace_sync_last_success_seconds", "When a batch was last delivered", ({ lastSuccessUs }) =>
    lastSuccessUs === null ? null : lastSuccessUs / 1e6,
  );
  counter("millrace_sync_batches_total", "Batches delivered since the start", ({ batches }) => batches);
  counter("millrace_sync_failures_total", "Attempts that failed since the start", ({ failures }) => failures);
  counter("millrace_sync_wire_bytes_total", "Bytes of batches delivered", ({ wireBytes }) => wireBytes);
  counter(
    "millrace_sync_breaker_opened_total",
    "Times that the breaker opened",
    (report) => report.breakerOpened,
  );
  counter("millrace_sync_events_total", "Events delivered since the start", ({ rows }) => rows.events);
}
