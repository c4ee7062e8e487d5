import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./free-port.ts";
import { type Cleanup, makeTempDir } from "./temp-dir.ts";

const BIN_DIRS = [18, 17, 16, 15, 14].map((version) => `/usr/lib/postgresql/${version}/bin`);
const START_TIMEOUT_MS = 180_000;
/** PostgreSQL does not run as root; Debian's packages make this user. */
const USER = "postgres";

/** Why tests with a PostgreSQL cannot run here, or false: for the option `skip` of a test. */
export function withoutPostgres(): string | false {
  if (binDir() === null)
    return "no PostgreSQL is installed (looked in /usr/lib/postgresql/*/bin and MILLRACE_PG_BIN)";
  if (process.getuid?.() === 0 && userIds() === null) return `there is no user ${USER} to run PostgreSQL as`;
  return false;
}

/** A real PostgreSQL server of its own on 127.0.0.1, which can be stopped, killed and started again on the same data. */
export class PostgresServer {
  readonly port: number;
  readonly #dir: string;
  readonly #bin: string;
  readonly #ids: { readonly uid: number; readonly gid: number } | null;
  readonly #lines: string[] = [];
  #child: ChildProcess | null = null;

  private constructor(dir: string, bin: string, port: number) {
    this.#dir = dir;
    this.#bin = bin;
    this.port = port;
    this.#ids = process.getuid?.() === 0 ? userIds() : null;
  }

  /** Makes a new cluster, starts it, and waits until it takes connections. `fsync` is off: a killed process loses nothing. */
  static async start(cleanup: Cleanup): Promise<PostgresServer> {
    const bin = binDir();
    if (bin === null) throw new Error("PostgreSQL is not installed");
    const dir = makeTempDir(cleanup);
    const server = new PostgresServer(join(dir, "data"), bin, await freePort());
    server.#own(dir);
    mkdirSync(server.#dir, { mode: 0o700 });
    server.#own(server.#dir);
    const args = ["-D", server.#dir, "-U", "millrace", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"];
    const made = spawnSync(join(bin, "initdb"), args, { ...server.#as(), encoding: "utf8" });
    if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);
    cleanup.after(() => server.kill());
    await server.start();
    return server;
  }

  /** Of the database `postgres`, or another. */
  url(database = "postgres"): string {
    return `postgres://millrace@127.0.0.1:${this.port}/${database}`;
  }

  /** Starts again after `stop` or `kill`. */
  async start(): Promise<void> {
    const settings = [
      "listen_addresses=127.0.0.1",
      `port=${this.port}`,
      "unix_socket_directories=",
      "fsync=off",
    ];
    const options = settings.flatMap((setting) => ["-c", setting]);
    const child = spawn(join(this.#bin, "postgres"), ["-D", this.#dir, ...options], {
      ...this.#as(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (text: Buffer) => {
        this.#lines.push(String(text));
        if (this.#lines.length > 200) this.#lines.splice(0, 100);
      });
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!this.#isReady()) {
      if (child.exitCode !== null || performance.now() > deadline)
        throw new Error(`PostgreSQL did not start:\n${this.#lines.join("")}`);
      await sleep(50);
    }
  }

  /** Ends connections and stops, as `pg_ctl stop -m fast`. */
  stop(): Promise<void> {
    return this.#end("SIGINT");
  }

  /** Ends at once, without a checkpoint: it recovers from its log at the next start. */
  kill(): Promise<void> {
    return this.#end("SIGQUIT");
  }

  /** Runs SQL with psql. @returns its rows, columns apart by `|`. */
  query(sql: string, database = "postgres"): string {
    const args = ["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", this.url(database), "-c", sql];
    const ran = spawnSync(join(this.#bin, "psql"), args, { encoding: "utf8", cwd: "/" });
    if (ran.status !== 0) throw new Error(`psql: ${ran.stderr}`);
    return ran.stdout.trim();
  }

  #isReady(): boolean {
    const args = ["-q", "-h", "127.0.0.1", "-p", String(this.port)];
    return spawnSync(join(this.#bin, "pg_isready"), args).status === 0;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  #own(path: string): void {
    if (this.#ids !== null) chownSync(path, this.#ids.uid, this.#ids.gid);
  }

  #as(): { readonly cwd: string; readonly uid?: number; readonly gid?: number } {
    return { cwd: "/", ...this.#ids };
  }
}

function binDir(): string | null {
  const named = process.env.MILLRACE_PG_BIN;
  return (
    [...(named === undefined ? [] : [named]), ...BIN_DIRS].find((dir) => existsSync(join(dir, "postgres"))) ??
    null
  );
}

function userIds(): { readonly uid: number; readonly gid: number } | null {
  const [uid, gid] = ["-u", "-g"].map((option) =>
    spawnSync("id", [option, USER], { encoding: "utf8" }).stdout.trim(),
  );
  return uid === undefined || uid === "" || gid === undefined ? null : { uid: Number(uid), gid: Number(gid) };
}
