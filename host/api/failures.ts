import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { Problem } from "./problem.ts";
import { badCursor } from "./query-parameters.ts";

export type Explain = (cause: unknown, path: string) => Problem;

/** Makes the answer of a request that failed, and has the log tell of it. */
export function explainFailures(log: Logger): Explain {
  return (cause, path) => {
    if (cause instanceof MillraceError && cause.code === "E_CURSOR") return badCursor(cause.message);
    log.error({ err: cause, path }, "a request failed");
    return failure(cause);
  };
}

function failure(cause: unknown): Problem {
  if (cause instanceof MillraceError && /^E_(STORE|DISK|WINDOWS)_/.test(cause.code)) {
    const headers = { "retry-after": "2" };
    return { status: 503, code: "E_UNAVAILABLE", title: "Unavailable", detail: cause.message, headers };
  }
  const detail = "the node failed to answer; its log says why";
  return { status: 500, code: "E_INTERNAL", title: "Internal error", detail };
}
