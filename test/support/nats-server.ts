import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./free-port.ts";
import { type Cleanup, makeTempDir } from "./temp-dir.ts";

const PLACES = ["/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"];
const START_TIMEOUT_MS = 180_000;

/** Why tests with a NATS cannot run here, or false: for the option `skip` of a test. */
export function withoutNats(): string | false {
  return binary() === null ? "nats-server is not installed; test/setup-debian.sh installs it" : false;
}

/** A real nats-server with JetStream on 127.0.0.1, which can be killed and started again on the same data. */
export class NatsServer {
  readonly port: number;
  /** Where it keeps its streams. */
  readonly storeDir: string;
  readonly #config: string;
  readonly #lines: string[] = [];
  #child: ChildProcess | null = null;

  private constructor(port: number, storeDir: string, config: string) {
    this.port = port;
    this.storeDir = storeDir;
    this.#config = config;
  }

  /** `settings` are lines of its configuration. */
  static async start(cleanup: Cleanup, settings = ""): Promise<NatsServer> {
    const dir = makeTempDir(cleanup);
    const port = await freePort();
    const config = join(dir, "nats.conf");
    const storeDir = join(dir, "store");
    const basics = `listen: 127.0.0.1:${port}\njetstream: { store_dir: "${storeDir}" }\n`;
    writeFileSync(config, `${basics}${settings}\n`);
    const server = new NatsServer(port, storeDir, config);
    cleanup.after(() => server.kill());
    await server.start();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** Starts again after `kill`. */
  async start(): Promise<void> {
    const child = spawn(binary()!, ["-c", this.#config], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (text: Buffer) => {
        this.#lines.push(String(text));
        if (this.#lines.length > 200) this.#lines.splice(0, 100);
      });
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!(await this.#isReady())) {
      if (child.exitCode !== null || performance.now() > deadline)
        throw new Error(`nats-server did not start:\n${this.#lines.join("")}`);
      await sleep(50);
    }
  }

  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** In order: all that it knows is on its disk. */
  stop(): Promise<void> {
    return this.#end("SIGTERM");
  }

  async #end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  /** It greets who connects once it takes requests. */
  #isReady(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.port, "127.0.0.1");
      const end = (isReady: boolean): void => {
        socket.destroy();
        resolve(isReady);
      };
      socket.once("data", () => end(true));
      socket.once("error", () => end(false));
    });
  }
}

function binary(): string | null {
  return PLACES.find((place) => existsSync(place)) ?? null;
}
