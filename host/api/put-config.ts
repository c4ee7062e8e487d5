import { createHash, timingSafeEqual } from "node:crypto";
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { BodyReader } from "../ingest/body.ts";
import { refuseUnread } from "../ingest/refuse-unread.ts";
import type { Reloader } from "../pipeline/reloader.ts";
import type { Problem } from "./problem.ts";
import type { ReloadAnswer } from "./schemas.ts";

const MAX_BYTES = 1024 * 1024;
const LOOPBACK = /^(::ffff:)?127\.|^::1$/;

export interface PutConfigParts {
  readonly reloader: Pick<Reloader, "put">;
  readonly adminToken: string | null;
}

type Handler = (context: Context<{ Bindings: HttpBindings }>) => Promise<Response>;

/** `PUT /v1/config`: answered once the whole of it is in force; or nothing has changed. */
export function putConfig({ reloader, adminToken }: PutConfigParts): Handler {
  const bodies = new BodyReader({ maxHeldBytes: 4 * MAX_BYTES });
  return async (context) => {
    const { incoming } = context.env;
    const refuse = (problem: Problem): Response => refuseUnread(incoming, problem, MAX_BYTES);
    if (adminToken === null) {
      if (!LOOPBACK.test(incoming.socket.remoteAddress ?? "")) return refuse(notLocal);
    } else if (!isToken(incoming.headers.authorization ?? "", adminToken)) return refuse(noToken);
    const read = await bodies.read(incoming, MAX_BYTES);
    if (read.kind !== "read") return refuse(read.kind === "too-large" ? tooLarge : unread);
    const answer = await reloader.put(Buffer.from(read.body).toString());
    if (!answer.ok) {
      const errors = answer.problems.map(({ line, path, message, fix }) => ({
        line,
        path,
        message: fix === null ? message : `${message}; ${fix}`,
      }));
      return refuse({ ...invalid, errors });
    }
    const { version, added, changed, removed, backfilling } = answer.outcome;
    return context.json({
      version,
      added: [...added],
      changed: [...changed],
      removed: [...removed],
      backfilling: [...backfilling],
    } satisfies ReloadAnswer);
  };
}

/** Takes as long whatever is wrong. */
function isToken(header: string, token: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(header), digest(`Bearer ${token}`));
}

const notLocal: Problem = {
  status: 403,
  code: "E_ADMIN_LOCAL",
  title: "Only from this machine",
  detail:
    "without http.admin.token the configuration is changed from the node's own machine only; set a token",
};
const noToken: Problem = {
  status: 401,
  code: "E_ADMIN_TOKEN",
  title: "Not allowed",
  detail: "send Authorization: Bearer with the token of http.admin.token",
  headers: { "www-authenticate": "Bearer" },
};
const tooLarge: Problem = {
  status: 413,
  code: "E_TOO_LARGE",
  title: "Too large",
  detail: `a configuration has ${MAX_BYTES} bytes at most`,
};
const unread: Problem = {
  status: 400,
  code: "E_CONFIG",
  title: "Bad request",
  detail: "the document did not come whole; send it again",
};
const invalid: Problem = {
  status: 422,
  code: "E_CONFIG",
  title: "Invalid configuration",
  detail: "nothing was changed; errors names each problem with its line and what to do",
};
