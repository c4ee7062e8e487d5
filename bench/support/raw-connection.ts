import { connect, type Socket } from "node:net";

/** An answer's status and body; headers are of no interest to a load generator. */
export interface RawAnswer {
  readonly status: number;
  readonly body: string;
}

const HEADER_END = "\r\n\r\n";

/**
 * One keep-alive connection with one request on its way at a time, and as little work per request as Node allows, so
 * that the client does not take the cores from what it measures.
 */
export class RawConnection {
  readonly #socket: Socket;
  readonly #head: string;
  #received = "";
  #settle: ((answer: RawAnswer) => void) | null = null;
  #fail: ((cause: Error) => void) | null = null;

  private constructor(socket: Socket, path: string) {
    this.#socket = socket;
    this.#head = `POST ${path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-ndjson\r\ncontent-length: `;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", (cause) => this.#fail?.(cause));
    socket.on("close", () => this.#fail?.(new Error("the connection was closed")));
  }

  static open(url: string, path: string): Promise<RawConnection> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => {
        socket.off("error", reject);
        resolve(new RawConnection(socket, path));
      });
      socket.once("error", reject);
    });
  }

  /** The body must not be changed before the answer. */
  post(body: Buffer): Promise<RawAnswer> {
    return new Promise((settle, fail) => {
      if (this.#socket.destroyed) return fail(new Error("the connection was closed while it rested"));
      this.#settle = settle;
      this.#fail = fail;
      this.#socket.cork();
      this.#socket.write(`${this.#head}${body.length}\r\n\r\n`, "latin1");
      this.#socket.write(body);
      this.#socket.uncork();
    });
  }

  close(): void {
    this.#settle = null;
    this.#fail = null;
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#received += chunk.toString("latin1");
    const answer = parseAnswer(this.#received);
    if (answer === null) return;
    this.#received = "";
    const settle = this.#settle;
    this.#settle = null;
    this.#fail = null;
    settle?.(answer);
  }
}

/** A whole answer, or null when more is to come. Knows Content-Length and chunked. */
function parseAnswer(text: string): RawAnswer | null {
  const headEnd = text.indexOf(HEADER_END);
  if (headEnd < 0) return null;
  const status = Number(text.slice(9, 12));
  const head = text.slice(0, headEnd).toLowerCase();
  const start = headEnd + HEADER_END.length;
  const at = head.indexOf("content-length:");
  if (at >= 0) {
    const length = Number.parseInt(head.slice(at + 15), 10);
    return text.length - start < length ? null : { status, body: text.slice(start, start + length) };
  }
  if (!text.endsWith("0\r\n\r\n")) return null;
  return { status, body: text.slice(start) };
}

/** The number behind `"accepted":` in an acknowledgement. */
export function acceptedOf(body: string): number {
  const at = body.indexOf('"accepted":');
  return at < 0 ? 0 : Number.parseInt(body.slice(at + 11), 10);
}
