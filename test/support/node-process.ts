import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { START_ENVIRONMENT, START_FLAGS } from "../../host/cli/node-flags.ts";
import type { Cleanup } from "./temp-dir.ts";
import { makeTempDir } from "./temp-dir.ts";

export const REPOSITORY_ROOT = fileURLToPath(new URL("../..", import.meta.url));
const CLI_FILE = join(REPOSITORY_ROOT, "host/cli/bin.js");
/** A start takes a second, and a minute on a machine that many share. */
const READY_TIMEOUT_MS = 240_000;
const STOP_TIMEOUT_MS = 240_000;
/** Lines of output kept for failure messages. */
const KEPT_LINES = 2_000;

export interface NodeOptions {
  /** YAML (or JSON) text; null: no configuration at all. */
  readonly config: string | null;
  /** Keeps its content over restarts; default: a new folder, removed after the test. */
  readonly dataDir?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Default: a node. */
  readonly command?: "start" | "hub";
  /** Default: a port of 127.0.0.1 that is free. */
  readonly listen?: string;
}

/** A real node in a process of its own, which can be killed at any moment and started again on the same data. */
export class NodeProcess {
  readonly dataDir: string;
  /** Where its configuration is, when it has one; may be written again. */
  readonly configFile: string;
  /** Lines of stdout and stderr of every life, the oldest dropped. */
  readonly lines: string[] = [];
  readonly #arguments: readonly string[];
  readonly #environment: NodeJS.ProcessEnv;
  #child: ChildProcess | null = null;
  #closed: Promise<unknown> = Promise.resolve();
  #url = "";
  starts = 0;

  constructor(options: NodeOptions, cleanup: Cleanup) {
    const dir = makeTempDir(cleanup);
    this.dataDir = options.dataDir ?? join(dir, "data");
    const args = [
      options.command ?? "start",
      "--data",
      this.dataDir,
      "--listen",
      options.listen ?? "127.0.0.1:0",
    ];
    const file = join(dir, "millrace.yaml");
    this.configFile = file;
    if (options.config !== null) {
      writeFileSync(file, options.config);
      args.push("-c", file);
    }
    this.#arguments = args;
    this.#environment = { ...process.env, ...START_ENVIRONMENT, ...options.environment };
    cleanup.after(async () => {
      if (this.isRunning) await this.kill("SIGKILL");
    });
  }

  /** Where it listens; a new port after each start. Throws while it is down. */
  get url(): string {
    if (this.#url === "") throw new Error("the node is not running");
    return this.#url;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("the node is not running");
    return pid;
  }

  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts the process without waiting until it is ready. */
  launch(): void {
    if (this.isRunning) throw new Error("the node is running already");
    this.starts++;
    this.#url = "";
    const child = spawn(process.execPath, [...START_FLAGS, CLI_FILE, ...this.#arguments], {
      cwd: REPOSITORY_ROOT,
      env: this.#environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    this.#closed = once(child, "close");
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.#take(child, line));
    }
  }

  /** Starts, and waits for the ready line. */
  async start(): Promise<void> {
    this.launch();
    await this.waitUntilReady();
  }

  async waitUntilReady(): Promise<void> {
    const deadline = performance.now() + READY_TIMEOUT_MS;
    while (this.#url === "") {
      if (!this.isRunning) throw new Error(`the node ended before it was ready:\n${this.tail()}`);
      if (performance.now() > deadline) throw new Error(`the node was not ready in time:\n${this.tail()}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Waits until it ends by itself, and its output is read to the end. Returns the exit code. */
  async exited(): Promise<number | null> {
    const child = this.#child;
    if (child === null) throw new Error("the node was not started");
    await this.#closed;
    return child.exitCode;
  }

  /** Sends the signal and waits for the end. Returns the exit code, null when the signal ended it. */
  async kill(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === null || !this.isRunning) throw new Error(`the node is not running:\n${this.tail()}`);
    this.#url = "";
    const ended = once(child, "exit");
    child.kill(signal);
    const deadline = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(deadline);
    return child.exitCode;
  }

  async restart(signal: NodeJS.Signals): Promise<void> {
    await this.kill(signal);
    await this.start();
  }

  /** SIGTERM; must drain and exit 0. */
  async stop(): Promise<void> {
    const code = await this.kill("SIGTERM");
    if (code !== 0) throw new Error(`the node exited with ${code} at SIGTERM:\n${this.tail()}`);
  }

  /** The log entry of the newest line with this message, or null. */
  lastEntry(message: string): Readonly<Record<string, unknown>> | null {
    for (const line of this.lines.toReversed()) {
      const entry = parseEntry(line);
      if (entry?.msg === message) return entry;
    }
    return null;
  }

  /** The last lines of its output, for failure messages. */
  tail(): string {
    return this.lines.slice(-30).join("\n");
  }

  /** Resident memory in bytes; null where /proc does not tell. */
  residentBytes(): number | null {
    try {
      const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))?.[1];
      return kib === undefined ? null : Number(kib) * 1024;
    } catch {
      return null;
    }
  }

  #take(child: ChildProcess, line: string): void {
    this.lines.push(line);
    if (this.lines.length > KEPT_LINES) this.lines.splice(0, KEPT_LINES / 2);
    if (child !== this.#child) return;
    const entry = parseEntry(line);
    if (entry?.msg === "listening" && typeof entry.url === "string" && this.isRunning) this.#url = entry.url;
  }
}

/** Starts a node and waits until it is ready. It is killed after the test. */
export async function spawnNode(options: NodeOptions, cleanup: Cleanup): Promise<NodeProcess> {
  const node = new NodeProcess(options, cleanup);
  await node.start();
  return node;
}

function parseEntry(line: string): Readonly<Record<string, unknown>> | null {
  if (!line.startsWith("{")) return null;
  try {
    return JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    return null;
  }
}
