import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import type { Cleanup } from "../support/temp-dir.ts";

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
  /** Cuts the connection instead of answering. */
  readonly isCut?: boolean;
}

/** A server that answers as it is told and remembers what it was asked. */
export class StandIn {
  readonly requests: Seen[] = [];
  url = "";
  readonly #reply: (seen: Seen, index: number) => Reply;

  private constructor(reply: (seen: Seen, index: number) => Reply) {
    this.#reply = reply;
  }

  static async start(reply: (seen: Seen, index: number) => Reply, cleanup: Cleanup): Promise<StandIn> {
    const standIn = new StandIn(reply);
    const server = createServer((request, response) => void standIn.#serve(request, response));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    standIn.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    cleanup.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return standIn;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = "", url = "", headers } = request;
    const seen = { method, path: url, headers, body: Buffer.concat(chunks).toString() };
    const reply = this.#reply(seen, this.requests.push(seen) - 1);
    if (reply.isCut) request.socket.destroy();
    else response.writeHead(reply.status ?? 200, reply.headers).end(reply.body);
  }
}

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the real command line in a process of its own. */
export function millrace(
  args: readonly string[],
  input: string | Buffer = "",
  environment = {},
): Promise<Run> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [join(REPOSITORY_ROOT, "host/cli/bin.js"), ...args],
      { cwd: REPOSITORY_ROOT, env: { ...process.env, ...environment } },
      (_, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
    );
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}
