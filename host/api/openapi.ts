import * as z from "zod";
import { MAX_DEVICES } from "./query-parameters.ts";
import { type SchemaName, schemas } from "./schemas.ts";

type Parameter = ReturnType<typeof parameter>;
type Content = Readonly<Record<string, { readonly schema: object }>>;

const reference = (name: SchemaName): object => ({ $ref: `#/components/schemas/${name}` });
const json = (name: SchemaName): Content => ({ "application/json": { schema: reference(name) } });
const ndjson = (name: SchemaName): Content => ({ "application/x-ndjson": { schema: reference(name) } });
const text = (type: string): Content => ({ [type]: { schema: { type: "string" } } });
const ok = (description: string, content: Content): object => ({ description, content });
const problem = (description: string): object => ({
  description,
  content: { "application/problem+json": { schema: reference("Problem") } },
});

const parameter = (
  name: string,
  where: "path" | "query" | "header",
  description: string,
  schema: object = {},
) =>
  ({
    name,
    in: where,
    required: where === "path",
    description,
    schema: { type: "string", ...schema },
  }) as const;

const stream = parameter("stream", "path", "stream name", { pattern: "^[A-Za-z0-9_.-]{1,128}$" });
const query = parameter("query", "path", "query name");
const device = parameter("device", "path", "device name, 256 bytes at most");
const table = parameter("table", "path", "table name");
const authorization = parameter(
  "Authorization",
  "header",
  "Bearer and the token of http.admin.token; without one, this machine only",
);
const ofStream = parameter("stream", "query", "only this stream");
const paging = [
  parameter("limit", "query", "rows in a page", {
    type: "integer",
    minimum: 1,
    maximum: 100_000,
    default: 1_000,
  }),
  parameter("after", "query", 'where the page starts: follow `Link: <…>; rel="next"` of the one before'),
];
const range = [
  parameter("from", "query", "ISO 8601 or epoch µs, inclusive"),
  parameter("to", "query", "ISO 8601 or epoch µs, exclusive"),
  parameter("key", "query", "only this key"),
];
const readProblems = {
  400: problem("a query parameter is wrong"),
  503: problem("too many reads, or windows lag behind; see Retry-After"),
};
const noStream = { 404: problem("unknown stream") };
const noTable = { 404: problem("unknown table") };
const noQuery = { 404: problem("unknown query") };

/** A list of rows that is read page by page. */
function rows(
  summary: string,
  row: SchemaName,
  parameters: readonly Parameter[],
  problems: object = {},
): object {
  return {
    get: {
      summary,
      parameters: [...parameters, ...paging],
      responses: { 200: ok("one JSON object a line", ndjson(row)), ...readProblems, ...problems },
    },
  };
}

function read(
  summary: string,
  content: Content,
  parameters: readonly Parameter[] = [],
  others: object = {},
): object {
  return { get: { summary, parameters, responses: { 200: ok("as described", content), ...others } } };
}

function setAttributes(summary: string): object {
  return {
    summary,
    parameters: [device],
    requestBody: { required: true, content: json("SetAttributes") },
    responses: {
      200: ok("what the device's attributes are now", json("Device")),
      400: problem("a bad device name, or a body that did not come whole"),
      413: problem("larger than what a device may have"),
      415: problem("unknown content type"),
      422: problem("one of them cannot be taken, or there are too many: nothing was changed"),
      507: problem("no room within buffer.cap"),
      503: problem("not available; see Retry-After"),
    },
  };
}

