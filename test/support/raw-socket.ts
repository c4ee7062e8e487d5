import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const PATIENCE_MS = 120_000;

/** A connection without any manners: sends what it is told, keeps whatever comes back. */
export class RawSocket {
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#chunks.push(chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#isClosed = true;
    });
  }

  static open(url: string): Promise<RawSocket> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => resolve(new RawSocket(socket)));
      socket.once("error", reject);
    });
  }

  get received(): string {
    return Buffer.concat(this.#chunks).toString("latin1");
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Waits until the other side has taken it, or is gone. */
  send(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.#isClosed) return resolve();
      const closed = (): void => resolve();
      this.#socket.once("close", closed);
      this.#socket.write(bytes, () => {
        this.#socket.off("close", closed);
        resolve();
      });
    });
  }

  /** The status of the first answer, or null when the other side closed without one. */
  async firstStatus(): Promise<number | null> {
    const deadline = performance.now() + PATIENCE_MS;
    while (performance.now() < deadline) {
      const status = /^HTTP\/1\.[01] (\d{3}) /.exec(this.received)?.[1];
      if (status !== undefined) return Number(status);
      if (this.#isClosed) return null;
      await sleep(10);
    }
    throw new Error(`no answer, and the connection is still open; so far: ${this.received.slice(0, 500)}`);
  }

  /** Waits until the received text contains `text`. */
  async waitFor(text: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!this.received.includes(text)) {
      if (this.#isClosed || performance.now() > deadline) {
        throw new Error(`"${text}" did not come; received: ${this.received.slice(0, 500)}`);
      }
      await sleep(10);
    }
  }

  /** Cuts the connection without a farewell. */
  cut(): void {
    this.#socket.resetAndDestroy();
  }
}
