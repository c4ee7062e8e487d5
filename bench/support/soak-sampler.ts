import { statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
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
/** How often somebody else's file of the same disk is made durable. */
const DISK_EVERY_MS = 500;
const DISK_BYTES = 4_096;

/** A node as it is at one moment. */
export interface UsageSample {
  readonly atMs: number;
  readonly residentBytes: number;
  readonly nativeHeapBytes: number;
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

/** What a small fsync took that is not the node's: what the machine does to anybody. */
export interface DiskSample {
  readonly atMs: number;
  readonly tookMs: number;
}

/** Watches a node from outside until it is told to stop. */
export class SoakSampler {
  readonly usage: UsageSample[] = [];
  readonly loop: LoopSample[] = [];
  readonly disk: DiskSample[] = [];
  /** The most that was seen, in looks 100 ms apart. */
  mostWalBytes = 0;
  mostFileBytes = 0;
  readonly #node: NodeProcess;
  readonly #client: HttpClient;
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #file: FileHandle;
  #scrape: Promise<void> = Promise.resolve();
  #sync: Promise<void> | null = null;
  #failure: unknown = null;

  /** @param dir on the disk of the node's data, but not in it */
  static async start(node: NodeProcess, client: HttpClient, dir: string): Promise<SoakSampler> {
    return new SoakSampler(node, client, await open(join(dir, "probe"), "w"));
  }

  private constructor(node: NodeProcess, client: HttpClient, file: FileHandle) {
    this.#node = node;
    this.#client = client;
    this.#file = file;
    this.#timers = [
      setInterval(() => this.#lookAtFiles(), FILES_EVERY_MS),
      setInterval(() => this.#lookAtUsage(), USAGE_EVERY_MS),
      setInterval(() => this.#lookAtMetrics(), METRICS_EVERY_MS),
      setInterval(() => this.#lookAtDisk(), DISK_EVERY_MS),
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
    await this.#sync;
    await this.#file.close();
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

  /** Not while the one before is under way: that is waited for. */
  #lookAtDisk(): void {
    if (this.#sync !== null) return;
    const atMs = machineMs();
    this.#sync = this.#file
      .write(Buffer.alloc(DISK_BYTES), 0, DISK_BYTES, 0)
      .then(() => this.#file.sync())
      .then(() => {
        this.disk.push({ atMs, tookMs: machineMs() - atMs });
      })
      .catch((cause: unknown) => {
        this.#failure ??= cause;
      })
      .finally(() => {
        this.#sync = null;
      });
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
