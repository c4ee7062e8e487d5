import { z } from "zod";

const time = z.string().describe("ISO 8601 in UTC");
const lineError = z.object({ line: z.int(), path: z.string(), message: z.string() });

const schemas = {
  IngestAnswer: z.object({
    accepted: z.int().describe("events that are durable"),
    deadLettered: z.int().describe("lines set aside"),
    duplicate: z.boolean().describe("the idempotency key was known; nothing was written"),
    errors: z.array(lineError).max(10),
  }),
  Problem: z.object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    errors: z.array(lineError),
  }),
  Watermark: z.union([
    z.object({ time: z.union([time, z.int().describe("epoch µs")]) }),
    z.object({ end: z.literal(true).describe("closes every open window") }),
  ]),
  Result: z.object({
    query: z.string(),
    window: z.object({ start: time, end: time }),
    key: z.record(z.string(), z.unknown()),
    values: z.record(z.string(), z.number().nullable()),
    revision: z.int(),
    kind: z.enum(["early", "on-time", "late"]),
  }),
  LateEvent: z.object({
    event: z.record(z.string(), z.unknown()),
    reason: z.enum(["late", "clock-skew"]),
    at: time,
  }),
  DeadLetter: z.object({
    stream: z.string(),
    at: time,
    line: z.int(),
    path: z.string(),
    code: z.string(),
    message: z.string(),
    text: z.string(),
  }),
  Loss: z.object({
    stream: z.string(),
    from: time,
    to: time,
    count: z.int(),
    bytes: z.int(),
    reason: z.string(),
    at: time,
  }),
} as const;

type SchemaName = keyof typeof schemas;

const reference = (name: SchemaName): object => ({ $ref: `#/components/schemas/${name}` });
const json = (schema: object): object => ({ "application/json": { schema } });
const ndjson = (name: SchemaName): object => ({ "application/x-ndjson": { schema: reference(name) } });
const problem = (description: string): object => ({
  description,
  content: { "application/problem+json": { schema: reference("Problem") } },
});
const ok = (description: string, content?: object): object => ({ description, ...(content && { content }) });

const parameter = (name: string, where: "path" | "query" | "header", description: string): object => ({
  name,
  in: where,
  required: where === "path",
  description,
  schema: { type: "string" },
});
const stream = parameter("stream", "path", "stream name");
const query = parameter("query", "path", "query name");
const paging = [
  parameter("limit", "query", "rows in a page, 1 to 100,000 (default 1,000)"),
  parameter("after", "query", "where the page starts: from the Link header of the one before"),
];
const range = [
  parameter("from", "query", "ISO 8601 or epoch µs, inclusive"),
  parameter("to", "query", "ISO 8601 or epoch µs, exclusive"),
  parameter("key", "query", "only this key"),
];

const paths = {
  "/v1/streams/{stream}/events": {
    post: {
      summary: "Send events; answered once they are fsynced",
      parameters: [
        stream,
        parameter("Idempotency-Key", "header", "a resend under the same key does not count twice"),
        parameter("Content-Encoding", "header", "gzip or zstd"),
      ],
      requestBody: {
        required: true,
        content: {
          "application/x-ndjson": { schema: { type: "string" } },
          "application/json": { schema: {} },
          "text/csv": { schema: { type: "string" } },
        },
      },
      responses: {
        200: ok("durable", json(reference("IngestAnswer"))),
        400: problem("empty or broken body"),
        404: problem("unknown stream"),
        413: problem("body too large"),
        415: problem("unknown content type or encoding"),
        422: problem("no line could be taken"),
        429: problem("full; see Retry-After"),
        503: problem("not available; see Retry-After"),
      },
    },
    get: {
      summary: "Stored events in the order of event time",
      parameters: [stream, ...range, ...paging],
      responses: { 200: ok("events, one JSON object a line"), 404: problem("unknown stream") },
    },
  },
  "/v1/streams/{stream}/watermark": {
    post: {
      summary: "Say that no earlier event is to come",
      parameters: [stream],
      requestBody: { required: true, content: json(reference("Watermark")) },
      responses: { 200: ok("the watermark now"), 400: problem("bad watermark"), 404: problem("unknown stream") },
    },
  },
  "/v1/streams": { get: { summary: "Streams with schema, rates, watermark, counts", responses: { 200: ok("streams") } } },
  "/v1/streams/{stream}": {
    get: { summary: "One stream", parameters: [stream], responses: { 200: ok("the stream"), 404: problem("unknown stream") } },
  },
  "/v1/streams/{stream}/late": {
    get: {
      summary: "Events set aside as too late or clock-skewed",
      parameters: [stream, ...paging],
      responses: { 200: ok("late events", ndjson("LateEvent")), 404: problem("unknown stream") },
    },
  },
  "/v1/queries": { get: { summary: "Queries, their definition and state", responses: { 200: ok("queries") } } },
  "/v1/queries/{query}": {
    get: { summary: "One query", parameters: [query], responses: { 200: ok("the query"), 404: problem("unknown query") } },
  },
  "/v1/queries/{query}/results": {
    get: {
      summary: "Results of closed windows",
      parameters: [
        query,
        ...range,
        parameter("kind", "query", "early, on-time or late"),
        parameter("revisions", "query", "latest (default) or all"),
        ...paging,
      ],
      responses: { 200: ok("results", ndjson("Result")), 404: problem("unknown query") },
    },
  },
  "/v1/queries/{query}/live": {
    get: {
      summary: "Results as server-sent events",
      parameters: [query],
      responses: { 200: ok("text/event-stream"), 404: problem("unknown query") },
    },
  },
  "/v1/dlq": {
    get: {
      summary: "Lines that could not be taken",
      parameters: [parameter("stream", "query", "only this stream"), ...paging],
      responses: { 200: ok("dead letters", ndjson("DeadLetter")) },
    },
  },
  "/v1/losses": {
    get: {
      summary: "The ledger of what was given up",
      parameters: [parameter("stream", "query", "only this stream"), ...paging],
      responses: { 200: ok("losses", ndjson("Loss")) },
    },
  },
  "/v1/status": { get: { summary: "How the node is, in one document", responses: { 200: ok("status") } } },
  "/v1/config": { get: { summary: "The configuration in force", responses: { 200: ok("configuration") } } },
  "/healthz": { get: { summary: "Alive", responses: { 200: ok("alive") } } },
  "/readyz": { get: { summary: "Ready to take events", responses: { 200: ok("ready"), 503: ok("not ready") } } },
  "/metrics": { get: { summary: "Prometheus metrics", responses: { 200: ok("text") } } },
} as const;

/** The OpenAPI 3.1 document. */
export function openApiDocument(): object {
  const components = Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => {
      const { $schema: _dialect, ...rest } = z.toJSONSchema(schema);
      return [name, rest];
    }),
  );
  return {
    openapi: "3.1.0",
    info: { title: "Millrace", version: "1", description: "Edge stream processor: events in, windows out." },
    paths,
    components: { schemas: components },
  };
}
