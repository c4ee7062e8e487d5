import { statSync } from "node:fs";
import { join } from "node:path";
import type { HttpClient } from "../../test/support/http-client.ts";
import type { NodeProcess } from "../../test/support/node-process.ts";
import { machineMs } from "./child.ts";
import { readUsage } from "./proc.ts";

/** What the cap counts. */
const FILES = ["millrace.db", "millrace.db-wal", "millrace.db-shm", "millrace.reserve"] as const;
const FILES_EVERY_MS = 100;
const USAGE_EVERY_MS = 1_000;
/** A scrape costs the main thread some milliseconds, so no more often than is needed. */
const METRICS_EVERY_MS = 5_000;

/** A node as it is at one moment. */
export interface UsageSample {
  readonly atMs: number;
  readonly residentBytes: number;
  readonly cpuMs: number;
}

/** What the node says of itself, of the time since the sample before. */
export interface LoopSample {
  readonly atMs: number;
  /** The event loop's longest delay on the main thread, ms; the timer that measures it has steps of 10. */
  readonly longestDelayMs: number;
  /** 0, 70, 85, 95 or 100. */
  readonly level: number;
}

/** Watches a node from outside until it is told to stop. */
export class SoakSampler {
  readonly usage: UsageSample[] = [];
  readonly loop: LoopSample[] = [];
  /** The most that was seen, in looks 100 ms apart. */
  mostWalBytes = 0;
  mostFileBytes = 0;
  readonly #node: NodeProcess;
  readonly #client: HttpClient;
  readonly #timers: readonly NodeJS.Timeout[];
  #scrape: Promise<void> = Promise.resolve();
  #failure: unknown = null;

  constructor(node: NodeProcess, client: HttpClient) {
    this.#node = node;
    this.#client = client;
    this.#timers = [
      setInterval(() => this.#lookAtFiles(), FILES_EVERY_MS),
      setInterval(() => this.#lookAtUsage(), USAGE_EVERY_MS),
      setInterval(() => this.#lookAtMetrics(), METRICS_EVERY_MS),
    ];
    this.#lookAtUsage();
    this.#lookAtMetrics();
  }

  /** Looks a last time. @throws what a scrape threw */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#lookAtFiles();
    this.#lookAtUsage();
    this.#lookAtMetrics();
    await this.#scrape;
    if (this.#failure !== null) throw this.#failure;
  }

  #lookAtFiles(): void {
    const sizes = FILES.map(
      (name) => statSync(join(this.#node.dataDir, name), { throwIfNoEntry: false })?.size ?? 0,
    );
    this.mostWalBytes = Math.max(this.mostWalBytes, sizes[1] ?? 0);
    this.mostFileBytes = Math.max(
      this.mostFileBytes,
      sizes.reduce((sum, size) => sum + size, 0),
    );
  }

  #lookAtUsage(): void {
    const usage = readUsage(this.#node.pid);
    if (usage !== null) this.usage.push({ atMs: machineMs(), ...usage });
  }

  #lookAtMetrics(): void {
    this.#scrape = this.#scrape
      .then(() => this.#client.request("GET", "/metrics"))
      .then(({ text }) => {
        const read = (name: string): number =>
          Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? Number.NaN);
        this.loop.push({
          atMs: machineMs(),
          longestDelayMs: read("millrace_nodejs_eventloop_lag_max_seconds") * 1_000,
          level: read("millrace_buffer_level"),
        });
      })
      .catch((cause: unknown) => {
        this.#failure ??= cause;
      });
  }
}
