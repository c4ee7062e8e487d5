import type { HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { routePath } from "hono/route";
import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { EdgeDetail, EdgeSummary } from "../../workers/hub/tasks.ts";
import { formatTime } from "../../workers/time-format.ts";
import { addSafetyHeaders, limitReads, refuseOtherSites } from "../api/guards.ts";
import { answerNotFound } from "../api/not-found.ts";
import { pageResponse } from "../api/page-response.ts";
import { badStreamName, isStreamName, problemResponse } from "../api/problem.ts";
import {
  badCursor,
  readAlertQuery,
  readListQuery,
  readResultQuery,
  readTimeRange,
} from "../api/query-parameters.ts";
import { BodyReader } from "../ingest/body.ts";
import type { ConfigRegistry } from "./configs/config-registry.ts";
import { addConfigRoutes } from "./configs/config-routes.ts";
import { describeEdgeConfig } from "./configs/describe-configs.ts";
import { fleetPage } from "./fleet-page.ts";
import { getHubAudit } from "./get-audit.ts";
import type { HubConfig } from "./hub-config.ts";
import type { HubMetrics } from "./hub-metrics.ts";
import { hubOpenApiDocument } from "./hub-openapi.ts";
import type { HubStore } from "./hub-store.ts";
import { postSync } from "./post-sync.ts";
import { replayParked } from "./replay-parked.ts";

export interface HubAppParts {
  readonly config: HubConfig;
  readonly store: HubStore;
  readonly metrics: HubMetrics;
  readonly log: Logger;
  readonly configs: ConfigRegistry;
}

export type HubApp = Hono<{ Bindings: HttpBindings }>;

/** The HTTP surface of a hub. */
export function createHubApp(parts: HubAppParts): HubApp {
  const { config, metrics, log } = parts;
  const app: HubApp = new Hono();
  app.use(async (context, next) => {
    const end = metrics.requestSeconds.startTimer();
    await next();
    end({ route: routePath(context, -1), status: String(context.res.status) });
  });
  app.use(addSafetyHeaders);
  app.use(refuseOtherSites);
  const bodies = new BodyReader({ maxHeldBytes: config.limits.maxQueuedBytes });
  app.post("/v1/sync", postSync({ ...parts, bodies }));
  addConfigRoutes(app, { config, registry: parts.configs });
  addFleetRoutes(app, parts);
  addHubRoutes(app, parts);
  app.notFound(answerNotFound(app, config.limits.maxBatchBytes));
  app.onError((cause, context) => {
    if (cause instanceof MillraceError && cause.code === "E_CURSOR")
      return problemResponse(badCursor(cause.message));
    log.error({ err: cause, path: context.req.path }, "a request failed");
    const isStore = cause instanceof MillraceError && /^E_(STORE|DISK)/.test(cause.code);
    if (isStore) {
      const [detail, headers] = [cause.message, { "retry-after": "2" }];
      return problemResponse({ status: 503, code: "E_UNAVAILABLE", title: "Unavailable", detail, headers });
    }
    const detail = "the hub failed to answer; its log says why";
    return problemResponse({ status: 500, code: "E_INTERNAL", title: "Internal error", detail });
  });
  return app;
}

/** What the edges sent: pages of a node's own forms, with `edge` added. */
function addFleetRoutes(app: HubApp, parts: HubAppParts): void {
  const { store, metrics, configs } = parts;
  const limit = limitReads(metrics);
  const edgeOf = (context: Context): string | null => context.req.query("edge") ?? null;
  const configOf = async (name: string) =>
    describeEdgeConfig(await configs.edge(name), await configs.wanted(name));
  app.get("/v1/edges", limit, async (context) => {
    const edges = await store.edges();
    const known = await configs.overview(edges.map(({ edge }) => edge));
    return context.json({
      edges: edges.map((edge) => {
        const of = known.get(edge.edge);
        return {
          ...describeSummary(edge),
          config: of === undefined ? null : describeEdgeConfig(of.edge, of.wanted),
        };
      }),
    });
  });
  app.get("/v1/edges/:edge", limit, async (context) => {
    const name = context.req.param("edge");
    const edge = await store.edge(name);
    const config = await configOf(name);
    // Known by what it was given, before it has sent anything.
    if (edge === null) return config === null ? unknownEdge(name) : context.json({ edge: name, config });
    return context.json({ ...describeEdge(edge), config });
  });
  app.get("/v1/audit", limit, getHubAudit(store));
  app.get("/v1/streams/:stream/events", limit, async (context) => {
    const stream = context.req.param("stream");
    if (!isStreamName(stream)) return problemResponse(badStreamName);
    if (!(await store.knows({ stream }))) return unknownStream(stream);
    const range = readTimeRange(context);
    if (range instanceof Response) return range;
    return pageResponse(context, await store.events({ ...range, stream, edge: edgeOf(context) }));
  });
  app.get("/v1/queries/:query/results", limit, async (context) => {
    const name = context.req.param("query");
    if (!(await store.knows({ query: name }))) return unknownQuery(name);
    const request = readResultQuery(context, name);
    if (request instanceof Response) return request;
    return pageResponse(context, await store.results({ ...request, edge: edgeOf(context) }));
  });
  app.get("/v1/alerts", limit, async (context) => {
    const request = readAlertQuery(context);
    if (request instanceof Response) return request;
    return pageResponse(context, await store.alerts({ ...request, edge: edgeOf(context) }));
  });
  app.get("/v1/devices", limit, async (context) => {
    const request = readListQuery(context);
    if (request instanceof Response) return request;
    const { limit: rows, after } = request;
    const device = context.req.query("device") ?? null;
    return pageResponse(context, await store.devices({ limit: rows, after, device, edge: edgeOf(context) }));
  });
  app.get("/v1/dlq", limit, async (context) => {
    const request = readListQuery(context);
    if (request instanceof Response) return request;
    const { limit: rows, after } = request;
    return pageResponse(context, await store.parked({ limit: rows, after, edge: edgeOf(context) }));
  });
  app.post("/v1/dlq/replay", limit, replayParked(parts));
  app.get("/v1/losses", limit, async (context) => {
    const request = readListQuery(context);
    if (request instanceof Response) return request;
    return pageResponse(context, await store.losses({ ...request, edge: edgeOf(context) }));
  });
}

function addHubRoutes(app: HubApp, { store, metrics }: HubAppParts): void {
  app.get("/healthz", (context) => context.json({ status: "ok" }));
  app.get("/readyz", async (context) => {
    const ready = await store.isReady();
    return context.json({ ready }, ready ? 200 : 503);
  });
  app.get("/metrics", async (context) =>
    context.body(await metrics.render(), 200, { "content-type": metrics.contentType }),
  );
  const document = hubOpenApiDocument();
  app.get("/openapi.json", (context) => context.json(document));
  app.get("/", (context) =>
    context.html(fleetPage.html, 200, { "content-security-policy": fleetPage.contentSecurityPolicy }),
  );
}

function describeSummary({ firstSeenUs, lastSeenUs, ...edge }: EdgeSummary) {
  return { ...edge, firstSeen: formatTime(firstSeenUs), lastSeen: formatTime(lastSeenUs) };
}

function describeEdge({
  incarnations,
  streams,
  identityCases,
  refusedAttributes: { lastUs, ...refused },
  ...summary
}: EdgeDetail) {
  return {
    ...describeSummary(summary),
    streams,
    identityCases: identityCases.map(({ firstUs, lastUs: latestUs, ...rest }) => ({
      ...rest,
      first: formatTime(firstUs),
      last: formatTime(latestUs),
    })),
    refusedAttributes: { ...refused, last: lastUs === null ? null : formatTime(lastUs) },
    incarnations: incarnations.map(({ firstSeenUs, lastSeenUs, ...rest }) => ({
      ...rest,
      firstSeen: formatTime(firstSeenUs),
      lastSeen: formatTime(lastSeenUs),
    })),
  };
}

function unknownStream(name: string): Response {
  const detail = `no edge has sent a stream ${name}; GET /v1/edges/{edge} lists those of one`;
  return problemResponse({ status: 404, code: "E_UNKNOWN_STREAM", title: "Unknown stream", detail });
}

function unknownQuery(name: string): Response {
  const detail = `no edge has sent results of a query ${name}; the edges' configurations name them`;
  return problemResponse({ status: 404, code: "E_UNKNOWN_QUERY", title: "Unknown query", detail });
}

function unknownEdge(name: string): Response {
  const detail = `there is no edge ${name}; GET /v1/edges lists them`;
  return problemResponse({ status: 404, code: "E_UNKNOWN_EDGE", title: "Unknown edge", detail });
}
