import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { explainKind } from "../../workers/query/correctable.ts";
import type { CorrectedQuery } from "../../workers/query/corrected-query.ts";
import type { CorrectionTask, LateSelection } from "../../workers/query/correction.ts";
import type { BodyReader } from "../ingest/body.ts";
import { refuseUnread } from "../ingest/refuse-unread.ts";
import type { Engine } from "../pipeline/engine.ts";
import { flatten, type QueryTree } from "../pipeline/query-tree.ts";
import { badStreamName, isStreamName, type Problem, unavailable, unknownStream } from "./problem.ts";
import type { HistoryReads } from "./reads.ts";
import { type LateApplyAnswer, schemas } from "./schemas.ts";
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
    const read = await bodies.read(incoming, MAX_BYTES);
    const parsed =
      read.kind === "read" ? schemas.LateApplyRequest.safeParse(parseJson(read.body)) : undefined;
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
    const task = await closedAt(engine, reads, selection);
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

/** A step's late events, the queries as they are now, and up to where their windows are closed. */
async function closedAt(
  engine: Engine,
  reads: HistoryReads,
  selection: LateSelection,
): Promise<CorrectionTask> {
  const trees = engine.queryTrees(selection.stream);
  const used = new Set(trees.flatMap(({ plan }) => plan.expressions?.tables ?? []));
  const tables = [...(engine.config().tables?.values() ?? [])].flatMap(({ data }) =>
    used.has(data.name) ? [data] : [],
  );
  const plans = trees.flatMap(({ plan }) =>
    plan.keyClock === undefined || explainKind(plan, false) !== null || plan.window.kind === "none"
      ? []
      : [plan],
  );
  const late = plans.length === 0 ? null : await reads.lateKeys({ ...selection, plans, tables });
  const asked = flatten(trees).map(({ plan: { id } }) => {
    const index = plans.findIndex((plan) => plan.id === id);
    return { queryId: id, keys: late?.keys[index] ?? null };
  });
  const closings = await engine.closings(asked);
  const byId = new Map(asked.map(({ queryId }, index) => [queryId, closings[index]!]));
  const place = ({ plan, results, above }: QueryTree): CorrectedQuery => ({
    plan,
    results,
    closing: byId.get(plan.id)!,
    above: above.map(place),
  });
  return { ...selection, queries: trees.map(place), untilId: late?.untilId ?? null, tables };
}

/** No body is an empty object: every setting has a default. */
function parseJson(bytes: ArrayBuffer): unknown {
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

const notSettled: Problem = {
  status: 503,
  code: "E_NOT_SETTLED",
  title: "Not up to date",
  detail: "windows do not keep up with what was acknowledged; ask again later, and see the node's log",
  headers: { "retry-after": "5" },
};
