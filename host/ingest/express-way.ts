import { type Server as HttpServer, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { releaseBytes } from "../../workers/move.ts";
import { PROBLEM_HEADERS, type Problem, problemText } from "../api/problem.ts";
import { COPIED_BYTES } from "../pipeline/engine.ts";
import { ACCEPTED_TYPE, readForm, type WholeRequest } from "./http.ts";
import { readHead } from "./request-head.ts";

/**
 * Makes a request's events durable, then calls `reply` once: with the text of a 200, or why there is none. A body up to
 * `COPIED_BYTES` is the caller's again when it returns.
 */
export type AnswerWhole = (request: WholeRequest, reply: (answer: string | Problem) => void) => void;

export interface ExpressTimeouts {
  /** A connection on which nothing came at all is answered 408 after so long. */
  readonly headersMs: number;
  /** One that does not take its answers is cut. */
  readonly stallMs: number;
  /** One that rests is closed. */
  readonly keepAliveMs: number;
}

interface KnownHead extends Pick<WholeRequest, "stream" | "form"> {
  readonly bodyBytes: number;
}

/** A longer head is not looked at. */
const MAX_HEAD_BYTES = 1_024;
/** Heads remembered: a device sends the same one again and again, but for the length. */
const MAX_KNOWN_HEADS = 1_024;
/** What is read of a smaller one is left to the garbage collector: giving it back costs more. */
const UNCOLLECTED_BYTES = 1_024;
const HEAD_END = "\r\n\r\n";

/**
 * The express way for small requests. To `node:http` a request is two streams, their states, listeners and timers, some 10 KB
 * that live until the answer: at ten thousand a second they cost more than all else that is done with an event, fsync included.
 *
 * So a connection's bytes are looked at here first. A chunk that is one plain request for events from its first byte to its
 * last (`readHead`) is answered from here. Whatever else comes, such as a part of a request, two of them, another path or an
 * unusual header, goes to `node:http` untouched, and so does all that follows on that connection.
 *
 * Invariant: of a connection, no more than one request is on its way and one chunk waits.
 */
export class ExpressWay {
  readonly #server: HttpServer;
  readonly #long: (socket: Socket) => void;
  readonly #answer: AnswerWhole;
  readonly #timeouts: ExpressTimeouts;
  readonly #connections = new Set<Connection>();
  readonly #heads = new Map<string, KnownHead>();
  readonly #keepAlive: string;
  #sweep: NodeJS.Timeout | null = null;
  #second = 0;
  #date = "";
  #isClosing = false;

  constructor(server: HttpServer, answer: AnswerWhole, timeouts: ExpressTimeouts) {
    this.#server = server;
    this.#answer = answer;
    this.#timeouts = timeouts;
    this.#keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(timeouts.keepAliveMs / 1_000)}`;
    const [long] = server.listeners("connection");
    if (long === undefined) throw new Error("the server does not listen to its connections");
    this.#long = (socket) => void long.call(server, socket);
    server.off("connection", long as (socket: Socket) => void);
    server.on("connection", (socket: Socket) => this.#begin(socket));
  }

  /** Ends what rests. What is being answered gets its answer, and then ends. */
  closeIdle(): void {
    this.#isClosing = true;
    for (const { socket, isAnswering } of this.#connections)
      if (!isAnswering && !socket.writableEnded) socket.destroy();
  }

  closeAll(): void {
    for (const { socket } of this.#connections) socket.destroy();
  }

  #begin(socket: Socket): void {
    if (this.#isClosing) {
      socket.destroy();
      return;
    }
    const connection: Connection = {
      socket,
      isAnswering: false,
      hasEnded: false,
      hasAsked: false,
      waiting: null,
      sinceMs: performance.now(),
      reply: (answer) => this.#reply(connection, answer),
      listeners: {
        data: (chunk) => this.#take(connection, chunk),
        end: () => this.#end(connection),
        close: () => this.#forget(connection),
        // The end of the connection follows.
        error: () => undefined,
        drain: () => {
          connection.sinceMs = performance.now();
          if (!connection.isAnswering) socket.resume();
        },
      },
    };
    const { data, end, close, error, drain } = connection.listeners;
    socket.on("data", data).on("end", end).on("close", close).on("error", error).on("drain", drain);
    this.#connections.add(connection);
    this.#watch();
  }

  #take(connection: Connection, chunk: Buffer<ArrayBuffer>): void {
    if (connection.isAnswering) {
      const { waiting } = connection;
      connection.waiting = waiting === null ? chunk : Buffer.concat([waiting, chunk]);
      connection.socket.pause();
      return;
    }
    const request = this.#read(chunk);
    if (request === null) {
      this.#handOver(connection, chunk);
      return;
    }
    connection.isAnswering = true;
    connection.hasAsked = true;
    this.#answer(request, connection.reply);
    // Left to the garbage collector, chunks would make it run.
    if (request.body.length > UNCOLLECTED_BYTES && request.body.buffer === chunk.buffer) releaseBytes(chunk);
  }

  /** null when the chunk is not one whole request of the plain kind. */
  #read(chunk: Buffer<ArrayBuffer>): WholeRequest | null {
    const headBytes = chunk.indexOf(HEAD_END, 0, "latin1");
    if (headBytes < 0 || headBytes > MAX_HEAD_BYTES) return null;
    const head = this.#head(chunk.toString("latin1", 0, headBytes));
    const from = headBytes + HEAD_END.length;
    if (head === null || chunk.length - from !== head.bodyBytes) return null;
    const part = chunk.subarray(from);
    // A larger one is handed on without a copy where it has a buffer of its own.
    const body = part.length > COPIED_BYTES ? new Uint8Array(part) : part;
    return { stream: head.stream, form: head.form, body };
  }

  #head(text: string): KnownHead | null {
    const known = this.#heads.get(text);
    if (known !== undefined) return known;
    const head = readHead(text);
    if (head === null) return null;
    const read = { stream: head.stream, bodyBytes: head.bodyBytes, form: readForm(head.headers) };
    // One with a key of its own does not come again.
    if (head.headers["idempotency-key"] !== undefined) return read;
    if (this.#heads.size >= MAX_KNOWN_HEADS) this.#heads.clear();
    this.#heads.set(text, read);
    return read;
  }

  #reply(connection: Connection, answer: string | Problem): void {
    const { socket, waiting } = connection;
    connection.isAnswering = false;
    if (socket.destroyed) return;
    connection.sinceMs = performance.now();
    const isLast = this.#isClosing || (connection.hasEnded && waiting === null);
    const hasRoom = socket.write(this.#render(answer, isLast));
    if (isLast) {
      socket.destroySoon();
      return;
    }
    connection.waiting = null;
    if (waiting !== null) this.#take(connection, waiting);
    // It may have been handed over with it.
    if (!this.#connections.has(connection)) return;
    // A client that takes no answers is asked for no more.
    if (!hasRoom) socket.pause();
    else if (!connection.isAnswering && socket.isPaused()) socket.resume();
  }

  #render(answer: string | Problem, isLast: boolean): string {
    const ending = isLast ? "Connection: close" : this.#keepAlive;
    if (typeof answer === "string") {
      const length = Buffer.byteLength(answer);
      return `HTTP/1.1 200 OK\r\ncontent-type: ${ACCEPTED_TYPE}\r\ncontent-length: ${length}\r\nDate: ${this.#now()}\r\n${ending}${HEAD_END}${answer}`;
    }
    const text = problemText(answer);
    const headers = { ...PROBLEM_HEADERS, ...answer.headers, "content-length": Buffer.byteLength(text) };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    return `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}\r\n${lines.join("")}Date: ${this.#now()}\r\n${ending}${HEAD_END}${text}`;
  }

  #now(): string {
    const second = Math.floor(Date.now() / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = new Date(second * 1_000).toUTCString();
    }
    return this.#date;
  }

  #end(connection: Connection): void {
    connection.hasEnded = true;
    if (!connection.isAnswering) connection.socket.end();
  }

  /** From here on the connection is node:http's, which has the clocks of slow senders. */
  #handOver(connection: Connection, chunk: Buffer<ArrayBuffer> | null): void {
    const { socket, listeners, hasEnded } = connection;
    // The end of what was sent is not said twice.
    if (hasEnded) {
      socket.end();
      return;
    }
    this.#forget(connection);
    socket.pause();
    const { data, end, close, error, drain } = listeners;
    socket.off("data", data).off("end", end).off("close", close).off("error", error).off("drain", drain);
    if (chunk !== null) socket.unshift(chunk);
    this.#long(socket);
    socket.resume();
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0 || this.#sweep === null) return;
    clearInterval(this.#sweep);
    this.#sweep = null;
  }

  /** One timer for all connections. */
  #watch(): void {
    const { headersMs, stallMs, keepAliveMs } = this.#timeouts;
    this.#sweep ??= setInterval(
      () => {
        const nowMs = performance.now();
        for (const connection of this.#connections) this.#check(connection, nowMs - connection.sinceMs);
      },
      Math.min(headersMs, stallMs, keepAliveMs) / 4,
    ).unref();
  }

  #check({ socket, isAnswering, hasAsked }: Connection, restedMs: number): void {
    const { headersMs, stallMs, keepAliveMs } = this.#timeouts;
    if (isAnswering) return;
    if (!hasAsked) {
      if (restedMs < headersMs) return;
      const cause = Object.assign(new Error("no request came"), { code: "ERR_HTTP_REQUEST_TIMEOUT" });
      this.#server.emit("clientError", cause, socket);
    } else if (restedMs > (socket.writableLength > 0 ? stallMs : keepAliveMs)) socket.destroy();
  }
}

interface Connection {
  readonly socket: Socket;
  /** A request is on its way. */
  isAnswering: boolean;
  /** The client will send no more. */
  hasEnded: boolean;
  /** There was a request. */
  hasAsked: boolean;
  /** What came behind the request on its way. */
  waiting: Buffer<ArrayBuffer> | null;
  /** When the last answer was given, or it began. */
  sinceMs: number;
  readonly reply: (answer: string | Problem) => void;
  readonly listeners: {
    readonly data: (chunk: Buffer<ArrayBuffer>) => void;
    readonly end: () => void;
    readonly close: () => void;
    readonly error: () => void;
    readonly drain: () => void;
  };
}
