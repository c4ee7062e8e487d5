import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Mishap, ProxyOptions } from "./chaos-proxy.ts";
import type { Random } from "./random.ts";

export interface LineParts extends Required<ProxyOptions> {
  readonly socket: Socket;
  readonly target: () => string;
  readonly random: Random;
  readonly happened: (mishap: Mishap) => void;
  /** Keeps book of a socket until it is closed. */
  readonly watch: (socket: Socket) => Socket;
  /** Calls back once another exchange has come to its end. */
  readonly hold: (letGo: (isOvertaken: boolean) => void) => void;
  /** An exchange has come to its end. */
  readonly passed: () => void;
}

const CANNED: Readonly<Record<string, string>> = {
  "answer-500": answer("500 Internal Server Error", "oops"),
  "answer-429": answer("429 Too Many Requests", "later", "retry-after: 1\r\n"),
  "answer-200": answer("200 OK", "<html>please log in</html>"),
};
const MAX_DELAY_MS = 60;
const MAX_CUT_BYTES = 4_000;
/** Where nothing overtakes it, a request goes on after so long. */
const LONGEST_HOLD_MS = 1_500;

/** One connection of a client, and the one to the server that belongs to it. */
export class ChaosLine {
  readonly #parts: LineParts;
  readonly #client: Socket;
  #server: Socket | null = null;
  #twin: Socket | null = null;
  #mishap: Mishap = "pass";
  #isFirst = true;
  /** The server has said something since the client did. */
  #isAnswered = false;
  #hasHappened = false;
  /** Bytes of this exchange. */
  #up = 0;
  #down = 0;
  #requestCut = Number.POSITIVE_INFINITY;
  #answerCut = Number.POSITIVE_INFINITY;
  /** What is held back. */
  #kept: Buffer[] | null = null;

  constructor(parts: LineParts) {
    this.#parts = parts;
    this.#client = parts.socket;
  }

  open(): void {
    const { per } = this.#parts;
    // Of a connection is chosen as it opens, for the server may be the one to speak first.
    if (per === "connection") this.#draw();
    if (per === "connection" && this.#mishap === "refuse") {
      this.#happen();
      this.#client.destroy();
      return;
    }
    inOrder(this.#client, (chunk) => this.#take(chunk));
    this.#client.on("close", () => {
      if (this.#kept !== null) return;
      this.#server?.destroy();
      this.#twin?.end();
    });
    // Where the server speaks first it must be there before the client has said anything.
    if (this.#mishap !== "hang" && !(this.#mishap in CANNED) && this.#mishap !== "reorder") this.#join();
  }

  #draw(): void {
    const { choose, random } = this.#parts;
    this.#mishap = choose();
    this.#hasHappened = false;
    this.#isAnswered = false;
    [this.#up, this.#down] = [0, 0];
    const isCut = this.#mishap === "cut-request" || this.#mishap === "truncate";
    this.#requestCut = isCut ? random.integer(1, MAX_CUT_BYTES) : Number.POSITIVE_INFINITY;
    this.#answerCut = this.#mishap === "cut-answer" ? random.integer(0, 200) : Number.POSITIVE_INFINITY;
    this.#twin?.end();
    this.#twin = null;
  }

  /** Counts it once for an exchange, or a connection. */
  #happen(): void {
    if (this.#hasHappened) return;
    this.#hasHappened = true;
    this.#parts.happened(this.#mishap);
  }

  #destroy(): void {
    this.#client.destroy();
    this.#server?.destroy();
  }

