import type { HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { routePath } from "hono/route";
import type { Logger } from "pino";
import type { DeviceRegistry } from "../attributes/device-registry.ts";
import type { Config } from "../config/config.ts";
import type { Encryption } from "../encryption/encryption.ts";
import type { BodyReader } from "../ingest/body.ts";
import { postEvents } from "../ingest/http.ts";
import type { BufferSource } from "../observe/buffer-metrics.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Engine, StreamState } from "../pipeline/engine.ts";
import type { Reloader } from "../pipeline/reloader.ts";
import type { Stages } from "../pipeline/stages.ts";
import type { Relay } from "../relay/relay.ts";
import type { RemoteConfigStatus } from "../remote/remote-config.ts";
import type { Sync } from "../sync/sync.ts";
import { dashboardPage } from "../web/dashboard-page.ts";
import { docsPage } from "../web/docs-page.ts";
import type { Page as WebPage } from "../web/page.ts";
import { getAudit } from "./audit.ts";
import { describeClocks, describeNode, describeQuery, describeStream, timeFieldOf } from "./describe.ts";
import { describeConfig } from "./describe-config.ts";
import { describeRelay, describeRemoteConfig } from "./describe-relay.ts";
import { describeSync } from "./describe-sync.ts";
import { addDeviceRoutes } from "./device-attributes.ts";
import type { Explain } from "./failures.ts";
import { addSafetyHeaders, limitReads, refuseOtherSites } from "./guards.ts";
import { lateApply } from "./late-apply.ts";
import { ALERT_FEED, LIVE_HEADERS, LiveFeeds } from "./live.ts";
import { answerNotFound } from "./not-found.ts";
import { pageResponse } from "./page-response.ts";
import { replayParked, withParked } from "./parked.ts";
import { createProbes } from "./probes.ts";
import { badStreamName, isStreamName, problemResponse, unknownQuery, unknownStream } from "./problem.ts";
import { putConfig } from "./put-config.ts";
import {
  readAlertQuery,
  readDeviceLimit,
  readListQuery,
  readResultQuery,
  readTimeRange,
} from "./query-parameters.ts";
import type { HistoryReads, ListRequest, Page } from "./reads.ts";
import { inTime, STATE_SETTLE_MS, settleInTime } from "./settle.ts";
import { listTables, putTable, readTableRows } from "./tables.ts";
import { postWatermark } from "./watermark.ts";

export interface AppParts {
  readonly config: Config;
  /** Left out: what it takes to copy bodies is not counted. */
  readonly stages?: Stages;
  readonly engine: Engine;
  readonly reads: HistoryReads;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Left out where the configuration cannot be changed. */
  readonly reloader?: Pick<Reloader, "put" | "putTable">;
  readonly buffer?: BufferSource;
  /** null: nothing is sent anywhere. */
  readonly sync?: Pick<Sync, "reports" | "parked" | "replayParked" | "audit" | "news"> | null;
  readonly encryption?: Pick<Encryption, "status">;
  /** null: no other edge sends through this one. */
  readonly relay?: Pick<Relay, "status" | "replayParked"> | null;
  /** null: the configuration is the node's own. */
  readonly remote?: () => RemoteConfigStatus | null;
  /** Left out where there is no store behind it. */
  readonly devices?: DeviceRegistry;
}

export type App = Hono<{ Bindings: HttpBindings }>;
type AppContext = Context<{ Bindings: HttpBindings }>;

/** What the app has in common with the short ways in. */
export interface SharedParts {
  readonly bodies: BodyReader;
  readonly explain: Explain;
}

/** The HTTP surface of a node. Reads wait until what was acknowledged before them is applied: read your writes. */
export function createApp(parts: AppParts, { bodies, explain }: SharedParts): App {
  const { config, metrics } = parts;
  const app: App = new Hono();
  app.use(async (context, next) => {
    const end = metrics.requestSeconds.startTimer();
    await next();
    end({ route: routePath(context, -1), status: String(context.res.status) });
  });
  app.use(addSafetyHeaders);
  app.use(refuseOtherSites);
  addInputRoutes(app, parts, bodies);
  addStateRoutes(app, parts);
  addHistoryRoutes(app, parts);
  if (parts.devices !== undefined) addDeviceRoutes(app, parts.devices);
  addNodeRoutes(app, parts);
  app.notFound(answerNotFound(app, config.limits.maxBodyBytes));
  app.onError((cause, context) => problemResponse(explain(cause, context.req.path)));
  return app;
}

/** What clients send. */
function addInputRoutes(app: App, { config, engine, reads, metrics }: AppParts, bodies: BodyReader): void {
  app.post("/v1/streams/:stream/events", (context) =>
    postEvents(context, { config, engine, bodies, metrics }),
  );
  app.post("/v1/streams/:stream/watermark", (context) => postWatermark(context, { engine, bodies, metrics }));
  app.post("/v1/streams/:stream/late/apply", lateApply({ engine, reads, bodies }));
}

/** What the pipeline knows by itself. It answers even when windows stand still: that is when one looks. */
function addStateRoutes(app: App, parts: AppParts): void {
  const { config, engine, metrics, reloader, buffer, encryption, sync = null, relay = null } = parts;
  app.get("/v1/streams", async (context) => {
    await settleInTime(engine, STATE_SETTLE_MS);
    return context.json({ streams: engine.streams().map(describeStream) });
  });
  app.get("/v1/streams/:stream", async (context) => {
    await settleInTime(engine, STATE_SETTLE_MS);
    const stream = streamOf(context, engine);
    return stream instanceof Response ? stream : context.json(describeStream(stream));
  });
  app.get("/v1/streams/:stream/clocks", async (context) => {
    await settleInTime(engine, STATE_SETTLE_MS);
    const stream = streamOf(context, engine);
    if (stream instanceof Response) return stream;
    const limit = readDeviceLimit(context);
    if (limit instanceof Response) return limit;
    const report = await engine.clocks(stream.config.name, limit);
    if (report === null) return problemResponse(unknownStream(stream.config.name));
    return context.json(describeClocks(stream, report));
  });
  app.get("/v1/queries", async (context) => {
    await settleInTime(engine, STATE_SETTLE_MS);
    return context.json({ queries: engine.queries().map(describeQuery) });
  });
  app.get("/v1/queries/:query", async (context) => {
    await settleInTime(engine, STATE_SETTLE_MS);
    const name = context.req.param("query");
    const query = engine.query(name);
    return query === null ? problemResponse(unknownQuery(name)) : context.json(describeQuery(query));
  });
  const feeds = new LiveFeeds({ engine, metrics, maxClients: config.limits.maxLiveClients });
  app.get("/v1/queries/:query/live", (context) => {
    const name = context.req.param("query");
    if (engine.query(name) === null) return problemResponse(unknownQuery(name));
    if (context.req.method === "HEAD") return context.body(null, 200, LIVE_HEADERS);
    return feeds.open(name, context.env.outgoing);
  });
  app.get("/v1/alerts/live", (context) => {
    if (context.req.method === "HEAD") return context.body(null, 200, LIVE_HEADERS);
    return feeds.open(ALERT_FEED, context.env.outgoing);
  });
  app.get("/v1/status", async (context) => {
    // Its ledger is to hold what was acknowledged before, as the counts of streams beside it do.
    const [isApplied, hasLooked] = await Promise.all([
      settleInTime(engine, STATE_SETTLE_MS),
      buffer === undefined ? true : inTime(buffer.lookAgain(), STATE_SETTLE_MS),
    ]);
    const status = describeNode(config, engine, isApplied && hasLooked, buffer?.report ?? null, encryption);
    const remote = parts.remote?.() ?? null;
    return context.json({
      ...status,
      ...(sync === null ? {} : { sync: describeSync(await sync.reports(), sync.news) }),
      ...(relay === null ? {} : { relay: describeRelay(await relay.status()) }),
      ...(remote === null ? {} : { remoteConfig: describeRemoteConfig(remote) }),
    });
  });
  app.get("/v1/tables", (context) => context.json(listTables(engine)));
  app.get("/v1/tables/:table", (context) => readTableRows(context, engine));
  app.get("/v1/config", (context) => context.json(describeConfig(engine.config())));
  if (reloader !== undefined) addChangeRoutes(app, parts, reloader);
}

/** What changes the node while it runs. */
function addChangeRoutes(
  app: App,
  { config, engine }: AppParts,
  reloader: NonNullable<AppParts["reloader"]>,
): void {
  const adminToken = config.adminToken ?? null;
  app.put("/v1/config", putConfig({ reloader, adminToken }));
  const maxBytes = config.limits.maxTableBytes;
  app.put("/v1/tables/:table", putTable({ engine, reloader, adminToken, maxBytes }));
}

/** What the store holds: pages of NDJSON. */
function addHistoryRoutes(app: App, { engine, reads, metrics, sync = null, relay = null }: AppParts): void {
  const limit = limitReads(metrics);
  app.get("/v1/streams/:stream/events", limit, async (context) => {
    if (!(await settleInTime(engine))) return notSettled();
    const stream = streamOf(context, engine);
    if (stream instanceof Response) return stream;
    const range = readTimeRange(context);
    if (range instanceof Response) return range;
    const { config } = stream;
    const own = { stream: config.name, timeField: timeFieldOf(config), keyFields: config.key.fields };
    return pageResponse(context, await reads.events({ ...range, ...own }));
  });
  app.get("/v1/streams/:stream/late", limit, async (context) => {
    if (!(await settleInTime(engine))) return notSettled();
    const stream = streamOf(context, engine);
    if (stream instanceof Response) return stream;
    const list = readListQuery(context);
    if (list instanceof Response) return list;
    const own = { stream: stream.config.name, timeField: timeFieldOf(stream.config) };
    return pageResponse(context, await reads.late({ limit: list.limit, after: list.after, ...own }));
  });
  app.get("/v1/queries/:query/results", limit, async (context) => {
    if (!(await settleInTime(engine))) return notSettled();
    const name = context.req.param("query");
    if (!engine.knowsQuery(name)) return problemResponse(unknownQuery(name));
    const request = readResultQuery(context, name);
    return request instanceof Response ? request : pageResponse(context, await reads.results(request));
  });
  app.get("/v1/alerts", limit, async (context) => {
    if (!(await settleInTime(engine))) return notSettled();
    const request = readAlertQuery(context);
    return request instanceof Response ? request : pageResponse(context, await reads.alerts(request));
  });
  const deadLetters = async (request: ListRequest): Promise<Page> =>
    withParked(await reads.deadLetters(request), sync, request.stream);
  app.post("/v1/dlq/replay", replayParked(sync, relay));
  app.get("/v1/audit", limit, getAudit(sync));
  for (const [path, list] of [
    ["/v1/dlq", deadLetters],
    ["/v1/losses", reads.losses.bind(reads)],
  ] as const) {
    app.get(path, limit, async (context) => {
      if (!(await settleInTime(engine))) return notSettled();
      const request = readListQuery(context);
      return request instanceof Response ? request : pageResponse(context, await list(request));
    });
  }
}

/** What operators and browsers ask. */
function addNodeRoutes(app: App, { engine, metrics }: AppParts): void {
  for (const [path, probe] of createProbes({ engine, metrics })) {
    app.get(path, async (context) => {
      const { status, type, text } = await probe();
      return context.body(text, status, { "content-type": type });
    });
  }
  // Few ask for it: not worth a start's time, or memory.
  app.get("/openapi.json", async (context) => {
    const { openApiDocument } = await import("./openapi.ts");
    return context.json(openApiDocument());
  });
  app.get("/docs", (context) => webPage(context, docsPage));
  app.get("/", (context) => webPage(context, dashboardPage));
}

/** The stream that the path names, or the answer that there is none. */
function streamOf(context: AppContext, engine: Engine): StreamState | Response {
  const name = context.req.param("stream") ?? "";
  if (!isStreamName(name)) return problemResponse(badStreamName);
  return engine.stream(name) ?? problemResponse(unknownStream(name));
}

function notSettled(): Response {
  const detail = "windows do not keep up with what was acknowledged; ask again later, and see the node's log";
  const headers = { "retry-after": "5" };
  return problemResponse({ status: 503, code: "E_NOT_SETTLED", title: "Not up to date", detail, headers });
}

function webPage(context: AppContext, { html, contentSecurityPolicy }: WebPage): Response {
  return context.html(html, 200, { "content-security-policy": contentSecurityPolicy });
}
