import { z } from "zod";
import { parseSelect } from "./select.ts";
import { parseDurationUs, parseSizeBytes } from "./units.ts";

/** The configuration file's form. Unknown keys are refused; times and sizes come out in µs and bytes. */

const NAME = /^[A-Za-z0-9_.-]{1,128}$/;
const name = z.string().regex(NAME, "must be 1 to 128 letters, digits, _ . or -");

const duration = z
  .string()
  .refine((text) => parseDurationUs(text) !== null, "must be a duration such as 250ms, 5s, 5m, 1h or 7d")
  .transform((text) => parseDurationUs(text) ?? 0);
const positiveDuration = duration.refine((us) => us > 0, "must be longer than nothing");
const size = z
  .string()
  .refine((text) => parseSizeBytes(text) !== null, "must be a size such as 64KiB, 16MiB or 10GiB")
  .transform((text) => parseSizeBytes(text) ?? 0);
const listen = z
  .string()
  .refine((text) => parseListen(text) !== null, "must be HOST:PORT, such as 127.0.0.1:7070")
  .transform((text) => parseListen(text) ?? { host: "", port: 0 });

const stream = z.strictObject({
  key: z.string().min(1).optional(),
  time: z
    .strictObject({
      field: z.string().min(1).optional(),
      unit: z.enum(["auto", "iso", "s", "ms", "us", "ns"]).optional(),
    })
    .optional(),
  fields: z.record(z.string().min(1), z.enum(["bool", "int", "float", "string"])).optional(),
  extra: z.enum(["keep", "drop", "reject"]).optional(),
  watermark: z
    .strictObject({
      bound: duration.optional(),
      per: z.literal("stream", "only `stream` is supported by this release").optional(),
      idle: positiveDuration.optional(),
      maxAhead: duration.optional(),
    })
    .optional(),
  lateness: duration.optional(),
  priority: z.int().min(0).max(9).optional(),
});

const select = z.string().transform((text, context) => {
  const parsed = parseSelect(text);
  if (typeof parsed !== "string") return parsed;
  context.addIssue({ code: "custom", message: parsed });
  return z.NEVER;
});

const query = z.strictObject({
  from: name,
  window: z.strictObject({ tumbling: positiveDuration, offset: duration.optional() }),
  by: z.array(z.string().min(1)).max(16).optional(),
  select: z.record(name, select).refine((items) => Object.keys(items).length > 0, "must select something"),
});

export const configFile = z.strictObject({
  node: z.strictObject({ id: name.optional() }).optional(),
  data: z.string().min(1).optional(),
  http: z.strictObject({ listen: listen.optional() }).optional(),
  streams: z.record(name, z.union([stream, z.null().transform(() => ({}) as z.infer<typeof stream>)])).optional(),
  queries: z.record(name, query).optional(),
  checkpoint: z.strictObject({ every: positiveDuration.optional() }).optional(),
  durability: z.strictObject({ groupCommit: duration.optional() }).optional(),
  workers: z.strictObject({ ingest: z.int().min(1).max(64).optional() }).optional(),
  limits: z
    .strictObject({
      maxBody: size.optional(),
      maxQueuedBytes: size.optional(),
      maxQueuedRequests: z.int().min(1).optional(),
      maxStreams: z.int().min(1).optional(),
      maxLiveClients: z.int().min(1).optional(),
    })
    .optional(),
});

export type ConfigFile = z.output<typeof configFile>;

/** `HOST:PORT`, with `[…]` around an IPv6 address; null when it is none. */
export function parseListen(text: string): { host: string; port: number } | null {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) return null;
  return { host: match[1]!.replace(/^\[|\]$/g, ""), port };
}