  #join(): void {
    if (this.#server !== null) return;
    const server = this.#connect();
    this.#server = server;
    if (server === null) {
      this.#client.destroy();
      return;
    }
    inOrder(server, (chunk) => this.#giveBack(chunk));
    server.on("close", () => this.#client.destroy());
  }

  /** null: there is none now. */
  #connect(): Socket | null {
    try {
      const { hostname, port } = new URL(this.#parts.target());
      return this.#parts.watch(connect(Number(port), hostname));
    } catch {
      return null;
    }
  }

  async #take(chunk: Buffer): Promise<void> {
    const { per, random } = this.#parts;
    const isNew = this.#isFirst || this.#isAnswered;
    if (isNew && per === "exchange") this.#draw();
    if (isNew) this.#isAnswered = false;
    this.#isFirst = false;
    const canned = CANNED[this.#mishap];
    switch (this.#mishap) {
      case "refuse":
        this.#happen();
        return this.#destroy();
      case "hang":
        return this.#happen();
      case "reorder":
        return this.#keep(chunk, isNew);
      case "duplicate":
        if (isNew && this.#twin === null) this.#beginTwin();
        break;
      case "delay":
        this.#happen();
        await sleep(random.integer(0, MAX_DELAY_MS));
        break;
    }
    if (canned !== undefined) {
      this.#happen();
      this.#client.end(canned);
      return;
    }
    this.#join();
    this.#send(this.#mishap === "garble" ? this.#garbled(chunk) : chunk);
  }

  #send(bytes: Buffer): void {
    const server = this.#server;
    if (server === null) return;
    const part = bytes.subarray(0, Math.max(0, this.#requestCut - this.#up));
    this.#up += bytes.length;
    server.write(part);
    this.#twin?.write(part);
    if (this.#up < this.#requestCut) return;
    this.#happen();
    if (this.#mishap === "cut-request") this.#destroy();
    else server.end();
  }

  async #giveBack(chunk: Buffer): Promise<void> {
    const { random, passed } = this.#parts;
    if (this.#mishap === "delay") await sleep(random.integer(0, MAX_DELAY_MS));
    this.#isAnswered = true;
    if (this.#client.destroyed) {
      this.#server?.destroy();
      return;
    }
    this.#client.write(chunk.subarray(0, Math.max(0, this.#answerCut - this.#down)));
    this.#down += chunk.length;
    if (this.#down >= this.#answerCut) {
      this.#happen();
      this.#destroy();
      return;
    }
    passed();
  }

  #beginTwin(): void {
    const twin = this.#connect();
    this.#twin = twin;
    // It has happened once the server has done the same for the second time.
    twin?.on("data", () => this.#happen());
  }

  /** The whole request is kept until another exchange is over. */
  #keep(chunk: Buffer, isNew: boolean): void {
    if (isNew) {
      this.#kept = [];
      let timer: NodeJS.Timeout | null = null;
      const letGo = (isOvertaken: boolean): void => {
        if (timer === null) return;
        clearTimeout(timer);
        timer = null;
        if (isOvertaken) this.#happen();
        this.#release();
      };
      timer = setTimeout(() => letGo(false), LONGEST_HOLD_MS);
      timer.unref();
      this.#parts.hold(letGo);
    }
    if (this.#kept === null) this.#send(chunk);
    else this.#kept.push(chunk);
  }

  /** It goes through although its client may have given up: the server sees it late, and once more. */
  #release(): void {
    const kept = this.#kept ?? [];
    this.#kept = null;
    if (this.#server?.destroyed === true) this.#server = null;
    this.#join();
    for (const chunk of kept) this.#send(chunk);
  }

  #garbled(chunk: Buffer): Buffer {
    const { random } = this.#parts;
    if (!random.chance(0.5)) return chunk;
    this.#happen();
    const copy = Buffer.from(chunk);
    const at = random.integer(0, copy.length - 1);
    copy[at] = copy[at]! ^ (1 << random.integer(0, 7));
    return copy;
  }
}

/** Hands on what comes, one after the other. */
function inOrder(from: Socket, take: (chunk: Buffer) => Promise<void> | void): void {
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

function answer(status: string, body: string, headers = ""): string {
  return `HTTP/1.1 ${status}\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n${headers}connection: close\r\n\r\n${body}`;
}
