/** What a hub's calls of remote configuration take and answer. */

const json = { "application/json": { schema: { type: "object" } } };
const yaml = { "application/yaml": { schema: { type: "string" } } };
const text = { "text/plain": { schema: { type: "string" } } };
const problemBody = { "application/problem+json": { schema: { type: "object" } } };
const ok = (description: string, content?: object): object =>
  content === undefined ? { description } : { description, content };
const problem = (description: string): object => ({ description, content: problemBody });
const path = (name: string, description: string): object => ({
  name,
  in: "path",
  description,
  required: true,
  schema: { type: "string" },
});
const optional = (place: "query" | "header", name: string, description: string): object => ({
  name,
  in: place,
  description,
  required: false,
  schema: { type: "string" },
});

const edge = path("edge", "its name");
const group = path("group", "its name");
const version = path("version", "its number");
const admin = { 401: problem("not the administrator's token"), 403: problem("not from this machine") };
const putHeaders = [
  optional("header", "Millrace-Config-Version", "its number, where it is signed; else the hub counts"),
  optional("header", "Millrace-Signature", "as millrace sign-config prints it"),
  optional("header", "Millrace-By", "who puts it"),
];
const put = (summary: string, parameters: readonly object[]): object => ({
  summary,
  parameters: [...parameters, ...putHeaders],
  requestBody: { required: true, content: yaml },
  responses: {
    200: ok("its version", json),
    ...admin,
    409: problem("the number is not greater, or a rollout is under way"),
    413: problem("too large"),
    422: problem("not valid: each problem with its line and path"),
  },
});
const read = (summary: string, parameters: readonly object[], content: object = json): object => ({
  summary,
  parameters,
  responses: { 200: ok("as described", content), ...admin, 404: problem("unknown") },
});
const versions = (name: string, of: object): Readonly<Record<string, object>> => ({
  [`/v1/${name}/versions`]: { get: read("Every version, the newest first: who put it, and when", [of]) },
  [`/v1/${name}/versions/{version}`]: {
    get: read(
      "One version; with diff, what it changed, or changed against another",
      [of, version, optional("query", "diff", "empty: the one before; else a number")],
      { ...yaml, ...text },
    ),
  },
});
const act = (summary: string): object => ({
  post: {
    summary,
    parameters: [group],
    responses: { 200: ok("the rollout", json), ...admin, 404: problem("there is none") },
  },
});

export const configPaths: Readonly<Record<string, object>> = {
  "/v1/config/{edge}": {
    get: {
      summary: "The configuration that an edge is to have",
      parameters: [edge, optional("header", "If-None-Match", "what the edge knows")],
      responses: {
        200: ok("the document; ETag, Millrace-Config-Scope, -Version, Millrace-Signature", yaml),
        304: ok("one of those that the edge knows"),
        401: problem("not the edge's token"),
        404: problem("none is held for it"),
      },
    },
    put: put("Gives an edge a configuration of its own", [edge]),
    delete: {
      summary: "The edge's own gives way to its group's",
      parameters: [edge],
      responses: { 204: ok("done"), ...admin, 404: problem("it has none of its own") },
    },
  },
  "/v1/config/{edge}/state": {
    post: {
      summary: "What an edge made of a version",
      parameters: [edge],
      requestBody: { required: true, content: json },
      responses: { 204: ok("kept"), 400: problem("no such state"), 401: problem("not the edge's token") },
    },
  },
  ...versions("config/{edge}", edge),
  "/v1/config-groups": { get: read("Every group: its edges, version and rollout", []) },
  "/v1/config-groups/{group}": {
    get: read("One group", [group]),
    put: put("Gives a group a configuration, at once or in steps", [
      group,
      optional("query", "rollout", "per cents of its edges, as 5,25,100; left out: all at once"),
      optional("query", "wait", "how long each step waits, one or a list; default 10m"),
      optional("query", "maxFailures", "edges that may refuse it or go back; default 0"),
    ]),
  },
  "/v1/config-groups/{group}/edges": {
    put: {
      summary: "Makes these, and no others, the edges of a group",
      parameters: [group],
      requestBody: { required: true, content: json },
      responses: { 200: ok("its edges", json), ...admin, 400: problem("no list of names") },
    },
  },
  ...versions("config-groups/{group}", group),
  "/v1/config-groups/{group}/rollout": { get: read("How far the last rollout is", [group]) },
  "/v1/config-groups/{group}/rollout/resume": act("Goes on in spite of the failures there were"),
  "/v1/config-groups/{group}/rollout/abort": act("Gives the version up"),
};
