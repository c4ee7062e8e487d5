import * as z from "zod";
import { duration, size } from "./measures.ts";

/** The form of `sync.sinks`: each names one kind of place, and how that is reached. */

const KINDS = ["file", "nats", "postgres", "s3", "kafka"] as const;
const KINDS_MESSAGE =
  "must say where it is, once; write one of file, nats, postgres, s3 or kafka, like { file: /var/lib/archive }";
const NATS_SUBJECT = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;
const BROKER = /^(\[[0-9a-fA-F:.]+\]|[^:\s/]+):\d{1,5}$/;
const SINK_NAME = /^[a-z][a-z0-9_-]{0,31}$/;

const filled = (what: string) => z.string(`must be ${what}`).min(1, `must be ${what}`);
const address = (protocols: RegExp, example: string) => {
  const message = `must be an address; write it like ${example}`;
  return z
    .string(message)
    .refine((text) => URL.canParse(text) && protocols.test(new URL(text).protocol), message);
};

const dir = filled("a directory").describe("The directory. It is made where there is none.");
const natsUrl = address(/^(nats|tls|ws|wss):$/, "nats://127.0.0.1:4222").describe("The server's address.");
const postgresUrl = address(/^postgres(ql)?:$/, "postgres://millrace:…@127.0.0.1:5432/factory").describe(
  "The database's address, with user and password.",
);
const yes = z.boolean("must be true or false");

const file = z.strictObject({
  dir,
  format: z.enum(["ndjson", "parquet"], "must be ndjson or parquet").optional().describe("Default: ndjson."),
  compress: z
    .enum(["zstd", "none"], "must be zstd or none")
    .optional()
    .describe("Of NDJSON. Default: zstd. Parquet is in zstd always."),
});

/** Of the stream that is made. A hub makes the same. */
export const natsRetention = z
  .enum(["work-queue", "limits"], "must be work-queue or limits")
  .optional()
  .describe("Of a stream that is made: what was read goes, or stays until maxAge. Default: work-queue.");
export const natsMaxBytes = size(16 * 1024, 1024 ** 5)
  .optional()
  .describe("Of a stream that is made; beyond it batches wait at the edge. Default: 1GiB.");
export const natsMaxAge = duration(60e6)
  .optional()
  .describe(
    "Of a stream that is made; what nobody read by then is lost. Default: none; 7d where retention is limits.",
  );

const nats = z.strictObject({
  url: natsUrl,
  stream: z
    .string("must be a stream's name")
    .regex(/^[A-Za-z0-9_-]{1,128}$/, "must be 1 to 128 letters, digits, _ or -")
    .optional()
    .describe("Of JetStream. Default: MILLRACE."),
  subject: z
    .string("must be a subject")
    .regex(NATS_SUBJECT, "must be a subject without wildcards; write it like millrace.sync")
    .optional()
    .describe("What is published is under it and the edge's name. Default: millrace.sync."),
  create: yes.optional().describe("Whether the stream is made where there is none. Default: true."),
  retention: natsRetention,
  maxBytes: natsMaxBytes,
  maxAge: natsMaxAge,
  user: filled("a text").optional(),
  password: filled("a text").optional(),
  token: filled("a text").optional(),
});

const postgres = z.strictObject({
  url: postgresUrl,
  schema: z
    .string("must be a schema's name")
    .regex(/^[a-z_][a-z0-9_]{0,62}$/, "must be 1 to 63 small letters, digits or _, and begin with no digit")
    .optional()
    .describe("Of the tables. Default: millrace."),
  create: yes.optional().describe("Whether schema and tables are made where there are none. Default: true."),
});

