import { configPaths } from "./configs/config-openapi.ts";

/** What a hub's calls take and answer. Rows of lists are a node's own, with the member `edge` added. */

type Parameter = object;

const json = { "application/json": { schema: { type: "object" } } };
const ndjson = { "application/x-ndjson": { schema: { type: "object" } } };
const problemBody = { "application/problem+json": { schema: { type: "object" } } };

const ok = (description: string, content: object): object => ({ description, content });
const problem = (description: string): object => ({ description, content: problemBody });
const query = (name: string, description: string): Parameter => ({
  name,
  in: "query",
  description,
  required: false,
  schema: { type: "string" },
});
const path = (name: string, description: string): Parameter => ({
  name,
  in: "path",
  description,
  required: true,
  schema: { type: "string" },
});
const header = (name: string, description: string): Parameter => ({
  name,
  in: "header",
  description,
  required: true,
  schema: { type: "string" },
});

const ofEdge = query("edge", "only this edge's");
const paging = [query("limit", "rows, 1 to 100000; default 1000"), query("after", "from the Link header")];
const range = [
  query("from", "ISO 8601 or epoch µs, inclusive"),
  query("to", "ISO 8601 or epoch µs, exclusive"),
  query("key", "only this key"),
];

function rows(summary: string, parameters: readonly Parameter[]): object {
  return {
    get: {
      summary,
      parameters: [...parameters, ofEdge, ...paging],
      responses: {
        200: ok("one JSON object a line", ndjson),
        400: problem("a query parameter is wrong"),
        404: problem("nothing is known of it"),
        503: problem("not available; see Retry-After"),
      },
    },
  };
}

function read(summary: string, content: object, parameters: readonly Parameter[] = []): object {
  return {
    get: { summary, parameters, responses: { 200: ok("as described", content), 404: problem("unknown") } },
  };
}

const paths = {
  "/v1/sync": {
    post: {
      summary: "Take one batch of an edge; answered once it is fsynced. A second delivery stores nothing",
      parameters: [
        header("Idempotency-Key", "the batch's key"),
        header("Millrace-Edge", "the edge's name"),
        { ...header("Authorization", "Bearer and the edge's token, where tokens are set"), required: false },
      ],
      requestBody: { required: true, content: { "application/vnd.millrace.batch": { schema: {} } } },
      responses: {
        200: ok('{"stored": N, "duplicate": false}', json),
        400: problem("damaged on the way; send it again"),
        401: problem("not the edge's token"),
        403: problem("no tokens are set, and this is another machine"),
        413: problem("too large, or compressed too far"),
        422: problem("the batch can never be taken as it is"),
        503: problem("not available; see Retry-After"),
      },
    },
  },
  "/v1/edges": read("Every edge, when it was last heard of, and what is held of it", json),
  "/v1/edges/{edge}": read(
    "One edge: its data directories, what was noticed of them, and its streams",
    json,
    [path("edge", "its name")],
  ),
  "/v1/streams/{stream}/events": rows("Events of the fleet in the order of event time", [
    path("stream", "its name"),
    ...range,
  ]),
  "/v1/queries/{query}/results": rows("Results of the fleet's windows", [
    path("query", "its name"),
    ...range,
    query("kind", "early, on-time or late"),
    query("revisions", "latest or all"),
  ]),
  "/v1/alerts": rows("Alerts of the fleet, by when they began", [
    ...range,
    query("alert", "only this alert"),
    query("state", "pending, firing or resolved"),
    query("revisions", "latest or all"),
  ]),
  "/v1/devices": rows("Devices of the fleet and their attributes, by edge and device", [
    query("device", "only devices of this name"),
  ]),
  "/v1/losses": rows("What edges gave up", [query("stream", "only this stream")]),
  "/v1/audit": {
    get: {
      summary:
        "What is held by edge, data directory, stream and hour of event time: counts and hashes; `expired` of them went by retention",
      parameters: [
        ofEdge,
        query("stream", "only this stream"),
        query("from", "ISO 8601 or epoch µs: that hour on"),
        query("to", "hours before it"),
      ],
      responses: {
        200: ok("one JSON object a line", ndjson),
        400: problem("a query parameter is wrong"),
      },
    },
  },
  "/v1/dlq": rows("Batches from JetStream that no hub can take, and why", []),
  "/v1/dlq/replay": {
    post: {
      summary: "Parked batches are taken as if they came again; those that are refused stay",
      parameters: [
        ofEdge,
        query("id", "this one alone"),
        query("after", "those behind it: next of the last answer"),
      ],
      responses: {
        200: ok("taken, stored, refused; next, where there are more than 1000", json),
        400: problem("a query parameter is wrong"),
        401: problem("the administrator's token is missing"),
        503: problem("not available; see Retry-After"),
      },
    },
  },
  ...configPaths,
  "/healthz": read("Alive", json),
  "/readyz": read("Ready to take batches", json),
  "/metrics": read("Prometheus metrics", { "text/plain": { schema: { type: "string" } } }),
  "/openapi.json": read("This document", json),
  "/": read("The fleet as a page", { "text/html": { schema: { type: "string" } } }),
};

/** The OpenAPI 3.1 document of a hub. */
export function hubOpenApiDocument(): object {
  return {
    openapi: "3.1.0",
    info: {
      title: "Millrace hub",
      version: "1",
      summary: "What the edges of a fleet sent: events, results, alerts, losses, attributes of devices.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    paths,
  };
}
