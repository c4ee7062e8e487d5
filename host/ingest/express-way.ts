import type { Server as HttpServer } from "node:http";
import type { Socket } from "node:net";
import { releaseBytes } from "../../workers/move.ts";
import type { Problem } from "../api/problem.ts";
import { COPIED_BYTES } from "../pipeline/engine.ts";
import { AnswerText, endsConnection } from "./answer-text.ts";
import type { ComingBody } from "./body.ts";
import { type ComingRequest, readForm, type WholeRequest } from "./http.ts";
import { readHead } from "./request-head.ts";

type Reply = (answer: string | Problem) => void;

/** Both make a request's events durable, then call `reply` once: with the text of a 200, or why there is none. */
export interface ExpressIngest {
  /** Requests with larger bodies are left to `node:http`. */
  readonly maxBodyBytes: number;
  /** Of a request that is here. A body up to `COPIED_BYTES` is the caller's again when it returns. */
  readonly answer: (request: WholeRequest, reply: Reply) => void;
  /** Of one whose body is on its way. @returns what takes its parts; null: it is answered without */
  readonly begin: (request: ComingRequest, reply: Reply) => ComingBody | null;
}

export interface ExpressTimeouts {
  /** A connection on which nothing came at all is answered 408 after so long. */
  readonly headersMs: number;
  /** So is one whose request is not complete after so long. */
  readonly requestMs: number;
  /** One that does not take its answers, or sends no more of a body that was refused, is cut. */
  readonly stallMs: number;
  /** One that rests is closed. */
  readonly keepAliveMs: number;
}

/** A longer head is not looked at. */
const MAX_HEAD_BYTES = 1_024;
/** Heads remembered: a device sends the same one again and again, but for the length. */
const MAX_KNOWN_HEADS = 1_024;
/** What is read of a smaller one is left to the garbage collector: giving it back costs more. */
const UNCOLLECTED_BYTES = 1_024;
/** What `node:http` calls it. */
const TOO_SLOW = "ERR_HTTP_REQUEST_TIMEOUT";
const HEAD_END = "\r\n\r\n";

/**
 * The express way for plain requests. To `node:http` a request is two streams, their states, listeners and timers, some 10 KB
 * that live until the answer: of small ones, at ten thousand a second, they cost more than all else that is done with an event,
 * fsync included; of large ones as much as the reading of 300 KB.
 *
 * So a connection's bytes are looked at here first. A chunk that begins with the whole head of a plain request for events
 * (`readHead`) and has no more than its body is answered from here; what is missing of the body is taken as it comes.
 * Whatever else comes, such as a part of a head, two requests at once, another path or an unusual header, goes to `node:http`
 * untouched, and so does all that follows on that connection. It is decided before any byte of a body is taken.
 *
 * Invariant: of a connection, no more than one request is on its way and one chunk waits.
 */
export class ExpressWay {
  readonly #server: HttpServer;
  readonly #long: (socket: Socket) => void;
  readonly #ingest: ExpressIngest;
  readonly #timeouts: ExpressTimeouts;
  readonly #connections = new Set<Connection>();
  readonly #heads = new Map<string, ComingRequest>();
  readonly #text: AnswerText;
  #sweep: NodeJS.Timeout | null = null;
  #isClosing = false;

