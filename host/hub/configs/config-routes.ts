import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { formatTime } from "../../../workers/time-format.ts";
import { adminRefusal } from "../../api/admin.ts";
import { isStreamName, type Problem, problemResponse } from "../../api/problem.ts";
import { parseDurationUs } from "../../config/durations.ts";
import { checkRemoteDocument, type RemoteTarget } from "../../config/remote-document.ts";
import { BodyReader } from "../../ingest/body.ts";
import { refuseUnread } from "../../ingest/refuse-unread.ts";
import { callerOf, checkEdge } from "../edge-guard.ts";
import type { HubApp } from "../hub-app.ts";
import type { HubConfig } from "../hub-config.ts";
import {
  CONFIG_REPORT_STATES,
  type ConfigReport,
  type ConfigReportState,
  type ScopeRecord,
  type VersionNote,
} from "./config-records.ts";
import type { ConfigPut, ConfigRegistry, WantedVersion } from "./config-registry.ts";
import { describeRollout, describeVersion } from "./describe-configs.ts";
import { diffLines } from "./line-diff.ts";
import * as problems from "./problems.ts";
import type { RolloutPlan } from "./rollout.ts";

type HubContext = Context<{ Bindings: HttpBindings }>;

export interface ConfigRouteParts {
  readonly config: Pick<HubConfig, "tokens" | "adminToken" | "relays">;
  readonly registry: ConfigRegistry;
}

const MAX_BYTES = 1024 * 1024;
const MAX_MEMBERS = 100_000;
const MAX_BY_CHARACTERS = 128;
const MAX_REASON_CHARACTERS = 2_000;
const MAX_STEPS = 20;
const SIGNATURE = /^[A-Za-z0-9+/]{86}==$/;
const YAML = "application/yaml; charset=utf-8";

