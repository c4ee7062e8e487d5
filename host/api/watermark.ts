import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { formatTime } from "../../workers/time-format.ts";
import type { BodyReader } from "../ingest/body.ts";
import { refuseUnread } from "../ingest/refuse-unread.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Engine } from "../pipeline/engine.ts";
import { badStreamName, isStreamName, type Problem, unavailable, unknownStream } from "./problem.ts";
import { requestSchemas } from "./request-schemas.ts";
import { settleInTime } from "./settle.ts";
import { parseTime } from "./times.ts";

const MAX_BYTES = 4_096;

export interface WatermarkParts {
  readonly engine: Engine;
  readonly bodies: BodyReader;
  readonly metrics: Pick<Metrics, "refusedBodies">;
}

/** `POST /v1/streams/{stream}/watermark`: answered once what it fires is durable. */
export async function postWatermark(
  context: Context<{ Bindings: HttpBindings }>,
  { engine, bodies, metrics }: WatermarkParts,
): Promise<Response> {
  const { incoming } = context.env;
  const refuse = (problem: Problem): Response => refuseUnread(incoming, problem, MAX_BYTES);
  const stream = context.req.param("stream") ?? "";
  if (!isStreamName(stream)) return refuse(badStreamName);
  const full = engine.admits(0);
  if (full?.kind === "overloaded") return refuse(unavailable(full));
  const read = await bodies.read(incoming, MAX_BYTES);
  const parsed =
    read.kind === "read" ? requestSchemas.WatermarkRequest.safeParse(parseJson(read.body)) : null;
  if (parsed === null || !parsed.success) {
    return refuse(badWatermark('send {"time": "2026-01-01T00:00:00Z"} or {"end": true}'));
  }
  const time = "end" in parsed.data ? "end" : parseTime(parsed.data.time);
  if (time === null) return refuse(badWatermark("time is neither an ISO 8601 time nor epoch microseconds"));
  if (time !== "end" && time > latestWatermarkUs(engine, stream)) {
    metrics.refusedBodies.inc({ code: "E_WATERMARK_AHEAD" });
    return refuse(tooFarAhead(time, latestWatermarkUs(engine, stream)));
  }
  const moved = await engine.advanceWatermark(stream, time);
  if (moved === null) return refuse(unknownStream(stream));
  await settleInTime(engine);
  // Settling may have moved it on.
  const { watermarkUs } = engine.stream(stream) ?? moved;
  return context.json({ watermark: watermarkUs === null ? null : formatTime(watermarkUs) });
}

/** A watermark never goes back, so one far ahead would make every event late for ever. µs. */
function latestWatermarkUs(engine: Engine, name: string): number {
  const { maxWatermarkAheadUs } = engine.config().limits;
  return Math.max(Date.now() * 1_000, engine.stream(name)?.maxEventTimeUs ?? 0) + maxWatermarkAheadUs;
}

function tooFarAhead(timeUs: number, latestUs: number): Problem {
  const detail =
    `${formatTime(timeUs)} is more than limits.maxWatermarkAhead ahead of the clock and of the newest event` +
    ` (until ${formatTime(latestUs)}); a watermark never goes back. To close all windows send {"end": true}`;
  return { status: 400, code: "E_WATERMARK_AHEAD", title: "Watermark too far ahead", detail };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return undefined;
  }
}

function badWatermark(detail: string): Problem {
  return { status: 400, code: "E_WATERMARK", title: "Bad watermark", detail };
}
