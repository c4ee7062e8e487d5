import type { AlertConfig } from "../config/alert.ts";
import type { Config, QueryConfig, SelectItem, StreamConfig } from "../config/config.ts";
import { formatDuration } from "../config/durations.ts";
import type { RemoteConfigSettings } from "../config/remote-config.ts";
import { formatSize as size } from "../config/sizes.ts";
import type { SyncConfig } from "../config/sync-config.ts";
import { shownAddress } from "../config/webhook-addresses.ts";
import { describeWindow } from "../config/window.ts";
import { describeExpressions, describeTables } from "./describe-expressions.ts";
import { describeDelivery, describeSinks } from "./describe-sinks.ts";

const SECRET_NAME = /token|secret|password|passphrase|credential|authorization|api_?key/i;
const PASSWORD_IN_QUERY = /([?&][^=&#]*(?:token|secret|password|passphrase)[^=&#]*=)[^&#]*/gi;
const USER_IN_URL = /^([a-z][a-z0-9+.-]*:\/\/)[^/?#\s]*@/i;
/** As a call has it without backquotes. */
const PLAIN_NAME = /^[\p{L}_][\p{L}\p{N}_]*(?:\.[\p{L}_][\p{L}\p{N}_]*)*$/u;
const REDACTED = "***";

/** The configuration in force, in the form of its file: what is written there may be read here. */
export function describeConfig(config: Config): object {
  const { limits } = config;
  const { host, port } = config.listen;
  const node = redact({
    node: config.node,
    data: config.dataDir,
    http: {
      listen: `${host.includes(":") ? `[${host}]` : host}:${port}`,
      ...(config.adminToken == null ? {} : { admin: { token: config.adminToken } }),
    },
    checkpoint: { every: formatDuration(config.checkpointEveryMs * 1_000) },
    durability: { groupCommit: formatDuration(config.groupCommitMs * 1_000) },
    workers: { ingest: config.ingestWorkers },
    buffer: {
      ...(config.buffer.capBytes === null ? {} : { cap: size(config.buffer.capBytes) }),
      ...(config.buffer.isRetentionSet ? { retention: formatDuration(config.buffer.retentionUs) } : {}),
    },
    limits: {
      maxBody: size(limits.maxBodyBytes),
      maxQueuedBytes: size(limits.maxQueuedBytes),
      maxQueuedRequests: limits.maxQueuedRequests,
      maxStreams: limits.maxStreams,
      maxSources: limits.maxSources,
      maxKeyClocks: limits.maxKeyClocks,
      maxState: size(limits.maxStateBytes),
      maxWatermarkAhead: formatDuration(limits.maxWatermarkAheadUs),
      maxTable: size(limits.maxTableBytes),
      maxLiveClients: limits.maxLiveClients,
      maxParked: limits.maxParked,
      maxParkedBytes: size(limits.maxParkedBytes),
      maxConnections: limits.maxConnections,
      maxWebhooksPerSecond: limits.maxWebhooksPerSecond,
      maxQueuedWebhooks: limits.maxQueuedWebhooks,
      maxDevices: limits.maxDevices,
      maxDeviceAttributes: limits.maxDeviceAttributes,
      maxAttributeBytes: size(limits.maxAttributeBytes),
    },
    ...(config.sync == null ? {} : { sync: describeSync(config.sync) }),
  });
  // Names and expressions only, and any name is allowed: there is nothing to hide, and "token" may be a field.
  const streams = Object.fromEntries(
    [...config.streams].map(([name, stream]) => [name, describeStream(stream)]),
  );
  const queries = Object.fromEntries(
    [...config.queries].map(([name, query]) => [name, describeQuery(query)]),
  );
  const alerts = Object.fromEntries([...config.alerts].map(([name, alert]) => [name, describeAlert(alert)]));
  // Nothing of encryption and of the relay: they cannot be put, so that what is read here may be put back.
  return { ...node, streams, ...describeTables(config.tables), queries, alerts };
}

function describeSync(sync: SyncConfig): object {
  const { url, token, sinks } = sync;
  return {
    ...(url === null ? {} : { url }),
    ...(token === null ? {} : { token }),
    ...describeDelivery(sync),
    ...(sync.remote === null ? {} : { config: describeRemote(sync.remote) }),
    ...(sinks.length === 0 ? {} : { sinks: describeSinks(sinks) }),
  };
}

function describeRemote(remote: RemoteConfigSettings): object {
  const { everyMs, publicKey, group, watchMs, reachMs, maxBadShare } = remote;
  return {
    every: formatDuration(everyMs * 1_000),
    ...(publicKey === null ? {} : { publicKey }),
    ...(group === null ? {} : { group }),
    watch: formatDuration(watchMs * 1_000),
    reach: formatDuration(reachMs * 1_000),
    maxBad: Math.round(maxBadShare * 100),
  };
}

function describeStream({ key, time, fields, extra, watermark, latenessUs, priority }: StreamConfig): object {
  return {
    ...(key.isDeclared ? { key: key.fields[0] } : {}),
    time: { ...(time.isDeclared ? { field: time.fields[0] } : {}), unit: time.unit },
    ...(fields === null ? {} : { fields: Object.fromEntries(fields.map(({ name, type }) => [name, type])) }),
    extra,
    watermark: {
      bound: formatDuration(watermark.boundUs),
      per: watermark.per,
      idle: formatDuration(watermark.idleUs),
      maxAhead: formatDuration(watermark.maxAheadUs),
    },
    lateness: formatDuration(latenessUs),
    priority,
  };
}

function describeQuery(query: QueryConfig): object {
  const { from, window, by, select, expressions, earlyUs, latenessUs, backfillUs } = query;
  return {
    from,
    ...describeExpressions(expressions),
    window: describeWindow(window),
    ...(earlyUs === undefined ? {} : { early: formatDuration(earlyUs) }),
    ...(latenessUs === undefined ? {} : { lateness: formatDuration(latenessUs) }),
    ...(backfillUs === undefined
      ? {}
      : { backfill: backfillUs === "all" ? "all" : formatDuration(backfillUs) }),
    ...(by === null ? {} : { by }),
    select: select === "*" ? "*" : Object.fromEntries(select.map((item) => [item.name, call(item)])),
  };
}

/** An address may hold a secret, so only its beginning is shown. */
function describeAlert({ from, when, clear, for: patience, severity, webhooks }: AlertConfig): object {
  return {
    from: from.name,
    when: when.text,
    ...(clear === null ? {} : { clear: clear.text }),
    for: patience.kind === "samples" ? patience.count : formatDuration(patience.us),
    severity,
    ...(webhooks.length === 0 ? {} : { notify: webhooks.map((url) => ({ webhook: shownAddress(url) })) }),
  };
}

function call({ fn, field, parameter, bounds = [] }: SelectItem): string {
  const isCurve = fn === "twa" || fn === "integral";
  const argument = isCurve && parameter !== null ? "step" : parameter;
  const name = field === null || PLAIN_NAME.test(field) ? field : `\`${field}\``;
  return `${fn}(${[name, argument, ...bounds].filter((part) => part !== null).join(", ")})`;
}

/** A copy without secrets: members that are named like one, and users and passwords in addresses. */
export function redact<T>(value: T): T {
  return JSON.parse(
    JSON.stringify(value, (name, member: unknown) => {
      if (typeof member !== "string") return member;
      if (SECRET_NAME.test(name)) return REDACTED;
      return member.replace(USER_IN_URL, `$1${REDACTED}@`).replace(PASSWORD_IN_QUERY, `$1${REDACTED}`);
    }),
  ) as T;
}