/** What edges and administrators say of configurations. */
export function addConfigRoutes(app: HubApp, { config, registry }: ConfigRouteParts): void {
  const bodies = new BodyReader({ maxHeldBytes: 16 * MAX_BYTES });

  const admin = (context: HubContext): Problem | null =>
    adminRefusal(context.env.incoming, config.adminToken);
  /** The edge itself, a relay of it, or an administrator. */
  const forEdge = (context: HubContext, edge: string): Problem | null => {
    const { incoming } = context.env;
    const isAdmin = config.adminToken !== null && adminRefusal(incoming, config.adminToken) === null;
    if (isAdmin) return null;
    const checked = checkEdge(config, { ...callerOf(incoming), edge });
    return checked.ok ? null : checked.problem;
  };
  const readText = async (context: HubContext): Promise<string | Response> => {
    const read = await bodies.read(context.env.incoming, MAX_BYTES);
    if (read.kind === "read") return Buffer.from(read.body).toString();
    return refuseUnread(
      context.env.incoming,
      read.kind === "too-large" ? problems.tooLarge(MAX_BYTES) : problems.unread,
      MAX_BYTES,
    );
  };

  const put = async (context: HubContext, scope: string, target: RemoteTarget): Promise<Response> => {
    const refuse = (problem: Problem): Response => refuseUnread(context.env.incoming, problem, MAX_BYTES);
    const refusal = admin(context);
    if (refusal !== null) return refuse(refusal);
    const name = "edge" in target ? target.edge : target.group;
    if (!isStreamName(name)) return refuse(problems.badName);
    const asked = readPut(context);
    if ("status" in asked) return refuse(asked);
    const document = await readText(context);
    if (typeof document !== "string") return document;
    const found = checkRemoteDocument(document, target);
    if (found.length > 0) {
      const errors = found.map(({ line, path, message, fix }) => {
        return { line, path, message: fix === null ? message : `${message}; ${fix}` };
      });
      return problemResponse({ ...problems.invalid, errors });
    }
    const outcome = await registry.put(scope, { ...asked, document });
    if (outcome.kind === "not-newer") return problemResponse(problems.notNewer(outcome.newest));
    if (outcome.kind === "rolling-out") return problemResponse(problems.rollingOut(outcome.version));
    const { note, etag, rollout } = outcome;
    const answer = {
      ...describeVersion(note),
      ...(rollout === null ? {} : { rollout: describeRollout(rollout) }),
    };
    return context.json(answer, 200, { etag });
  };

  app.get("/v1/config/:edge", async (context) => {
    const edge = context.req.param("edge");
    const refusal = isStreamName(edge) ? forEdge(context, edge) : problems.badName;
    if (refusal !== null) return problemResponse(refusal);
    const wanted = await registry.wanted(edge);
    return wanted === null
      ? problemResponse(problems.noConfig(edge))
      : sendVersion(context, registry, wanted);
  });
  app.put("/v1/config/:edge", (context) => {
    const edge = context.req.param("edge");
    return put(context, `edge:${edge}`, { edge });
  });
  app.delete("/v1/config/:edge", async (context) => {
    const refusal = admin(context);
    if (refusal !== null) return problemResponse(refusal);
    const edge = context.req.param("edge");
    return (await registry.removeOwn(edge))
      ? context.body(null, 204)
      : problemResponse(problems.noConfig(edge));
  });
  app.post("/v1/config/:edge/state", async (context) => {
    const edge = context.req.param("edge");
    const refusal = isStreamName(edge) ? forEdge(context, edge) : problems.badName;
    if (refusal !== null) return refuseUnread(context.env.incoming, refusal, MAX_BYTES);
    const text = await readText(context);
    if (typeof text !== "string") return text;
    const report = readReport(text);
    if (report === null) return problemResponse(problems.badReport);
    await registry.report(edge, report);
    return context.body(null, 204);
  });

  app.get("/v1/config-groups", async (context) => {
    const refusal = admin(context);
    if (refusal !== null) return problemResponse(refusal);
    const edges = await registry.edges();
    const scopes = [...(await registry.scopes())].filter(([name]) => name.startsWith("group:"));
    const groups = scopes.map(([name, scope]) => {
      const group = name.slice("group:".length);
      const members = [...edges].filter(([, edge]) => edge.group === group).map(([edge]) => edge);
      return describeGroup(group, scope, members);
    });
    return context.json({ groups });
  });
  app.get("/v1/config-groups/:group", async (context) => {
    const refusal = admin(context);
    if (refusal !== null) return problemResponse(refusal);
    const group = context.req.param("group");
    const scope = await registry.scope(`group:${group}`);
    const wanted = scope.versions.find(({ version }) => version === scope.current);
    if (wanted === undefined) return problemResponse(problems.noGroup(group));
    const etag = `"${group}@${wanted.version}"`;
    return context.json(describeGroup(group, scope, await registry.membersOf(group)), 200, { etag });
  });
  app.put("/v1/config-groups/:group", (context) => {
    const group = context.req.param("group");
    return put(context, `group:${group}`, { group });
  });
  app.put("/v1/config-groups/:group/edges", async (context) => {
    const group = context.req.param("group");
    const refusal = admin(context) ?? (isStreamName(group) ? null : problems.badName);
    if (refusal !== null) return refuseUnread(context.env.incoming, refusal, MAX_BYTES);
    const text = await readText(context);
    if (typeof text !== "string") return text;
    const edges = readMembers(text);
    if (edges === null) return problemResponse(problems.badMembers);
    await registry.setMembers(group, edges);
    return context.json({ group, edges });
  });
  app.get("/v1/config-groups/:group/rollout", async (context) => {
    const refusal = admin(context);
    if (refusal !== null) return problemResponse(refusal);
    const group = context.req.param("group");
    const { rollout } = await registry.advance(`group:${group}`);
    if (rollout === null) return problemResponse(problems.noRollout(group));
    return context.json(describeRollout(rollout));
  });
  for (const action of ["resume", "abort"] as const) {
    app.post(`/v1/config-groups/:group/rollout/${action}`, async (context) => {
      const refusal = admin(context);
      if (refusal !== null) return problemResponse(refusal);
      const group = context.req.param("group");
      const { rollout } = await registry[action](`group:${group}`);
      if (rollout === null) return problemResponse(problems.noRollout(group));
      return context.json(describeRollout(rollout));
    });
  }

  for (const [path, kind] of [
    ["/v1/config/:name", "edge"],
    ["/v1/config-groups/:name", "group"],
  ] as const) {
    app.get(`${path}/versions`, async (context) => {
      const refusal = admin(context);
      if (refusal !== null) return problemResponse(refusal);
      const { versions } = await registry.scope(`${kind}:${context.req.param("name")}`);
      return context.json({ versions: versions.map(describeVersion).toReversed() });
    });
    app.get(`${path}/versions/:version`, async (context) => {
      const refusal = admin(context);
      if (refusal !== null) return problemResponse(refusal);
      const scope = `${kind}:${context.req.param("name")}`;
      const version = Number(context.req.param("version"));
      const { versions } = await registry.scope(scope);
      const at = versions.findIndex((note) => note.version === version);
      const document = at < 0 ? null : await registry.document(scope, version);
      if (document === null) return problemResponse(problems.noVersion);
      const than = context.req.query("diff");
      if (than === undefined) return context.body(document, 200, { "content-type": YAML });
      const other = than === "" ? versions[at - 1]?.version : Number(than);
      const before = other === undefined ? "" : await registry.document(scope, other);
      return before === null
        ? problemResponse(problems.noVersion)
        : context.body(diffLines(before, document), 200, { "content-type": "text/plain; charset=utf-8" });
    });
  }
}

