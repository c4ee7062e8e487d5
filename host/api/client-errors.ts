import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { PROBLEM_TYPE, type Problem, problemText } from "./problem.ts";

const LINGER_MS = 200;

/** Answers what does not get as far as a request, such as bytes that are no HTTP, with a problem too. */
export function answerClientErrors(server: Server): void {
  const latest = new WeakMap<
    Duplex,
    { readonly request: IncomingMessage; readonly response: ServerResponse }
  >();
  const doomed = new WeakSet<Duplex>();
  const remember = (request: IncomingMessage, response: ServerResponse): void => {
    latest.set(request.socket, { request, response });
  };
  server.on("request", remember).on("checkContinue", remember);
  server.on("clientError", (cause: NodeJS.ErrnoException, socket) => {
    if (doomed.has(socket)) return;
    doomed.add(socket);
    // Nothing behind the error is of use.
    socket.pause();
    const exchange = latest.get(socket);
    const isAnswering = exchange !== undefined && !exchange.response.writableFinished;
    if (cause.code === "ECONNRESET" || !socket.writable) socket.destroy();
    else if (!isAnswering) answerAndClose(socket, explain(cause.code));
    // The error came behind a good request: that one is answered first.
    else if (exchange.request.complete)
      exchange.response.once("close", () => answerAndClose(socket, explain(cause.code)));
    else if (exchange.response.headersSent) socket.destroy();
    else answerAndClose(socket, explain(cause.code));
  });
}

/** Closing with bytes unread resets the connection: the client gets a moment to read the answer first. */
function answerAndClose(socket: Duplex, problem: Problem): void {
  socket.end(rawAnswer(problem), () => {
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
  });
}

function explain(code: string | undefined): Problem {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return {
        status: 431,
        code: "E_HEADERS_TOO_LARGE",
        title: "Headers too large",
        detail: "send at most 16 KiB of headers",
      };
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return {
        status: 413,
        code: "E_CHUNK_EXTENSIONS",
        title: "Chunk extensions too large",
        detail: "send none",
      };
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return {
        status: 408,
        code: "E_REQUEST_TIMEOUT",
        title: "Request too slow",
        detail: "send the whole request sooner",
      };
    default:
      return {
        status: 400,
        code: "E_NOT_HTTP",
        title: "Not HTTP",
        detail: "what was sent cannot be read as an HTTP/1.1 request",
      };
  }
}

function rawAnswer(problem: Problem): string {
  const text = problemText(problem);
  return (
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\nconnection: close\r\n` +
    `content-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
  );
}
