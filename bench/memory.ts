import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../test/support/http-client.ts";
import { type NodeProcess, spawnNode } from "../test/support/node-process.ts";
import type { Cleanup } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";
import { FIRST_EVENT_MS } from "./support/closed-loop.ts";
import { measureFootprints } from "./support/footprint.ts";
import { readUsage } from "./support/proc.ts";

/**
 * Memory: a million live keys of one query in a real node. How much memory the process takes, for how long checkpoints hold
 * the windows, how large they are, and how long a start takes to restore them; for windows of time, and for sessions. And
 * what streams and queries take, by how many there are.
 */

const DEFAULT_KEYS = 1_000_000;
const EVENTS_PER_BODY = 4_000;
const SENDERS = 4;
/** The share of keys that change between two checkpoints. */
const CHANGED_SHARE = 0.01;
const LONGEST_WAIT_MS = 120_000;
const AIM = "the aims: RSS up to 600 MB, no pause above 20 ms";
const WINDOWS: Readonly<Record<string, string>> = {
  tumbling: "{ tumbling: 1d }",
  session: "{ session: 1h }",
};

interface Status {
  readonly settled: boolean;
  readonly store: { readonly lastSeq: number };
  readonly state: { readonly bytes: number };
  readonly checkpoint: { readonly seq: number; readonly last: Figures | null };
}

interface Figures {
  readonly kind: string;
  readonly bytes: number;
  readonly pauses: number;
  readonly medianPauseMs: number;
  readonly longestPauseMs: number;
  readonly tookMs: number;
}

type Row = BenchReport["rows"][number];

interface Part {
  readonly rows: readonly Row[];
  readonly notes: readonly string[];
}

const PARTS: Readonly<
  Record<string, (options: BenchOptions, cleanup: Cleanup, failures: string[]) => Promise<Part>>
> = { keys: measureKeys, footprint: measureFootprints };

/** `--part`: one of `PARTS`, not all. */
export async function run(options: BenchOptions): Promise<BenchReport> {
  const only = options.settings.get("part");
  const failures: string[] = [];
  const rows: Row[] = [];
  const notes: string[] = [];
  for (const [name, measurePart] of Object.entries(PARTS)) {
    if (only !== undefined && only !== name) continue;
    const part = await withCleanups((cleanup) => measurePart(options, cleanup, failures));
    rows.push(...part.rows);
    notes.push(...part.notes);
  }
  return { name: "memory", rows, notes, failures };
}

async function measureKeys({ settings }: BenchOptions, cleanup: Cleanup, failures: string[]): Promise<Part> {
  const keys = Number(settings.get("keys") ?? DEFAULT_KEYS);
  const rows: Row[] = [];
  for (const [name, window] of Object.entries(WINDOWS)) {
    rows.push(...(await measure(name, window, keys, cleanup, failures)));
  }
  const notes = [
    AIM,
    `${keys} keys, one event each, n, mean, low and high of one field; then one of ${1 / CHANGED_SHARE} keys again; then keys at random while a checkpoint is written`,
    "a pause is a stretch for which the window thread does nothing but the checkpoint; bytes as written, zstd 1",
  ];
  return { rows, notes };
}

function configOf(window: string): string {
  return `
checkpoint: { every: 3s }
limits: { maxState: 1GiB }
streams:
  s: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1h, maxAhead: 36500d }, lateness: 0s }
queries:
  q: { from: s, window: ${window}, select: { n: count(), mean: avg(v), low: min(v), high: max(v) } }
`;
}

async function measure(
  name: string,
  window: string,
  keys: number,
  cleanup: Cleanup,
  failures: string[],
): Promise<Row[]> {
  const node = await spawnNode({ config: configOf(window) }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const describe = (
    what: string,
    { kind, bytes, pauses, medianPauseMs, longestPauseMs, tookMs }: Figures,
  ): Row => ({
    window: name,
    checkpoint: `${what} (${kind})`,
    "MB written": bytes / 1e6,
    pauses,
    "pause p50 ms": medianPauseMs,
    "pause max ms": longestPauseMs,
    "took ms": Math.round(tookMs),
    "RSS MB": residentMb(node),
  });
  await send(client, range(keys));
  // What was written meanwhile was of a part of the keys; a start begins with a whole checkpoint.
  await node.restart("SIGTERM");
  await send(client, [0]);
  const whole = describe("all keys", await covered(client));
  await send(client, range(Math.round(keys * CHANGED_SHARE), Math.round(1 / CHANGED_SHARE)));
  const changed = describe("1 % changed", await covered(client));
  await send(client, range(keys, 7_919, keys));
  const busy = describe("under load", await covered(client));
  const { state } = await client.json<Status>("/v1/status");
  const residentBefore = residentMb(node);
  await node.restart("SIGTERM");
  const restored = node.lastEntry("checkpoint restored");
  const { state: after } = await client.json<Status>("/v1/status");
  if (after.bytes === 0) failures.push(`${name}: nothing was restored`);
  const restore = {
    window: name,
    checkpoint: "restored at the start",
    "took ms": Number(restored?.restoredMs ?? Number.NaN),
    "RSS MB": residentMb(node),
    "state MB": state.bytes / 1e6,
    "RSS before MB": residentBefore,
  };
  await node.stop();
  return [whole, changed, busy, restore];
}

const residentMb = (node: NodeProcess): number =>
  Math.round((readUsage(node.pid)?.residentBytes ?? Number.NaN) / 1e6);

/** `count` numbers, `step` apart, round and round below `most`. */
function range(count: number, step = 1, most = Number.POSITIVE_INFINITY): number[] {
  return Array.from({ length: count }, (_, n) => (n * step) % most);
}

async function send(client: HttpClient, devices: readonly number[]): Promise<void> {
  let next = 0;
  const sender = async (): Promise<void> => {
    while (next < devices.length) {
      const own = devices.slice(next, next + EVENTS_PER_BODY);
      next += own.length;
      const events = own.map((device) => ({ device: `device-${device}`, ts: FIRST_EVENT_MS, v: device / 8 }));
      for (;;) {
        const answer = await client.post("s", events);
        if (answer.status === 200) break;
        await sleep(50);
      }
    }
  };
  await Promise.all(Array.from({ length: SENDERS }, sender));
}

/** The figures of the checkpoint that has all that was sent. */
async function covered(client: HttpClient): Promise<Figures> {
  const giveUpMs = performance.now() + LONGEST_WAIT_MS;
  for (;;) {
    const { store, checkpoint, settled } = await client.json<Status>("/v1/status");
    if (settled && checkpoint.last !== null && checkpoint.seq >= store.lastSeq) return checkpoint.last;
    if (performance.now() > giveUpMs) throw new Error("no checkpoint was written in time");
    await sleep(20);
  }
}