const sendEvents = {
  summary: "Send events; answered once they are fsynced",
  parameters: [
    stream,
    parameter("Idempotency-Key", "header", "a resend under the same key does not count twice", {
      maxLength: 255,
    }),
    parameter("Content-Encoding", "header", "how the body is compressed", {
      enum: ["identity", "gzip", "zstd"],
    }),
  ],
  requestBody: {
    required: true,
    content: { ...ndjson("Event"), "application/json": { schema: {} }, ...text("text/csv") },
  },
  responses: {
    200: ok("durable", json("IngestAnswer")),
    400: problem("no body, a bad stream name, or a body that is not compressed as it says"),
    404: problem("unknown stream"),
    408: problem("the body stopped coming"),
    413: problem("body too large"),
    415: problem("unknown content type or encoding"),
    422: problem("no line could be taken"),
    429: problem("full; see Retry-After"),
    503: problem("not available; see Retry-After"),
  },
};

const paths: Readonly<Record<string, object>> = {
  "/v1/streams/{stream}/events": {
    post: sendEvents,
    ...rows("Stored events in the order of event time", "Event", [stream, ...range], noStream),
  },
  "/v1/streams/{stream}/watermark": {
    post: {
      summary: "Say that no earlier event is to come; answered once what it fires is durable",
      parameters: [stream],
      requestBody: { required: true, content: json("WatermarkRequest") },
      responses: {
        200: ok("the watermark now", json("WatermarkAnswer")),
        400: problem("bad watermark"),
        404: problem("unknown stream"),
        429: problem("full; see Retry-After"),
        503: problem("not available; see Retry-After"),
      },
    },
  },
  "/v1/streams": read("Streams with schema, rates, watermark, counts", json("StreamList")),
  "/v1/streams/{stream}": read("One stream", json("Stream"), [stream], noStream),
  "/v1/streams/{stream}/clocks": read(
    "How the clocks of a stream's devices stand",
    json("Clocks"),
    [
      stream,
      parameter("limit", "query", "devices", {
        type: "integer",
        minimum: 1,
        maximum: MAX_DEVICES,
        default: 1_000,
      }),
    ],
    { 400: problem("a query parameter is wrong"), ...noStream },
  ),
  "/v1/streams/{stream}/late": rows(
    "Events set aside as too late or clock-skewed",
    "LateEvent",
    [stream],
    noStream,
  ),
  "/v1/streams/{stream}/late/apply": {
    post: {
      summary: "Correct the windows that late events belong to; answered once the new revisions are durable",
      parameters: [stream],
      requestBody: { required: false, content: json("LateApplyRequest") },
      responses: {
        200: ok("what was corrected", json("LateApplyAnswer")),
        400: problem("bad request"),
        ...noStream,
        429: problem("full; see Retry-After"),
        503: problem("not available, or windows lag behind; see Retry-After"),
      },
    },
  },
  "/v1/queries": read("Queries, their definition and state", json("QueryList")),
  "/v1/queries/{query}": read("One query", json("Query"), [query], noQuery),
  "/v1/queries/{query}/results": rows(
    "Results of closed windows",
    "Result",
    [
      query,
      ...range,
      parameter("kind", "query", "only rows of this kind", { enum: ["early", "on-time", "late"] }),
      parameter("revisions", "query", "latest: one row per window and key", {
        enum: ["latest", "all"],
        default: "latest",
      }),
    ],
    noQuery,
  ),
  "/v1/queries/{query}/live": read(
    "Results as server-sent events, each once it is durable",
    text("text/event-stream"),
    [query],
    {
      ...noQuery,
      503: problem("too many live clients"),
    },
  ),
  "/v1/alerts": rows("Alerts and their steps, by when they began", "Alert", [
    parameter("alert", "query", "only this alert"),
    parameter("state", "query", "only in this state", { enum: ["pending", "firing", "resolved"] }),
    parameter("from", "query", "ISO 8601 or epoch µs: alerts that went on at or after it"),
    parameter("to", "query", "ISO 8601 or epoch µs: alerts that began before it"),
    parameter("key", "query", "only this key"),
    parameter("revisions", "query", "latest: each alert as it stands; all: each step", {
      enum: ["latest", "all"],
      default: "latest",
    }),
  ]),
  "/v1/alerts/live": read(
    "Steps of alerts as server-sent events, each once it is durable",
    text("text/event-stream"),
    [],
    { 503: problem("too many live clients") },
  ),
  "/v1/dlq": rows("Lines that could not be taken, then batches that a sink would not have", "DeadLetter", [
    ofStream,
  ]),
  "/v1/dlq/replay": {
    post: {
      summary: "Offer batches that a sink would not have to it again",
      parameters: [],
      responses: { 200: ok("how many", json("ReplayAnswer")) },
    },
  },
  "/v1/losses": rows("The ledger of what was given up", "Loss", [ofStream]),
  "/v1/audit": read(
    "What the hub should have, by stream and hour of event time",
    ndjson("AuditRow"),
    [
      ofStream,
      parameter("from", "query", "ISO 8601 or epoch µs: from that hour on"),
      parameter("to", "query", "hours before it"),
    ],
    { 400: problem("a query parameter is wrong"), 404: problem("there is no sync") },
  ),
  "/v1/devices": {
    get: {
      summary: "Devices and their attributes",
      parameters: [
        parameter("limit", "query", "devices, 1000 at most"),
        parameter("after", "query", "from the Link header"),
      ],
      responses: { 200: ok("one JSON object a line", ndjson("Device")), 400: problem("bad parameter") },
    },
  },
  "/v1/devices/{device}/attributes": {
    ...read("A device's attributes", json("Device"), [device], { 404: problem("it has none") }),
    put: setAttributes("Replace a device's attributes; answered once it is fsynced"),
    patch: setAttributes("Set some of a device's attributes, or remove them with null"),
  },
  "/v1/status": read("How the node is, in one document", json("Status")),
  "/v1/tables": read("Reference tables", json("TableList")),
  "/v1/tables/{table}": {
    ...read("The rows of a reference table that are in force", ndjson("TableRow"), [table], noTable),
    put: {
      summary: "Replace the rows of a reference table that has no file; answered once they are in force",
      parameters: [table, authorization],
      requestBody: {
        required: true,
        content: {
          "application/json": { schema: { type: "array" } },
          ...ndjson("TableRow"),
          ...text("text/csv"),
        },
      },
      responses: {
        200: ok("in force", json("TablePutAnswer")),
        400: problem("the rows did not come whole"),
        401: problem("no token, or another"),
        403: problem("no token is set, and this is another machine"),
        ...noTable,
        409: problem("the table has a file"),
        413: problem("larger than limits.maxTable"),
        415: problem("of a form that cannot be read"),
        422: problem("not rows, or an expression does not fit them; nothing was changed"),
      },
    },
  },
  "/v1/config": {
    ...read("The configuration in force; as a document it may be put back", json("Config")),
    put: {
      summary: "Change the configuration while the node runs; answered once the whole of it is in force",
      parameters: [authorization],
      requestBody: { required: true, content: { ...text("application/yaml"), ...json("Config") } },
      responses: {
        200: ok("in force", json("ReloadAnswer")),
        400: problem("the document did not come whole"),
        401: problem("no token, or another"),
        403: problem("no token is set, and this is another machine"),
        413: problem("too large"),
        422: problem(
          "invalid, or it changes what cannot be changed while the node runs; nothing was changed",
        ),
      },
    },
  },
  "/healthz": read("Alive", json("Health")),
  "/readyz": read("Ready to take events", json("Readiness"), [], { 503: ok("not ready", json("Readiness")) }),
  "/metrics": read("Prometheus metrics", text("text/plain")),
  "/openapi.json": read("This document", { "application/json": { schema: {} } }),
  "/docs": read("This document as a page", text("text/html")),
  "/": read("Dashboard", text("text/html")),
};

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
    info: {
      title: "Millrace",
      version: "1",
      summary: "Edge stream processor: device events in, event-time windows out.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    paths,
    components: { schemas: components },
  };
}
