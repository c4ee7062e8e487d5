import { createServer, type Server, type Socket } from "node:net";
import { ChaosLine, type LineParts } from "./chaos-line.ts";
import type { Random } from "./random.ts";
import type { Cleanup } from "./temp-dir.ts";

/** What may happen to an exchange: a request, and its answer. */
export type Mishap =
  | "pass"
  /** Refused, or ended before anything came through. */
  | "refuse"
  /** Cut after some bytes of the request, or of the answer. */
  | "cut-request"
  | "cut-answer"
  /** Every portion comes late. */
  | "delay"
  /** It is held back whole until another has overtaken it, and then goes through, even if nobody waits for it any more. */
  | "reorder"
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
  "reorder",
  "garble",
  "truncate",
  "duplicate",
  "answer-500",
  "answer-429",
  "answer-200",
  "hang",
];

/** Those that leave a line of any protocol as one that TCP may give: nothing of it is another's, or not as it was sent. */
export const MISHAPS_OF_TCP: readonly Mishap[] = [
  "refuse",
  "cut-request",
  "cut-answer",
  "delay",
  "truncate",
  "hang",
];

export interface ProxyOptions {
  /** Default: nothing ever happens. */
  readonly choose?: () => Mishap;
  /**
   * How often is chosen: once for a connection (the default), or for each exchange on it. An exchange begins when the client
   * says something after the server has, or for the first time.
   */
  readonly per?: "connection" | "exchange";
}

/** A real TCP proxy on 127.0.0.1 that treats connections badly. */
export class ChaosProxy {
  readonly #server: Server;
  readonly #parts: Omit<LineParts, "socket">;
  readonly #sockets = new Set<Socket>();
  /** Requests that are held back, and what lets them go; see `reorder`. */
  readonly #held = new Set<(isOvertaken: boolean) => void>();
  /** Nothing gets through while it is true. */
  isDown = false;
  /** How often each has really happened: a cut behind the end of a request is none. */
  readonly counts = new Map<Mishap, number>();

  private constructor(target: () => string, random: Random, { choose, per }: Required<ProxyOptions>) {
    this.#parts = {
      target,
      random,
      per,
      choose: () => (this.isDown ? "refuse" : choose()),
      happened: (mishap) => this.counts.set(mishap, (this.counts.get(mishap) ?? 0) + 1),
      watch: (socket) => this.#watch(socket),
      hold: (letGo) => this.#held.add(letGo),
      passed: () => this.#letGo(),
    };
    this.#server = createServer((socket) => {
      this.#watch(socket);
      new ChaosLine({ ...this.#parts, socket }).open();
    });
  }

  /** `target` is asked for each connection; it may throw while there is none. */
  static async start(
    target: () => string,
    random: Random,
    cleanup: Cleanup,
    choose: ProxyOptions["choose"] = () => "pass",
    per: "connection" | "exchange" = "connection",
  ): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(target, random, { choose, per });
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    cleanup.after(() => proxy.close());
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is closed");
    return `http://127.0.0.1:${address.port}`;
  }

  /** Cuts what is open. What is held back is on its way all the same. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.#held.clear();
    this.cut();
    this.#server.close();
  }

  /** An exchange came to its end: those that were held back meanwhile were overtaken by it. */
  #letGo(): void {
    const held = [...this.#held];
    this.#held.clear();
    for (const letGo of held) letGo(true);
  }

  #watch(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => undefined);
    return socket;
  }
}
