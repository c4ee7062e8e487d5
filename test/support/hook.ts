import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Cleanup } from "./temp-dir.ts";

export interface HookPost {
  readonly key: string;
  readonly type: string;
  readonly body: string;
}

/** How a receiver answers: a status, or not as a server should. */
export type HookAnswer = number | "hang" | "cut" | ((response: ServerResponse) => void);

export interface Hook {
  readonly url: string;
  /** Whole posts in the order of their coming. */
  readonly posts: HookPost[];
  /** Connections' worth of posts under way at once, at most. */
  most: number;
  answer: (post: HookPost, index: number) => HookAnswer;
}

/** A real receiver of webhooks. */
export async function startHook(context: Cleanup): Promise<Hook> {
  let underWay = 0;
  const server = createServer((request, response) => {
    underWay++;
    hook.most = Math.max(hook.most, underWay);
    response.on("close", () => underWay--);
    void readBody(request).then((body) => {
      const post = {
        key: String(request.headers["idempotency-key"]),
        type: String(request.headers["content-type"]),
        body,
      };
      hook.posts.push(post);
      const answer = hook.answer(post, hook.posts.length - 1);
      if (answer === "cut") request.socket.destroy();
      else if (typeof answer === "function") answer(response);
      else if (answer !== "hang") response.writeHead(answer).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const hook: Hook = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    posts: [],
    most: 0,
    answer: () => 200,
  };
  return hook;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

const PATIENCE_MS = 300_000;

/** Waits until it holds; fails after five minutes, which no machine takes that does what it should. */
export async function eventually(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within five minutes`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
