import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { BodyReader } from "../ingest/body.ts";
import { refuseUnread } from "../ingest/refuse-unread.ts";
import type { ReloadOutcome } from "../pipeline/engine.ts";
import type { NamedChange } from "../pipeline/query-set.ts";
import type { Reloader } from "../pipeline/reloader.ts";
import { adminRefusal } from "./admin.ts";
import type { Problem } from "./problem.ts";
import type { ReloadAnswer } from "./schemas.ts";

const MAX_BYTES = 1024 * 1024;

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
    const refusal = adminRefusal(incoming, adminToken);
    if (refusal !== null) return refuse(refusal);
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
    return context.json(reloadAnswer(answer.outcome));
  };
}

function reloadAnswer({ version, backfilling, alerts, tables, ...queries }: ReloadOutcome): ReloadAnswer {
  return {
    version,
    ...names(queries),
    backfilling: [...backfilling],
    ...(alerts === undefined ? {} : { alerts: names(alerts) }),
    ...(tables === undefined ? {} : { tables: names(tables) }),
  };
}

function names({ added, changed, removed }: NamedChange): Record<keyof NamedChange, string[]> {
  return { added: [...added], changed: [...changed], removed: [...removed] };
}

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
