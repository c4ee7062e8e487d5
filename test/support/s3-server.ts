import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { type Cleanup, makeTempDir } from "./temp-dir.ts";

interface Server {
  run(): Promise<unknown>;
  close(): Promise<void>;
}
type ServerClass = new (options: Readonly<Record<string, unknown>>) => Server;

/** An S3-compatible server on 127.0.0.1 (s3rver), with one bucket. It knows one access key, and does not check signatures. */
export class S3Server {
  readonly bucket = "lake";
  readonly accessKey = "S3RVER";
  readonly secretKey = "S3RVER";
  readonly #port: number;
  readonly #dir: string;
  #server: Server | null = null;

  private constructor(dir: string, port: number) {
    this.#dir = dir;
    this.#port = port;
  }

  static async start(cleanup: Cleanup): Promise<S3Server> {
    const server = new S3Server(join(makeTempDir(cleanup), "s3"), await freePort());
    mkdirSync(server.#dir);
    cleanup.after(() => server.stop());
    await server.start();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    // CommonJS, without types of its own.
    const S3rver = createRequire(import.meta.url)("s3rver") as ServerClass;
    this.#server = new S3rver({
      address: "127.0.0.1",
      port: this.#port,
      directory: this.#dir,
      silent: true,
      resetOnClose: false,
      configureBuckets: [{ name: this.bucket, configs: [] }],
    });
    await this.#server.run();
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    await server?.close();
  }
}
