import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { ByteBucket } from "../../host/sync/byte-bucket.ts";
import type { Cleanup } from "./temp-dir.ts";

export interface LineSettings {
  /** Of all connections together, one way. */
  readonly bytesPerSecond: number;
  /** One way, ms. */
  readonly delayMs: number;
}

/** What is read at once of a connection, so that others get their share of the line meanwhile. */
const PORTION_BYTES = 4_096;

/** A line that all connections share, of so many bytes a second in each direction: a real TCP proxy on 127.0.0.1. */
export class SlowLine {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #stop = new AbortController();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(target: string, settings: LineSettings, cleanup: Cleanup): Promise<SlowLine> {
    const { hostname, port } = new URL(target);
    const [up, down] = [bucketOf(settings), bucketOf(settings)];
    const server = createServer({ highWaterMark: PORTION_BYTES }, (client) => {
      const there = connect(Number(port), hostname);
      line.#pass(client, there, up, settings);
      line.#pass(there, client, down, settings);
    });
    const line = new SlowLine(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanup.after(() => line.#close());
    return line;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the line is closed");
    return `http://127.0.0.1:${address.port}`;
  }

  #pass(from: Socket, to: Socket, bucket: ByteBucket, { delayMs }: LineSettings): void {
    this.#sockets.add(from);
    from.on("error", () => undefined);
    from.on("close", () => {
      this.#sockets.delete(from);
      setTimeout(() => to.destroy(), delayMs);
    });
    const { signal } = this.#stop;
    let last: Promise<unknown> = Promise.resolve();
    from.on("data", (chunk: Buffer) => {
      from.pause();
      last = last
        .then(() => bucket.take(chunk.length, signal))
        .then(() => {
          from.resume();
          // It is on its way while the next is let in; timers of one length keep their order.
          void sleep(delayMs).then(() => to.write(chunk));
        })
        .catch(() => from.destroy());
    });
  }

  #close(): void {
    this.#stop.abort();
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

function bucketOf({ bytesPerSecond }: LineSettings): ByteBucket {
  return new ByteBucket(bytesPerSecond, () => performance.now());
}
