import type { HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { secureHeaders } from "hono/secure-headers";
import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import { postEvents } from "../ingest/http.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Engine } from "../pipeline/engine.ts";
import { DASHBOARD } from "../web/dashboard.ts";
import { DOCS_PAGE } from "../web/docs-page.ts";
import { describeNode, describeQuery, describeStream } from "./describe.ts";
import { liveResults } from "./live.ts";
import { openApiDocument } from "./openapi.ts";
import { problemResponse } from "./problem.ts";
import { readListQuery, readResultQuery, readTimeRange } from "./query-parameters.ts";
import type { HistoryReads, Page } from "./reads.ts";
import { postWatermark } from "./watermark.ts";

export interface AppParts {
  readonly config: Config;
  readonly engine: Engine;
  readonly reads: HistoryReads;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export type App = Hono<{ Bindings: HttpBindings }>;

/** The HTTP surface of a node. Reads wait until what was acknowledged before them is applied: read your writes. */
export function createApp(parts: AppParts): App {
  const { config, engine, log, metrics } = parts;
  const app: App = new Hono();
  app.use(async (context, next) => {
    const end = metrics.requestSeconds.startTimer();
    await next();
    end({ route: context.req.routePath, status: String(context.res.status) });
  });
  app.use("/v1/*", async (context, next) => {
    if (context.req.method === "GET") await engine.settle();
    await next();
  });
  addStreamRoutes(app, parts);
  addQueryRoutes(app, parts);
  addListRoutes(app, parts);
  app.get("/v1/status", (context) => context.json(describeNode(config, engine)));
  app.get("/v1/config", (context) => context.json(describeConfig(config)));
  app.get("/healthz", (context) => context.json({ status: "ok" }));
  app.get("/readyz", (context) => {
    const { isReady } = engine.status();
    return context.json({ ready: isReady }, isReady ? 200 : 503);
  });
  app.get("/metrics", async () => new Response(await metrics.render(), { headers: { "content-type": metrics.contentType } }));
  app.get("/openapi.json", (context) => context.json(openApiDocument()));
  app.use("/docs", secureHeaders());
  app.use("/", secureHeaders());
  app.get("/docs", (context) => context.html(DOCS_PAGE));
  app.get("/", (context) => context.html(DASHBOARD));
  app.notFound((context) => {
    const detail = `there is nothing at ${context.req.method} ${context.req.path}; GET /openapi.json lists what there is`;
    return problemResponse({ status: 404, code: "E_NOT_FOUND", title: "Not found", detail });
  });
  app.onError((cause, context) => {
    log.error({ err: cause, path: context.req.path }, "a request failed");
    const detail = "the node failed to answer; its log says why";
    return problemResponse({ status: 500, code: "E_INTERNAL", title: "Internal error", detail });
  });
  return app;
}

function addStreamRoutes(app: App, { config, engine, reads }: AppParts): void {
  app.post("/v1/streams/:stream/events", (context) => postEvents(context, { config, engine }));
  app.post("/v1/streams/:stream/watermark", (context) => postWatermark(context, engine));
  app.get("/v1/streams", (context) => context.json({ streams: engine.streams().map(describeStream) }));
  app.get("/v1/streams/:stream", (context) => {
    const stream = engine.stream(context.req.param("stream"));
    return stream === null ? unknownStream(context.req.param("stream")) : context.json(describeStream(stream));
  });
  app.get("/v1/streams/:stream/events", async (context) => {
    const stream = engine.stream(context.req.param("stream"));
    if (stream === null) return unknownStream(context.req.param("stream"));
    const range = readTimeRange(context);
    if (range instanceof Response) return range;
    const page = await reads.events({
      ...range,
      stream: stream.config.name,
      timeField: stream.config.time.fields[0] ?? "ts",
      keyFields: stream.config.key.fields,
    });
    return pageResponse(context.req.url, page);
  });
  app.get("/v1/streams/:stream/late", async (context) => {
    const stream = engine.stream(context.req.param("stream"));
    if (stream === null) return unknownStream(context.req.param("stream"));
    const list = readListQuery(context);
    if (list instanceof Response) return list;
    const timeField = stream.config.time.fields[0] ?? "ts";
    return pageResponse(context.req.url, await reads.late({ ...list, stream: stream.config.name, timeField }));
  });
}

function addQueryRoutes(app: App, { config, engine, reads, metrics }: AppParts): void {
  app.get("/v1/queries", (context) => context.json({ queries: engine.queries().map(describeQuery) }));
  app.get("/v1/queries/:query", (context) => {
    const query = engine.query(context.req.param("query"));
    return query === null ? unknownQuery(context.req.param("query")) : context.json(describeQuery(query));
  });
  app.get("/v1/queries/:query/results", async (context) => {
    const name = context.req.param("query");
    if (engine.query(name) === null) return unknownQuery(name);
    const request = readResultQuery(context, name);
    if (request instanceof Response) return request;
    return pageResponse(context.req.url, await reads.results(request));
  });
  app.get("/v1/queries/:query/live", (context) => {
    const name = context.req.param("query");
    if (engine.query(name) === null) return unknownQuery(name);
    return liveResults(context, name, { engine, metrics, maxClients: config.limits.maxLiveClients });
  });
}

function addListRoutes(app: App, { reads }: AppParts): void {
  app.get("/v1/dlq", async (context) => {
    const list = readListQuery(context);
    return list instanceof Response ? list : pageResponse(context.req.url, await reads.deadLetters(list));
  });
  app.get("/v1/losses", async (context) => {
    const list = readListQuery(context);
    return list instanceof Response ? list : pageResponse(context.req.url, await reads.losses(list));
  });
}

function pageResponse(url: string, { ndjson, next }: Page): Response {
  const headers = new Headers({ "content-type": "application/x-ndjson" });
  if (next !== null) {
    const following = new URL(url);
    following.searchParams.set("after", next);
    headers.set("link", `<${following.pathname}${following.search}>; rel="next"`);
  }
  return new Response(ndjson as Uint8Array<ArrayBuffer>, { headers });
}

function describeConfig(config: Config): object {
  return {
    ...config,
    streams: Object.fromEntries(config.streams),
    queries: Object.fromEntries(config.queries),
  };
}

function unknownStream(name: string): Response {
  const detail = `there is no stream ${name}; GET /v1/streams lists them`;
  return problemResponse({ status: 404, code: "E_UNKNOWN_STREAM", title: "Unknown stream", detail });
}

function unknownQuery(name: string): Response {
  const detail = `there is no query ${name}; GET /v1/queries lists them`;
  return problemResponse({ status: 404, code: "E_UNKNOWN_QUERY", title: "Unknown query", detail });
}
