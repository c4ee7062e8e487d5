import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { EdgeNews } from "../../workers/hub/edge-news.ts";
import type { ReceivedBatch } from "../../workers/hub/read-batch.ts";
import { BATCH_VERSION, BATCH_VERSION_HEADER } from "../../workers/sync/batch-version.ts";
import type { Problem } from "../api/problem.ts";
import type { BodyReader } from "../ingest/body.ts";
import { announcedBytes, ownBuffer } from "../ingest/body.ts";
import { refuseUnread } from "../ingest/refuse-unread.ts";
import { callerOf, checkEdge, hopsOf } from "./edge-guard.ts";
import type { HubConfig } from "./hub-config.ts";
import type { HubMetrics } from "./hub-metrics.ts";
import { NEWS_HEADER, newsAnswer } from "./news-answer.ts";

export interface PostSyncParts {
  readonly config: Pick<HubConfig, "tokens" | "relays" | "limits">;
  readonly store: {
    receive(
      batch: ReceivedBatch & { readonly hops: readonly string[] },
    ): Promise<{ readonly stored: number; readonly isDuplicate: boolean; readonly news?: EdgeNews }>;
  };
  readonly bodies: BodyReader;
  readonly metrics: Pick<HubMetrics, "batches" | "stored" | "wireBytes" | "watchQueue"> &
    Partial<Pick<HubMetrics, "refusedAttributes">>;
  /** Why a batch that came over these relays is not taken; null: it is. */
  readonly refuseWay?: (edge: string, hops: readonly string[]) => Problem | null;
  /** The latest version of batches that is read where they end up; left out: here, so the latest. */
  readonly batchVersion?: () => number;
  readonly log: Logger;
}

const KEY = /^[0-9a-f]{16,64}$/;
/** What is said of a batch: 413 and 422 when it would be refused again, 400 when it may be taken as it is another time. */
const REFUSALS: Readonly<Record<string, number>> = {
  E_BATCH_TOO_LARGE: 413,
  E_BAD_BLOCK: 422,
  E_BATCH_CORRUPT: 422,
  // A later release of the hub takes it.
  E_BATCH_VERSION: 400,
  // Cut off or damaged on the way, most likely: to be sent again.
  E_EDGE_NAME: 400,
  E_IDEMPOTENCY_KEY: 400,
  E_BATCH_MAGIC: 400,
  E_BATCH_TRUNCATED: 400,
  E_BATCH_CHECKSUM: 400,
  E_ZSTD: 400,
};
const RETRY_AFTER_SECONDS = 2;

/** `POST /v1/sync`: takes a batch, and answers once it is fsynced. */
export function postSync(
  parts: PostSyncParts,
): (context: Context<{ Bindings: HttpBindings }>) => Promise<Response> {
  const { config, store, bodies, metrics, log } = parts;
  const { maxBatchBytes, maxQueuedBytes } = config.limits;
  let queuedBytes = 0;
  metrics.watchQueue(() => queuedBytes + bodies.heldBytes);
  return async (context) => {
    const { incoming } = context.env;
    const refuse = (problem: Problem): Response => {
      metrics.batches.inc({ outcome: problem.code });
      return refuseUnread(incoming, problem, maxBatchBytes);
    };
    const { headers } = incoming;
    const caller = callerOf(incoming);
    const checked = checkEdge(config, caller);
    if (!checked.ok) return refuse(checked.problem);
    const hops = hopsOf(caller.via);
    const wrongWay = parts.refuseWay?.(checked.edge, hops) ?? null;
    if (wrongWay !== null) return refuse(wrongWay);
    const key = headers["idempotency-key"];
    if (typeof key !== "string" || !KEY.test(key)) return refuse(badKey);
    if ((announcedBytes(incoming) ?? 0) > maxBatchBytes) return refuse(tooLarge(maxBatchBytes));
    if (queuedBytes + bodies.heldBytes > maxQueuedBytes) return refuse(busy("too many batches wait"));
    const read = await bodies.read(incoming, maxBatchBytes);
    switch (read.kind) {
      case "too-large":
        return refuse(tooLarge(maxBatchBytes));
      case "no-room":
        return refuse(busy("too many batches wait"));
      case "stalled":
      case "aborted":
        return refuse(unfinished);
      case "read":
        break;
    }
    const bytes = read.body.byteLength;
    queuedBytes += bytes;
    try {
      const received = await store.receive({
        edge: checked.edge,
        key,
        body: ownBuffer(read.body),
        hops,
      });
      const { stored, isDuplicate, news } = received;
      metrics.batches.inc({ outcome: isDuplicate ? "duplicate" : "stored" });
      metrics.stored.inc(stored);
      metrics.wireBytes.inc(bytes);
      metrics.refusedAttributes?.inc(news?.refusedAttributes ?? 0);
      const isAsked = news !== undefined && headers[NEWS_HEADER] !== undefined;
      const told = isAsked ? newsAnswer(news, config.limits, Date.now()) : {};
      const version = String(parts.batchVersion?.() ?? BATCH_VERSION);
      return context.json({ stored, duplicate: isDuplicate, ...told }, 200, {
        [BATCH_VERSION_HEADER]: version,
      });
    } catch (cause) {
      const problem = explain(cause);
      log.warn(
        { edge: checked.edge, key, code: problem.code, detail: problem.detail },
        "a batch was not taken",
      );
      return refuse(problem);
    } finally {
      queuedBytes -= bytes;
    }
  };
}

function explain(cause: unknown): Problem {
  const code = cause instanceof MillraceError ? cause.code : "E_INTERNAL";
  const detail = cause instanceof Error ? cause.message : String(cause);
  const status = REFUSALS[code];
  if (status !== undefined) return { status, code, title: "Batch not taken", detail };
  return { ...busy(detail), code };
}

const badKey: Problem = {
  status: 400,
  code: "E_IDEMPOTENCY_KEY",
  title: "Bad idempotency key",
  detail: "the header Idempotency-Key must be the batch's key: 16 to 64 hexadecimal digits",
};

const unfinished: Problem = {
  status: 400,
  code: "E_BODY_CUT",
  title: "Batch not complete",
  detail: "the connection ended, or stood still, before the batch was there; send it again",
};

function tooLarge(maxBytes: number): Problem {
  const detail = `a batch has at most ${maxBytes} bytes (limits.maxBatch); send smaller ones`;
  return { status: 413, code: "E_BATCH_TOO_LARGE", title: "Batch too large", detail };
}

function busy(detail: string): Problem {
  const headers = { "retry-after": String(RETRY_AFTER_SECONDS) };
  return { status: 503, code: "E_UNAVAILABLE", title: "Unavailable", detail, headers };
}
