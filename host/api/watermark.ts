import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { z } from "zod";
import { readBody } from "../ingest/body.ts";
import type { Engine } from "../pipeline/engine.ts";
import { problemResponse } from "./problem.ts";
import { formatTime } from "../../workers/time-format.ts";
import { parseTime } from "./times.ts";

const MAX_BYTES = 4_096;

const body = z.union([z.strictObject({ time: z.union([z.string(), z.int()]) }), z.strictObject({ end: z.literal(true) })]);

/** `POST /v1/streams/{stream}/watermark`: answered once what it fires is durable. */
export async function postWatermark(context: Context<{ Bindings: HttpBindings }>, engine: Engine): Promise<Response> {
  const read = await readBody(context.env.incoming, MAX_BYTES);
  const parsed = read.kind === "read" ? body.safeParse(parseJson(read.body)) : null;
  if (parsed === null || !parsed.success) return refuse('send {"time": "2026-01-01T00:00:00Z"} or {"end": true}');
  const time = "end" in parsed.data ? "end" : parseTime(parsed.data.time);
  if (time === null) return refuse("time is neither an ISO 8601 time nor epoch microseconds");
  const stream = context.req.param("stream") ?? "";
  const moved = await engine.advanceWatermark(stream, time);
  if (moved === null) {
    const detail = `there is no stream ${stream}; GET /v1/streams lists them`;
    return problemResponse({ status: 404, code: "E_UNKNOWN_STREAM", title: "Unknown stream", detail });
  }
  return context.json({ watermark: moved.watermarkUs === null ? null : formatTime(moved.watermarkUs) });
}

function parseJson(bytes: ArrayBuffer): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return undefined;
  }
}

function refuse(detail: string): Response {
  return problemResponse({ status: 400, code: "E_WATERMARK", title: "Bad watermark", detail });
}
