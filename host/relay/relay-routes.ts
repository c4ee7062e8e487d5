import type { Logger } from "pino";
import type { App } from "../api/app.ts";
import { isStreamName, type Problem, problemResponse } from "../api/problem.ts";
import { callerOf, checkEdge, hopsOf } from "../hub/edge-guard.ts";
import { postSync } from "../hub/post-sync.ts";
import { BodyReader } from "../ingest/body.ts";
import { refuseUnread } from "../ingest/refuse-unread.ts";
import type { RelayMetrics } from "../observe/relay-metrics.ts";
import type { Relay } from "./relay.ts";

const MAX_REPORT_BYTES = 64 * 1024;

/** What other edges ask of a node that relays. */
export function addRelayRoutes(app: App, relay: Relay, metrics: RelayMetrics, log: Logger): void {
  const { config, limits } = relay;
  const bodies = new BodyReader({ maxHeldBytes: limits.maxQueuedBytes });
  const refuseWay = (edge: string, hops: readonly string[]): Problem | null =>
    explainWay(relay.name, config.maxHops, edge, hops);
  app.post(
    "/v1/sync",
    postSync({
      config: { ...config, limits },
      store: relay.inbox,
      bodies,
      metrics,
      log,
      refuseWay,
      batchVersion: () => relay.batchVersion,
    }),
  );
  app.get("/v1/config/:edge", async (context) => {
    const edge = context.req.param("edge");
    const caller = callerOf(context.env.incoming);
    const checked = isStreamName(edge)
      ? checkEdge(config, { ...caller, edge })
      : { ok: false as const, problem: badName };
    if (!checked.ok) return problemResponse(checked.problem);
    const hops = hopsOf(caller.via);
    const wrongWay = refuseWay(edge, hops);
    if (wrongWay !== null) return problemResponse(wrongWay);
    const answer = await relay.configs.get(edge, hops, context.req.header("if-none-match"));
    return answer ?? problemResponse(away);
  });
  app.post("/v1/config/:edge/state", async (context) => {
    const edge = context.req.param("edge");
    const { incoming } = context.env;
    const caller = callerOf(incoming);
    const checked = isStreamName(edge)
      ? checkEdge(config, { ...caller, edge })
      : { ok: false as const, problem: badName };
    if (!checked.ok) return refuseUnread(incoming, checked.problem, MAX_REPORT_BYTES);
    const hops = hopsOf(caller.via);
    const wrongWay = refuseWay(edge, hops);
    if (wrongWay !== null) return refuseUnread(incoming, wrongWay, MAX_REPORT_BYTES);
    const read = await bodies.read(incoming, MAX_REPORT_BYTES);
    if (read.kind !== "read") return refuseUnread(incoming, badReport, MAX_REPORT_BYTES);
    await relay.configs.report(edge, hops, Buffer.from(read.body).toString());
    return context.body(null, 204);
  });
}

/** Why what came this way is not taken; null: it is. 508: sent again it would be the same, until somebody mends the way. */
export function explainWay(
  name: string,
  maxHops: number,
  edge: string,
  hops: readonly string[],
): Problem | null {
  const refuse = (code: string, title: string, detail: string): Problem => {
    return { status: 508, code, title, detail, headers: { "retry-after": "60" } };
  };
  const way = [edge, ...hops, name].join(" → ");
  if (edge === name || hops.includes(name))
    return refuse(
      "E_RELAY_LOOP",
      "A loop of relays",
      `${way}: this goes round in a circle and would never reach a hub; one of these edges must have the hub as its sync.url`,
    );
  if (hops.length + 1 > maxHops)
    return refuse(
      "E_RELAY_HOPS",
      "Too many relays",
      `${way}: that is more than relay.maxHops (${maxHops}) relays; send to one nearer to the hub, or raise it`,
    );
  return null;
}

const badName: Problem = {
  status: 400,
  code: "E_EDGE_NAME",
  title: "Bad name",
  detail: "a name of an edge has 1 to 128 letters, digits, _ . or -",
};
const badReport: Problem = {
  status: 400,
  code: "E_CONFIG_STATE",
  title: "Bad state",
  detail: `a state has ${MAX_REPORT_BYTES} bytes at most, and did not come whole`,
};
const away: Problem = {
  status: 503,
  code: "E_UNAVAILABLE",
  title: "Unavailable",
  detail: "the hub is not reached, and it has not said anything for this edge yet; ask again later",
  headers: { "retry-after": "10" },
};
