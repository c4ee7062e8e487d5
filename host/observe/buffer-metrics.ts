import { Gauge, type Registry } from "prom-client";
import { percentOf } from "../../workers/store/buffer-level.ts";
import type { BufferReport } from "../../workers/store/buffer-operations.ts";
import { imbalanceOf, type StreamLedger } from "../../workers/store/ledger.ts";

export interface BufferSource {
  /** The last look at the buffer, up to a second ago; null: there was none yet. */
  readonly report: BufferReport | null;
  /** Resolves after a look that saw everything committed before this call. */
  lookAgain(): Promise<void>;
}

const PLACES: readonly (readonly [string, (ledger: StreamLedger) => number])[] = [
  ["accepted", (ledger) => ledger.accepted],
  ["held", (ledger) => ledger.held],
  ["evicted", (ledger) => ledger.evicted],
  ["downsampled", (ledger) => ledger.downsampled],
  ["given-up", (ledger) => ledger.givenUp],
  ["expired", (ledger) => ledger.expired],
  ["corrupt", (ledger) => ledger.corrupt],
  ["late", (ledger) => ledger.late],
  ["clock-skewed", (ledger) => ledger.clockSkewed],
  ["dead-lettered", (ledger) => ledger.deadLettered],
];

export function registerBuffer(registers: Registry[], buffer: BufferSource | undefined): void {
  const gauge = (name: string, help: string, read: (report: BufferReport) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const report = buffer?.report ?? null;
        if (report === null) this.remove();
        else this.set(read(report));
      },
    });
  };
  gauge("millrace_buffer_level", "Level of the buffer: 0, 70, 85, 95 or 100", ({ level }) =>
    percentOf(level),
  );
  gauge("millrace_buffer_used_bytes", "What counts against buffer.cap", (report) => report.usedBytes);
  gauge("millrace_buffer_cap_bytes", "buffer.cap", (report) => report.capBytes);
  gauge(
    "millrace_buffer_capacity_bytes",
    "The cap, or less where the disk has no room for it",
    (report) => report.capacityBytes,
  );
  gauge("millrace_buffer_free_bytes", "Free pages in the database file", (report) => report.freeBytes);
  gauge("millrace_disk_free_bytes", "Free on the file system of the data", (report) => report.diskFreeBytes);
  gauge("millrace_buffer_refusing", "1 when events are answered 507", ({ isFull }) => Number(isFull));
  gauge(
    "millrace_ledger_rows",
    "Rows of the loss ledger; beyond 10,000 old ones are merged",
    (report) => report.losses,
  );
  gauge(
    "millrace_ledger_imbalance",
    "Accepted events that are in no place of the ledger; must be 0",
    ({ ledgers }) => ledgers.reduce((sum, ledger) => sum + Math.abs(imbalanceOf(ledger)), 0),
  );
  new Gauge({
    name: "millrace_ledger_events",
    help: "Where a stream's accepted events are: the sum of held to corrupt; late, clock-skewed and dead-lettered stand beside it",
    labelNames: ["stream", "place"] as const,
    registers,
    collect() {
      this.reset();
      for (const ledger of buffer?.report?.ledgers ?? []) {
        for (const [place, read] of PLACES) this.set({ stream: ledger.stream, place }, read(ledger));
      }
    },
  });
}
