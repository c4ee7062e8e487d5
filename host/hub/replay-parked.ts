import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import { adminRefusal } from "../api/admin.ts";
import { type Problem, problemResponse } from "../api/problem.ts";
import type { HubConfig } from "./hub-config.ts";
import type { HubMetrics } from "./hub-metrics.ts";
import type { HubStore } from "./hub-store.ts";
import { isAtFault } from "./jetstream-intake.ts";

/** Parked batches that one call tries; the answer says whether there are more. */
const TRIED_AT_ONCE = 1_000;

const badId: Problem = {
  status: 400,
  code: "E_BAD_REQUEST",
  title: "Bad request",
  detail: "id must be that of a parked batch, as GET /v1/dlq lists it: a whole number",
};

/**
 * `POST /v1/dlq/replay`: parked batches are taken as if they came again, of one edge (`edge`), one of them (`id`), or all from
 * `after` on. What is taken is parked no more; what is refused stays, with the reason of now.
 */
export function replayParked(parts: {
  readonly config: Pick<HubConfig, "adminToken">;
  readonly store: HubStore;
  readonly metrics: HubMetrics;
  readonly log: Logger;
}): (context: Context<{ Bindings: HttpBindings }>) => Promise<Response> {
  const { config, store, metrics, log } = parts;
  return async (context) => {
    const refusal = adminRefusal(context.env.incoming, config.adminToken);
    if (refusal !== null) return problemResponse(refusal);
    const [id, after] = ["id", "after"].map((name) => wholeOf(context.req.query(name))) as [Whole, Whole];
    if (id === "bad" || after === "bad") return problemResponse(badId);
    const done = { taken: 0, stored: 0, refused: 0 };
    let last = id === null ? (after ?? 0) : id - 1;
    const answer = (next: number | null): Response => {
      log.info({ ...done, last }, "parked batches were tried again");
      return context.json({ ...done, next });
    };
    for (let tried = 0; tried < TRIED_AT_ONCE; tried++) {
      const batch = await store.nextParked({ edge: context.req.query("edge") ?? null, after: last });
      if (batch === null || (id !== null && batch.id !== id)) return answer(null);
      last = batch.id;
      try {
        const { edge, key, body } = batch;
        const { stored, isDuplicate, news } = await store.receive({
          edge,
          key,
          body: new Uint8Array(body).buffer,
        });
        metrics.batches.inc({ outcome: isDuplicate ? "duplicate" : "stored" });
        metrics.stored.inc(stored);
        metrics.refusedAttributes.inc(news.refusedAttributes);
        await store.settleParked(batch.id, null);
        done.taken++;
        done.stored += stored;
      } catch (cause) {
        if (!(cause instanceof MillraceError && isAtFault(cause.code))) throw cause;
        await store.settleParked(batch.id, { code: cause.code, detail: cause.message });
        done.refused++;
      }
    }
    return answer(last);
  };
}

type Whole = number | null | "bad";

function wholeOf(text: string | undefined): Whole {
  if (text === undefined) return null;
  return /^\d{1,15}$/.test(text) ? Number(text) : "bad";
}
