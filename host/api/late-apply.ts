import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { BodyReader } from "../ingest/body.ts";
import { refuseUnread } from "../ingest/refuse-unread.ts";
import type { Engine } from "../pipeline/engine.ts";
import { correctionTask } from "./correction-task.ts";
import { badStreamName, isStreamName, type Problem, unavailable, unknownStream } from "./problem.ts";
import type { HistoryReads } from "./reads.ts";
import { requestSchemas } from "./request-schemas.ts";
import type { LateApplyAnswer } from "./schemas.ts";
import { settleInTime } from "./settle.ts";

const MAX_BYTES = 4_096;
/** Steps of one request: each reads the blocks of the windows it corrects, on the thread that serves other reads. */
const STEPS = 8;

export interface LateApplyParts {
  readonly engine: Engine;
  readonly reads: HistoryReads;
  readonly bodies: BodyReader;
}

type Handler = (context: Context<{ Bindings: HttpBindings }>) => Promise<Response>;

/**
 * `POST /v1/streams/{stream}/late/apply`: corrects the windows that late events belong to; answered once the new
 * revisions are durable. One at a time, so that none is computed from what another is about to change.
 */
export function lateApply({ engine, reads, bodies }: LateApplyParts): Handler {
  let before: Promise<unknown> = Promise.resolve();
  return async (context) => {
    const { incoming } = context.env;
    const refuse = (problem: Problem): Response => refuseUnread(incoming, problem, MAX_BYTES);
    const stream = context.req.param("stream") ?? "";
    if (!isStreamName(stream)) return refuse(badStreamName);
    const full = engine.admits(0);
    if (full?.kind === "overloaded") return refuse(unavailable(full));
    if (engine.status().backfills > 0) return refuse(isBackfilling);
    const read = await bodies.read(incoming, MAX_BYTES);
    const parsed =
      read.kind === "read" ? requestSchemas.LateApplyRequest.safeParse(parseJson(read.body)) : undefined;
    if (parsed?.success !== true) return refuse(badRequest);
    const { clockSkew = false, after = null } = parsed.data;
    const turn = before.then(() => applyLate(engine, reads, stream, clockSkew, after));
    before = turn.catch(() => undefined);
    const answer = await turn;
    return "status" in answer ? refuse(answer) : context.json(answer);
  };
}

async function applyLate(
  engine: Engine,
  reads: HistoryReads,
  stream: string,
  includesSkewed: boolean,
  after: number | null,
): Promise<LateApplyAnswer | Problem> {
  if (engine.stream(stream) === null) return unknownStream(stream);
  const answer: LateApplyAnswer = {
    applied: 0,
    revisions: 0,
    waiting: 0,
    unreadable: 0,
    refused: [],
    next: after,
  };
  for (let step = 0; step < STEPS; step++) {
    const selection = { stream, includesSkewed, afterId: answer.next ?? 0 };
    const task = await correctionTask(engine, reads, selection);
    // After the clocks were read: what they have closed has then given all results of its own, and these are stored.
    if (!(await settleInTime(engine))) return notSettled;
    const { rows, lateIds, events, ...done } = await reads.correct(task);
    if (rows.length > 0 || lateIds.length > 0) await engine.correct(stream, rows, lateIds);
    answer.applied += events;
    answer.revisions += rows.length;
    answer.waiting += done.waitingEvents;
    answer.unreadable += done.unreadableEvents;
    answer.refused = [...done.refused];
    answer.next = done.nextId;
    if (done.nextId === null) break;
  }
  return answer;
}

/** No body is an empty object: every setting has a default. */
function parseJson(bytes: Uint8Array): unknown {
  if (bytes.byteLength === 0) return {};
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return undefined;
  }
}

const badRequest: Problem = {
  status: 400,
  code: "E_LATE_APPLY",
  title: "Bad request",
  detail: 'send nothing, or {"clockSkew": true} to take clock-skewed events in, or {"after": N} to go on',
};

/** What it has read of results that are corrected afterwards would stay as it was. */
const isBackfilling: Problem = {
  status: 503,
  code: "E_BACKFILLING",
  title: "A backfill is under way",
  detail: "late events are applied once no query reads stored events; see backfill of GET /v1/queries",
  headers: { "retry-after": "5" },
};

const notSettled: Problem = {
  status: 503,
  code: "E_NOT_SETTLED",
  title: "Not up to date",
  detail: "windows do not keep up with what was acknowledged; ask again later, and see the node's log",
  headers: { "retry-after": "5" },
};
