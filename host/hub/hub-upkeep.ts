import type { Logger } from "pino";
import { Counter, Gauge, type Registry } from "prom-client";
import type { RetentionRules } from "../../workers/hub/retention.ts";
import type { Tended } from "../../workers/hub/upkeep.ts";

/** How often it is looked whether something is to be done. */
const EVERY_MS = 10_000;
/** Of these the thread that writes may be held so long, in portions of some milliseconds: batches come first. */
const ROUND_MS = 2_000;

export interface UpkeepParts {
  readonly rules: RetentionRules;
  readonly tend: (rules: RetentionRules) => Promise<Tended>;
  readonly registry: Registry;
  readonly log: Logger;
}

/** Deletes what a hub is no longer to keep, and merges small blocks, beside the taking of batches. */
export class HubUpkeep {
  readonly #parts: UpkeepParts;
  readonly #timer: NodeJS.Timeout;
  readonly #expired: Counter<"reason">;
  readonly #merged: Counter;
  #running: Promise<void> | null = null;
  #usedBytes = 0;
  #isAtCap = false;
  #isClosed = false;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    const registers = [parts.registry];
    this.#expired = new Counter({
      name: "millrace_hub_expired_events_total",
      help: "Events deleted by store.retention (age) or store.cap (cap)",
      labelNames: ["reason"] as const,
      registers,
    });
    this.#merged = new Counter({
      name: "millrace_hub_merged_blocks_total",
      help: "Small blocks that became part of larger ones",
      registers,
    });
    const used = (): number => this.#usedBytes;
    new Gauge({
      name: "millrace_hub_store_bytes",
      help: "Pages of the database in use (limit: store.cap)",
      registers,
      collect() {
        this.set(used());
      },
    });
    new Gauge({
      name: "millrace_hub_store_cap_bytes",
      help: "store.cap; +Inf where there is none",
      registers,
    }).set(parts.rules.capBytes ?? Number.POSITIVE_INFINITY);
    this.#timer = setInterval(() => this.#start(), EVERY_MS);
    this.#start();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  #start(): void {
    this.#running ??= this.#round()
      .catch((err: unknown) => this.#parts.log.warn({ err }, "the store's upkeep failed; it is tried again"))
      .finally(() => {
        this.#running = null;
      });
  }

  async #round(): Promise<void> {
    const endMs = performance.now() + ROUND_MS;
    let byCap = 0;
    while (!this.#isClosed) {
      const { expired, merged, usedBytes, isDone } = await this.#parts.tend(this.#parts.rules);
      this.#usedBytes = usedBytes;
      if (merged > 0) this.#merged.inc(merged);
      if (expired !== null) this.#expired.inc({ reason: expired.reason }, expired.events);
      if (expired?.reason === "cap") byCap += expired.events;
      if (isDone || performance.now() > endMs) break;
    }
    this.#tellCap(byCap);
  }

  /** Once when it begins: at a cap something goes all the time. */
  #tellCap(events: number): void {
    const isAtCap = events > 0;
    if (isAtCap && !this.#isAtCap)
      this.#parts.log.warn(
        { events, usedBytes: this.#usedBytes, capBytes: this.#parts.rules.capBytes },
        "store.cap is reached: the oldest events go; raise it, or shorten store.retention",
      );
    this.#isAtCap = isAtCap;
  }
}