  constructor(server: HttpServer, ingest: ExpressIngest, timeouts: ExpressTimeouts) {
    this.#server = server;
    this.#ingest = ingest;
    this.#timeouts = timeouts;
    this.#text = new AnswerText(timeouts.keepAliveMs);
    const [long] = server.listeners("connection");
    if (long === undefined) throw new Error("the server does not listen to its connections");
    this.#long = (socket) => void long.call(server, socket);
    server.off("connection", long as (socket: Socket) => void);
    server.on("connection", (socket: Socket) => this.#begin(socket));
  }

  /** Ends what rests. What is being read or answered gets its answer, and then ends. */
  closeIdle(): void {
    this.#isClosing = true;
    for (const { socket, isAnswering, missingBytes } of this.#connections)
      if (!isAnswering && missingBytes === 0 && !socket.writableEnded) socket.destroy();
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
      missingBytes: 0,
      body: null,
      hasEnded: false,
      hasAsked: false,
      waiting: null,
      sinceMs: performance.now(),
      requestSinceMs: 0,
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
    if (connection.missingBytes > 0) {
      this.#takePart(connection, chunk);
      return;
    }
    if (connection.isAnswering) {
      const { waiting } = connection;
      connection.waiting = waiting === null ? chunk : Buffer.concat([waiting, chunk]);
      connection.socket.pause();
      return;
    }
    const headBytes = chunk.indexOf(HEAD_END, 0, "latin1");
    const head = headBytes < 0 || headBytes > MAX_HEAD_BYTES ? null : this.#head(chunk, headBytes);
    const from = headBytes + HEAD_END.length;
    const missingBytes = head === null ? 0 : head.bodyBytes - (chunk.length - from);
    // What lacks its end will never have it where the client has said all it will say.
    if (head === null || missingBytes < 0 || (missingBytes > 0 && connection.hasEnded)) {
      this.#handOver(connection, chunk);
      return;
    }
    if (missingBytes === 0) this.#answer(connection, head, chunk, from);
    else if (head.bodyBytes > this.#ingest.maxBodyBytes) this.#handOver(connection, chunk);
    else this.#beginBody(connection, head, chunk, from);
  }

  /** A request that is one chunk. */
  #answer(
    connection: Connection,
    { stream, form }: ComingRequest,
    chunk: Buffer<ArrayBuffer>,
    from: number,
  ): void {
    connection.isAnswering = true;
    connection.hasAsked = true;
    const part = chunk.subarray(from);
    // A larger one is handed on without a copy where it has a buffer of its own.
    const body = part.length > COPIED_BYTES ? new Uint8Array(part) : part;
    this.#ingest.answer({ stream, form, body }, connection.reply);
    // Left to the garbage collector, chunks would make it run.
    if (body.length > UNCOLLECTED_BYTES && body.buffer === chunk.buffer) releaseBytes(chunk);
  }

  /** A request of which the head came, and perhaps a part of the body. */
  #beginBody(connection: Connection, head: ComingRequest, chunk: Buffer<ArrayBuffer>, from: number): void {
    connection.hasAsked = true;
    connection.requestSinceMs = performance.now();
    connection.missingBytes = head.bodyBytes;
    connection.body = this.#ingest.begin(head, connection.reply);
    if (chunk.length > from) this.#takePart(connection, chunk.subarray(from));
    releaseBytes(chunk);
  }

  /** What comes while some of a body is missing: it is passed over where the request is answered already. */
  #takePart(connection: Connection, chunk: Buffer<ArrayBuffer>): void {
    const { body, missingBytes, socket } = connection;
    const isLast = chunk.length >= missingBytes;
    const rest = chunk.length > missingBytes ? chunk.subarray(missingBytes) : null;
    connection.missingBytes = Math.max(0, missingBytes - chunk.length);
    if (body === null) {
      connection.sinceMs = performance.now();
      if (rest === null) releaseBytes(chunk);
    } else {
      connection.isAnswering = isLast;
      body.take(rest === null ? chunk : chunk.subarray(0, missingBytes));
      if (isLast) {
        connection.body = null;
        body.end();
      }
    }
    if (rest !== null && socket.writable && this.#connections.has(connection)) this.#take(connection, rest);
  }

  #head(chunk: Buffer<ArrayBuffer>, headBytes: number): ComingRequest | null {
    const text = chunk.toString("latin1", 0, headBytes);
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
    connection.body = null;
    if (!socket.writable) return;
    connection.sinceMs = performance.now();
    const isLast = this.#isClosing || endsConnection(answer) || (connection.hasEnded && waiting === null);
    const hasRoom = socket.write(this.#text.render(answer, isLast));
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

  #end(connection: Connection): void {
    connection.hasEnded = true;
    if (connection.missingBytes > 0) this.#fail(connection, "HPE_INVALID_EOF_STATE", "a body was cut off");
    else if (!connection.isAnswering) connection.socket.end();
  }

  /** As `node:http` says of a request that will not be complete. */
  #fail({ socket }: Connection, code: string, message: string): void {
    this.#server.emit("clientError", Object.assign(new Error(message), { code }), socket);
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
    connection.body?.abort();
    if (this.#connections.size > 0 || this.#sweep === null) return;
    clearInterval(this.#sweep);
    this.#sweep = null;
  }

  /** One timer for all connections. */
  #watch(): void {
    const { headersMs, requestMs, stallMs, keepAliveMs } = this.#timeouts;
    this.#sweep ??= setInterval(
      () => {
        const nowMs = performance.now();
        for (const connection of this.#connections) this.#check(connection, nowMs);
      },
      Math.min(headersMs, requestMs, stallMs, keepAliveMs) / 4,
    ).unref();
  }

  #check(connection: Connection, nowMs: number): void {
    const { headersMs, requestMs, stallMs, keepAliveMs } = this.#timeouts;
    const { socket, body, isAnswering, hasAsked, missingBytes, sinceMs, requestSinceMs } = connection;
    const restedMs = nowMs - sinceMs;
    if (missingBytes > 0) {
      if (nowMs - requestSinceMs >= requestMs) this.#fail(connection, TOO_SLOW, "a body did not end");
      // Who takes a body knows by itself when it stalls.
      else if (body === null && restedMs > stallMs) socket.destroy();
    } else if (isAnswering) return;
    else if (!hasAsked) {
      if (restedMs >= headersMs) this.#fail(connection, TOO_SLOW, "no request came");
    } else if (restedMs > (socket.writableLength > 0 ? stallMs : keepAliveMs)) socket.destroy();
  }
}

interface Connection {
  readonly socket: Socket;
  /** A whole request is on its way. */
  isAnswering: boolean;
  /** Of the body that is being read, or passed over. */
  missingBytes: number;
  /** Takes the parts of a body until its request is answered; null: what is missing is passed over. */
  body: ComingBody | null;
  /** The client will send no more. */
  hasEnded: boolean;
  /** There was a request. */
  hasAsked: boolean;
  /** What came behind the request on its way. */
  waiting: Buffer<ArrayBuffer> | null;
  /** When the last answer was given, a part of a refused body came, or it began. */
  sinceMs: number;
  /** When the head came of the body that is missing. */
  requestSinceMs: number;
  readonly reply: Reply;
  readonly listeners: {
    readonly data: (chunk: Buffer<ArrayBuffer>) => void;
    readonly end: () => void;
    readonly close: () => void;
    readonly error: () => void;
    readonly drain: () => void;
  };
}