async function sendVersion(
  context: HubContext,
  registry: ConfigRegistry,
  { scope, note, etag }: WantedVersion,
): Promise<Response> {
  const known = (context.req.header("if-none-match") ?? "")
    .split(",")
    .map((tag) => tag.trim().replace(/^W\//, ""));
  if (known.includes(etag)) return context.body(null, 304, { etag });
  const document = await registry.document(scope, note.version);
  if (document === null) return problemResponse(problems.noVersion);
  return context.body(document, 200, {
    etag,
    "content-type": YAML,
    "cache-control": "no-cache",
    "millrace-config-scope": scope,
    "millrace-config-version": String(note.version),
    ...(note.signature === null ? {} : { "millrace-signature": note.signature }),
  });
}

function describeGroup(group: string, { current, rollout, versions }: ScopeRecord, edges: readonly string[]) {
  const note: VersionNote | undefined = versions.find(({ version }) => version === current);
  return {
    group,
    edges,
    version: current,
    ...(note === undefined ? {} : { at: formatTime(note.atUs), by: note.by }),
    rollout: rollout === null ? null : describeRollout(rollout),
  };
}

/** What a request to put says beside its document, or what is wrong with it. */
function readPut(context: HubContext): Omit<ConfigPut, "document"> | Problem {
  const { req } = context;
  const version = req.header("millrace-config-version") ?? null;
  if (version !== null && !/^[1-9]\d{0,14}$/.test(version)) return problems.badVersion;
  const signature = req.header("millrace-signature") ?? null;
  if (signature !== null && (!SIGNATURE.test(signature) || version === null)) return problems.badSignature;
  const rollout = readRollout(req.query("rollout"), req.query("wait"), req.query("maxFailures"));
  if (rollout === "wrong") return problems.badRollout;
  return {
    version: version === null ? null : Number(version),
    signature,
    by: req.header("millrace-by")?.slice(0, MAX_BY_CHARACTERS) ?? null,
    address: context.env.incoming.socket.remoteAddress ?? null,
    rollout,
  };
}

/** `rollout=5,25,100&wait=10m,1h&maxFailures=1`. The last wait holds for the steps after it. */
export function readRollout(
  percents: string | undefined,
  waits = "10m",
  maxFailures = "0",
): RolloutPlan | null | "wrong" {
  if (percents === undefined) return null;
  const numbers = percents.split(",").map(Number);
  const waitsMs = waits.split(",").map((text) => {
    const us = text === "0" ? 0 : parseDurationUs(text);
    return us === null ? Number.NaN : us / 1_000;
  });
  const grow = numbers.every((percent, index) => percent > (numbers[index - 1] ?? 0) && percent <= 100);
  if (!grow || numbers.at(-1) !== 100 || numbers.length > MAX_STEPS || waitsMs.some(Number.isNaN))
    return "wrong";
  if (!/^\d{1,6}$/.test(maxFailures)) return "wrong";
  const steps = numbers.map((percent, index) => ({ percent, waitMs: waitsMs[index] ?? waitsMs.at(-1) ?? 0 }));
  return { steps, maxFailures: Number(maxFailures) };
}

function readReport(text: string): ConfigReport | null {
  const value = parseJson(text);
  if (value === null) return null;
  const { scope, version, etag, state, reason, atUs } = value;
  const isWhole =
    typeof scope === "string" &&
    scope.length <= 256 &&
    Number.isSafeInteger(version) &&
    typeof etag === "string" &&
    etag.length <= 512 &&
    CONFIG_REPORT_STATES.includes(state as ConfigReportState) &&
    (reason === null || typeof reason === "string") &&
    Number.isSafeInteger(atUs);
  if (!isWhole) return null;
  return {
    scope,
    version: version as number,
    etag,
    state: state as ConfigReportState,
    reason: reason?.slice(0, MAX_REASON_CHARACTERS) ?? null,
    atUs: atUs as number,
  };
}

function readMembers(text: string): readonly string[] | null {
  const edges = parseJson(text)?.edges;
  if (!Array.isArray(edges) || edges.length > MAX_MEMBERS) return null;
  const names = edges.filter((edge): edge is string => typeof edge === "string" && isStreamName(edge));
  return names.length === edges.length ? [...new Set(names)] : null;
}

function parseJson(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : null;
  } catch {
    return null;
  }
}
