import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "./random.ts";
import type { Cleanup } from "./temp-dir.ts";

/** What may happen to a connection. */
export type Mishap =
  | "pass"
  /** Refused, or ended before anything came through. */
  | "refuse"
  /** Cut after some bytes of the request, or of the answer. */
  | "cut-request"
  | "cut-answer"
  /** Every portion comes late. */
  | "delay"
  /** Some bytes of the request are others. */
  | "garble"
  /** The request ends early, though the connection stays. */
  | "truncate"
  /** The request goes through twice; the second answer is thrown away. */
  | "duplicate"
  /** Something in between answers. */
  | "answer-500"
  | "answer-429"
  | "answer-200"
  /** Nothing ever comes back. */
  | "hang";

export const MISHAPS: readonly Mishap[] = [
  "refuse",
  "cut-request",
  "cut-answer",
  "delay",
  "garble",
  "truncate",
  "duplicate",
  "answer-500",
  "answer-429",
  "answer-200",
  "hang",
];

const CANNED: Readonly<Record<string, string>> = {
  "answer-500": answer("500 Internal Server Error", "oops"),
  "answer-429": answer("429 Too Many Requests", "later", "retry-after: 1\r\n"),
  "answer-200": answer("200 OK", "<html>please log in</html>"),
};
const MAX_DELAY_MS = 60;
const MAX_CUT_BYTES = 4_000;

/** A real TCP proxy on 127.0.0.1 that treats connections badly. */
export class ChaosProxy {
  readonly #server: Server;
  readonly #target: () => string;
  readonly #choose: () => Mishap;
  readonly #random: Random;
  readonly #sockets = new Set<Socket>();
  /** Nothing gets through while it is true. */
  isDown = false;
  readonly counts = new Map<Mishap, number>();

  private constructor(target: () => string, choose: () => Mishap, random: Random) {
    this.#target = target;
    this.#choose = choose;
    this.#random = random;
    this.#server = createServer((socket) => this.#take(socket));
  }

  /** `target` is asked for each connection; it may throw while there is none. */
  static async start(
    target: () => string,
    random: Random,
    cleanup: Cleanup,
    choose: () => Mishap = () => "pass",
  ): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(target, choose, random);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    cleanup.after(() => proxy.close());
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is closed");
    return `http://127.0.0.1:${address.port}`;
  }

  /** Cuts what is open. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #take(client: Socket): void {
    this.#watch(client);
    const mishap = this.isDown ? "refuse" : this.#choose();
    this.counts.set(mishap, (this.counts.get(mishap) ?? 0) + 1);
    const canned = CANNED[mishap];
    if (mishap === "refuse") client.destroy();
    else if (mishap === "hang") client.resume();
    else if (canned !== undefined) client.once("data", () => client.end(canned)).resume();
    else this.#join(client, mishap);
  }

  #join(client: Socket, mishap: Mishap): void {
    let hub: Socket;
    try {
      const { hostname, port } = new URL(this.#target());
      hub = connect(Number(port), hostname);
    } catch {
      client.destroy();
      return;
    }
    this.#watch(hub);
    const twin =
      mishap === "duplicate" ? connect(hub.remotePort ?? portOf(this.#target()), "127.0.0.1") : null;
    if (twin !== null) this.#watch(twin).resume();
    const requestCut = mishap === "cut-request" || mishap === "truncate" ? this.#cutAt() : Infinity;
    const answerCut = mishap === "cut-answer" ? this.#random.integer(0, 200) : Infinity;
    let [up, down] = [0, 0];
    this.#pipe(client, async (chunk) => {
      if (mishap === "delay") await sleep(this.#random.integer(0, MAX_DELAY_MS));
      const bytes = mishap === "garble" ? this.#garbled(chunk) : chunk;
      const part = bytes.subarray(0, Math.max(0, requestCut - up));
      up += chunk.length;
      hub.write(part);
      twin?.write(part);
      if (up < requestCut) return;
      if (mishap === "cut-request") for (const socket of [client, hub]) socket.destroy();
      else hub.end();
    });
    this.#pipe(hub, async (chunk) => {
      if (mishap === "delay") await sleep(this.#random.integer(0, MAX_DELAY_MS));
      client.write(chunk.subarray(0, Math.max(0, answerCut - down)));
      down += chunk.length;
      if (down >= answerCut) for (const socket of [client, hub]) socket.destroy();
    });
    client.on("close", () => hub.destroy());
    client.on("close", () => twin?.end());
    hub.on("close", () => client.destroy());
  }

  /** Hands on what comes, one after the other. */
  #pipe(from: Socket, take: (chunk: Buffer) => Promise<void>): void {
    let last = Promise.resolve();
    from.on("data", (chunk: Buffer) => {
      from.pause();
      last = last
        .then(() => take(chunk))
        .then(() => {
          from.resume();
        });
    });
  }

  #garbled(chunk: Buffer): Buffer {
    if (!this.#random.chance(0.5)) return chunk;
    const copy = Buffer.from(chunk);
    const at = this.#random.integer(0, copy.length - 1);
    copy[at] = copy[at]! ^ (1 << this.#random.integer(0, 7));
    return copy;
  }

  #cutAt(): number {
    return this.#random.integer(1, MAX_CUT_BYTES);
  }

  #watch(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => undefined);
    return socket;
  }
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

function answer(status: string, body: string, headers = ""): string {
  return `HTTP/1.1 ${status}\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n${headers}connection: close\r\n\r\n${body}`;
}
