import { setTimeout as sleep } from "node:timers/promises";
import { formatBytes } from "../config/sizes.ts";
import { NodeClient, nodeUrl } from "./client.ts";
import { escapeControls } from "./escape.ts";
import { print } from "./output.ts";
import { formatCount } from "./progress.ts";

interface TopOptions {
  readonly url?: string;
  readonly once?: true;
  readonly json?: true;
}

/** The parts of `GET /v1/status` that are shown. */
interface Status {
  readonly node: { readonly id: string; readonly startedAt: string; readonly ready: boolean };
  readonly streams: readonly {
    readonly stream: string;
    readonly rate: number;
    readonly accepted: number;
    readonly lagMs: number | null;
    readonly late: number;
    readonly deadLettered: number;
    readonly clockSkewed: number;
    readonly storedBytes: number;
    readonly skewedDevices: readonly {
      readonly device: string | null;
      readonly events: number;
      readonly medianOffsetMs: number;
    }[];
  }[];
  readonly queries: readonly {
    readonly query: string;
    readonly keys: number;
    readonly openGroups: number;
    readonly results: number;
    readonly stateBytes: number;
    readonly watermark: string | null;
  }[];
  readonly queue: { readonly bytes: number; readonly maxBytes: number; readonly rejected: number };
  /** null before the first look at it. */
  readonly buffer: {
    readonly level: string;
    readonly refusing: boolean;
    readonly usedBytes: number;
    readonly capacityBytes: number;
    readonly imbalance: number;
    readonly streams: readonly {
      readonly downsampled: number;
      readonly givenUp: number;
      readonly expired: number;
      readonly corrupt: number;
    }[];
  } | null;
  readonly store: { readonly databaseBytes: number; readonly commits: number };
  readonly state: {
    readonly largestKeys: {
      readonly query: string;
      readonly keys: readonly { readonly key: string; readonly bytes: number }[];
    } | null;
  };
  readonly checkpoint: { readonly ageMs: number | null };
  readonly memory: { readonly rssBytes: number };
}

const INTERVAL_MS = 1_000;
/** Devices of a stream that are named. */
const SKEWED_SHOWN = 5;
const CLEAR_SCREEN = "\u{1b}[H\u{1b}[2J";

/** `millrace top`: what the node does, redrawn every second; once, where stdout is no terminal. */
export async function top({ url, once, json }: TopOptions): Promise<void> {
  const client = new NodeClient(nodeUrl(url));
  const isLoop = !once && process.stdout.isTTY === true;
  do {
    const status = (await client.json("/v1/status")) as Status;
    if (json) print(JSON.stringify(status));
    else print(`${isLoop ? CLEAR_SCREEN : ""}${draw(status)}`);
    if (isLoop) await sleep(INTERVAL_MS);
  } while (isLoop);
}

function draw(status: Status): string {
  const { node, streams, queries, queue, store, state: windows, checkpoint, memory } = status;
  const state = node.ready ? "ready" : "not ready";
  return [
    `${node.id}: ${state} since ${node.startedAt}, memory ${formatBytes(memory.rssBytes)}`,
    `queue ${formatBytes(queue.bytes)} of ${formatBytes(queue.maxBytes)}, ${formatCount(queue.rejected)} requests turned away`,
    `store ${formatBytes(store.databaseBytes)}, ${formatCount(store.commits)} commits, checkpoint ${formatAge(checkpoint.ageMs)} old`,
    ...drawBuffer(status.buffer),
    "",
    ...alignRows([
      ["STREAM", "EVENTS/S", "ACCEPTED", "LAG", "LATE", "SET ASIDE", "SKEWED", "STORED"],
      ...streams.map((stream) => [
        stream.stream,
        formatCount(stream.rate),
        formatCount(stream.accepted),
        formatAge(stream.lagMs),
        formatCount(stream.late),
        formatCount(stream.deadLettered),
        formatCount(stream.clockSkewed),
        formatBytes(stream.storedBytes),
      ]),
    ]),
    ...drawSkewed(streams),
    "",
    ...alignRows([
      ["QUERY", "KEYS", "OPEN WINDOWS", "RESULTS", "STATE", "WATERMARK"],
      ...queries.map((query) => [
        query.query,
        formatCount(query.keys),
        formatCount(query.openGroups),
        formatCount(query.results),
        formatBytes(query.stateBytes),
        query.watermark ?? "-",
      ]),
    ]),
    ...drawLargestKeys(windows),
  ].join("\n");
}

/** How full the buffer is, and what of the events is not held any more as it came though no hub has it. */
function drawBuffer(buffer: Status["buffer"]): string[] {
  if (buffer === null) return [];
  const { level, refusing, usedBytes, capacityBytes, imbalance, streams } = buffer;
  const of = (read: (stream: (typeof streams)[number]) => number): number =>
    streams.reduce((total, stream) => total + read(stream), 0);
  const losses = [
    ["downsampled", of(({ downsampled }) => downsampled)],
    ["given up", of(({ givenUp }) => givenUp)],
    ["expired", of(({ expired }) => expired)],
    ["corrupt", of(({ corrupt }) => corrupt)],
    ["in no place of the ledger", imbalance],
  ] as const;
  const lost = losses
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${formatCount(count)} ${what}`);
  return [
    `buffer ${formatBytes(usedBytes)} of ${formatBytes(capacityBytes)}, level ${level}${refusing ? ", refusing events" : ""}; ` +
      (lost.length === 0 ? "nothing lost" : `lost: ${lost.join(", ")}`),
  ];
}

/** While window state is over half of its limit. */
function drawLargestKeys({ largestKeys }: Status["state"]): string[] {
  if (largestKeys === null) return [];
  const rows = largestKeys.keys.map(({ key, bytes }) => [`${largestKeys.query}: ${key}`, formatBytes(bytes)]);
  return ["", ...alignRows([["LARGEST KEY", "STATE"], ...rows])];
}

/** Devices whose events were set aside since their clock is ahead; nothing when there are none. */
function drawSkewed(streams: Status["streams"]): string[] {
  const rows = streams.flatMap(({ stream, skewedDevices }) =>
    skewedDevices
      .slice(0, SKEWED_SHOWN)
      .map(({ device, events, medianOffsetMs }) => [
        `${stream}: ${escapeControls(device ?? "-")}`,
        formatAge(medianOffsetMs),
        formatCount(events),
      ]),
  );
  return rows.length === 0 ? [] : ["", ...alignRows([["SKEWED CLOCK", "OFFSET", "SET ASIDE"], ...rows])];
}

/** The first column to the left, figures to the right. */
function alignRows(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, index) => (index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0)))
      .join("  "),
  );
}

/** `12 s`, `5 min`, `3 h`, `324 d` */
function formatAge(ms: number | null): string {
  if (ms === null) return "-";
  const steps = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["min", 60_000],
  ] as const;
  const [unit, size] = steps.find(([, unitMs]) => Math.abs(ms) >= 2 * unitMs) ?? ["s", 1_000];
  return `${formatCount(ms / size)} ${unit}`;
}