const s3 = z.strictObject({
  endpoint: address(/^https?:$/, "http://127.0.0.1:9000")
    .optional()
    .describe("Default: that of AWS in the region."),
  bucket: filled("a bucket's name").regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "must be a bucket's name"),
  prefix: z
    .string("must be a text")
    .regex(/^[^/].*[^/]$|^[^/]?$/, "must neither begin nor end with /")
    .optional()
    .describe("In front of every object's name. Default: nothing."),
  region: filled("a region").optional().describe("Default: us-east-1."),
  accessKey: filled("a text"),
  secretKey: filled("a text"),
  sessionToken: filled("a text").optional(),
  format: z.enum(["parquet", "ndjson"], "must be parquet or ndjson").optional().describe("Default: parquet."),
});

const kafka = z.strictObject({
  brokers: z
    .array(z.string().regex(BROKER, "must be HOST:PORT; write it like 127.0.0.1:9092"), "must be a list")
    .min(1, "must have one at least")
    .max(32, "must have 32 at most"),
  topic: z
    .string("must be a topic's name")
    .regex(/^[A-Za-z0-9._-]{1,249}$/, "must be 1 to 249 letters, digits, . _ or -"),
  format: z
    .enum(["ndjson", "batch"], "must be ndjson or batch")
    .optional()
    .describe("A record for each row, or for each batch as hubs take it. Default: ndjson."),
  tls: yes.optional().describe("Default: false."),
  sasl: z
    .strictObject({
      mechanism: z
        .enum(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], "must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
        .optional()
        .describe("Default: PLAIN."),
      username: filled("a text"),
      password: filled("a text"),
    })
    .optional(),
});

/** `options` are those of every delivery: batches, retries and so on. */
export function sinksSchema<T extends z.ZodRawShape>(options: T) {
  const names = (what: string) =>
    z.array(filled("a name"), "must be a list").min(1, "must have one at least").optional().describe(what);
  const sink = z
    .strictObject({
      file: z
        .union([dir, file], "must be a directory, or { dir: … }")
        .optional()
        .describe("Files in a directory."),
      nats: z
        .union([natsUrl, nats], "must be an address, or { url: … }")
        .optional()
        .describe("NATS JetStream."),
      postgres: z
        .union([postgresUrl, postgres], "must be an address like postgres://…, or { url: … }")
        .optional()
        .describe("PostgreSQL."),
      s3: s3.optional().describe("Objects of S3, or of what speaks like it."),
      kafka: kafka.optional().describe("A topic of Kafka."),
      streams: names("Streams whose events it gets. Default: all."),
      queries: names("Queries whose results it gets. Default: all."),
      send: z
        .array(
          z.enum(
            ["alerts", "losses", "attributes", "results", "events"],
            "must be alerts, losses, attributes, results or events",
          ),
          "must be a list",
        )
        .min(1, "must have one at least")
        .optional()
        .describe("What it gets. Default: all."),
      ...options,
    })
    .refine((value) => countOf(value) === 1, KINDS_MESSAGE);
  return z
    .record(
      z
        .string()
        .regex(SINK_NAME, "must be 1 to 32 small letters, digits, _ or -, and begin with a letter")
        .refine((text) => text !== "hub", "must not be hub; that is the one of sync.url"),
      sink,
    )
    .refine((sinks) => Object.keys(sinks).length <= 16, "must have 16 at most")
    .describe("Further places that get everything, each at its own pace.");
}

function countOf(sink: object): number {
  const given = sink as Readonly<Record<string, unknown>>;
  return KINDS.filter((kind) => given[kind] !== undefined).length;
}

/** What a sink says of itself, without how it is sent. */
export interface SinkFile {
  readonly file?: string | z.output<typeof file> | undefined;
  readonly nats?: string | z.output<typeof nats> | undefined;
  readonly postgres?: string | z.output<typeof postgres> | undefined;
  readonly s3?: z.output<typeof s3> | undefined;
  readonly kafka?: z.output<typeof kafka> | undefined;
  readonly streams?: string[] | undefined;
  readonly queries?: string[] | undefined;
  readonly send?: ("alerts" | "losses" | "attributes" | "results" | "events")[] | undefined;
}
