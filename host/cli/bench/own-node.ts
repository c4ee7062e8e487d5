import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { PACKAGE_ROOT } from "../../../workers/package-root.ts";
import { CommandError } from "../client.ts";
import { START_ENVIRONMENT, START_FLAGS } from "../node-flags.ts";
import { EXIT } from "../output.ts";

const LAUNCHER = fileURLToPath(`${PACKAGE_ROOT}host/cli/bin.js`);
const READY_TIMEOUT_MS = 60_000;
/** Makes a node end with the process that started it, however that ends (`bin.js`). */
const ENDS_WITH_PARENT = { MILLRACE_HANDED_OVER: "1" };

/** A node of a bench's own, in a process of its own; its data is gone afterwards. */
export class OwnNode {
  readonly url: string;
  readonly dir: string;
  readonly #child: ChildProcess;

  private constructor(url: string, dir: string, child: ChildProcess) {
    this.url = url;
    this.dir = dir;
    this.#child = child;
  }

  /** @param below the directory for its data; null: the system's temporary one */
  static async start(config: string, below: string | null): Promise<OwnNode> {
    const dir = makeDir(below);
    const file = join(dir, "millrace.yaml");
    writeFileSync(file, config);
    const args = ["start", "-c", file, "--data", join(dir, "data"), "--listen", "127.0.0.1:0"];
    const child = spawn(process.execPath, [...START_FLAGS, LAUNCHER, ...args], {
      stdio: ["ignore", "pipe", "inherit", "ipc"],
      env: { ...process.env, ...START_ENVIRONMENT, ...ENDS_WITH_PARENT },
    });
    const clear = (): void => rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
    process.on("exit", () => {
      child.kill("SIGKILL");
      clear();
    });
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(EXIT.failed));
    const url = await readyUrl(child);
    if (url !== null) return new OwnNode(url, dir, child);
    throw new CommandError(EXIT.failed, "the node of this bench ended before it was ready; its log is above");
  }

  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  /** Its data goes when this process ends. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await ended;
    if (this.#child.exitCode !== 0)
      throw new CommandError(EXIT.failed, `the node of this bench ended with ${this.#child.exitCode}`);
  }
}

function makeDir(below: string | null): string {
  try {
    return mkdtempSync(join(below ?? tmpdir(), "millrace-bench-"));
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new CommandError(EXIT.failed, `there is no room for the bench's data: ${detail}`, { cause });
  }
}

async function readyUrl(child: ChildProcess): Promise<string | null> {
  const deadline = setTimeout(() => child.kill("SIGKILL"), READY_TIMEOUT_MS);
  try {
    for await (const line of createInterface({ input: child.stdout! })) {
      const entry = JSON.parse(line) as { msg?: string; url?: string };
      if (entry.msg === "listening" && entry.url !== undefined) return entry.url;
      if (entry.msg !== undefined) process.stderr.write(`${line}\n`);
    }
    return null;
  } finally {
    clearTimeout(deadline);
    child.stdout!.resume();
  }
}
