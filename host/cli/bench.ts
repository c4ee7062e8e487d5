import { setTimeout as sleep } from "node:timers/promises";
import { fleetConfig } from "./bench/fleet-bodies.ts";
import { GeneratedLoad, type LoadFigures } from "./bench/generated-load.ts";
import { OwnNode } from "./bench/own-node.ts";
import { formatProfile, profileOf, readUsage, type Usage } from "./bench/profile.ts";
import { readThreadCpuNs } from "./bench/thread-usage.ts";
import { CommandError, NodeClient, nodeUrl } from "./client.ts";
import { EXIT, print, warn } from "./output.ts";
import { formatCount } from "./progress.ts";

export interface BenchOptions {
  readonly url?: string;
  readonly stream?: string;
  readonly seconds: number;
  readonly rate?: number;
  readonly devices: number;
  readonly batch: number;
  readonly connections: number;
  readonly data?: string;
  readonly profile?: true;
  readonly json?: true;
}

const STREAM = "bench";
const WARMUP_MS = 2_000;
/** Before that, the load is not over for the windows. */
const SETTLE_LIMIT_MS = 30_000;
const SETTLE_POLL_MS = 50;
/** In a node of its own, event time passes as if so many events came in a second, so that windows close. */
const EVENTS_PER_EVENT_SECOND = 100_000;

interface Target {
  /** null: of another machine, for all we know. */
  readonly pid: number | null;
  readonly url: string;
  readonly stream: string;
  readonly eventTime: (body: number) => { readonly endMs: number; readonly spreadMs: number };
  close(): Promise<void>;
}

/** `millrace bench`: generated load against a node of its own, or against a running one, and what it costs there. */
export async function bench(options: BenchOptions): Promise<void> {
  const target = await aim(options);
  const client = new NodeClient(target.url);
  const load = new GeneratedLoad({
    url: target.url,
    stream: target.stream,
    connections: options.connections,
    devices: options.devices,
    eventsPerBody: options.batch,
    rate: options.rate ?? null,
    eventTime: target.eventTime,
  });
  try {
    await load.run(Math.min(WARMUP_MS, options.seconds * 1_000));
    const before = await usageOf(client, target.pid);
    const figures = await load.run(options.seconds * 1_000);
    const after = await usageOf(client, target.pid);
    if (options.url === undefined) await checkCounts(client, target.stream, load.acknowledged);
    tell(figures, before, after, options);
  } finally {
    load.close();
    await target.close();
  }
}

async function aim({ url, stream = STREAM, batch, data }: BenchOptions): Promise<Target> {
  if (url !== undefined) {
    warn(`the events go into stream ${stream} of that node, and stay there`);
    // A running node may set aside what is ahead of its clock.
    const eventTime = (): { endMs: number; spreadMs: number } => ({ endMs: Date.now(), spreadMs: 1 });
    return { pid: null, url: nodeUrl(url), stream, eventTime, close: () => Promise.resolve() };
  }
  if (stream !== STREAM)
    throw new CommandError(EXIT.usage, "--stream names a stream of a running node: give its --url too");
  const node = await OwnNode.start(fleetConfig(STREAM, `${STREAM}_1m`, "1m", "5s"), data ?? null);
  const firstMs = Date.now();
  const msPerBody = Math.max(1, Math.round((batch / EVENTS_PER_EVENT_SECOND) * 1_000));
  const eventTime = (body: number): { endMs: number; spreadMs: number } => ({
    endMs: firstMs + (body + 1) * msPerBody,
    spreadMs: msPerBody,
  });
  return { pid: node.pid, url: node.url, stream, eventTime, close: () => node.close() };
}

/** Once everything acknowledged is in the windows: only then have all stages done their part. */
async function usageOf(client: NodeClient, pid: number | null): Promise<Usage> {
  const giveUpMs = performance.now() + SETTLE_LIMIT_MS;
  while (!((await client.json("/v1/status")) as { settled: boolean }).settled) {
    if (performance.now() > giveUpMs)
      throw new CommandError(EXIT.failed, "the windows did not keep up; send less with --rate");
    await sleep(SETTLE_POLL_MS);
  }
  const text = await (await client.get("/metrics")).text();
  return readUsage(text, pid === null ? undefined : readThreadCpuNs(pid));
}

async function checkCounts(client: NodeClient, stream: string, acknowledged: number): Promise<void> {
  const { accepted } = (await client.json(`/v1/streams/${encodeURIComponent(stream)}`)) as {
    accepted: number;
  };
  if (accepted === acknowledged) return;
  throw new CommandError(
    EXIT.failed,
    `${acknowledged} events were acknowledged, but the node counts ${accepted}`,
  );
}

function tell(
  { events, elapsedMs, latenciesMs, refused }: LoadFigures,
  before: Usage,
  after: Usage,
  options: BenchOptions,
): void {
  const profile = profileOf(before, after, events);
  const ack = {
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
    maxMs: quantile(latenciesMs, 1),
  };
  const figures = {
    events,
    seconds: elapsedMs / 1_000,
    eventsPerSecond: (events / elapsedMs) * 1_000,
    ack,
    refused,
    cores: (after.cpuNs - before.cpuNs) / (elapsedMs * 1e6),
    cpuNsPerEvent: profile.cpuNs,
    residentBytes: after.residentBytes,
  };
  if (options.json || process.stdout.isTTY !== true) {
    print(JSON.stringify({ ...figures, ...(options.profile ? { profile } : {}) }));
    return;
  }
  const { eventsPerSecond, cores, cpuNsPerEvent, residentBytes } = figures;
  print(
    `${formatCount(eventsPerSecond)} events/s durable: ${formatCount(events)} in ${figures.seconds.toFixed(1)} s`,
  );
  print(
    `acknowledged in ${ack.p50Ms.toFixed(1)} ms (p50), ${ack.p99Ms.toFixed(1)} ms (p99), ${ack.maxMs.toFixed(1)} ms (max); ${refused} refused`,
  );
  print(
    `the node: ${cores.toFixed(2)} cores, ${cpuNsPerEvent.toFixed(0)} ns of CPU an event, RSS ${formatCount(residentBytes / 1e6)} MB`,
  );
  if (options.profile) print(`\n${formatProfile(profile)}`);
}

/** By the nearest rank. */
function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}
