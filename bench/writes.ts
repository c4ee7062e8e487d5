import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { HttpClient } from "../test/support/http-client.ts";
import { REPOSITORY_ROOT, spawnNode } from "../test/support/node-process.ts";
import { type Cleanup, makeTempDir } from "../test/support/temp-dir.ts";
import type { BenchOptions, BenchReport } from "./report.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { fleetConfig } from "./support/fleet.ts";
import type { OpenLoopMessage, OpenLoopOptions } from "./support/open-loop-client.ts";

/** What a node writes to its disk for what it keeps, and for what: an SD card wears by bytes written. */

const CASES = [
  { rate: 1_000, groupCommit: "5ms" },
  { rate: 1_000, groupCommit: "1s" },
  { rate: 100_000, groupCommit: "5ms" },
  { rate: 100_000, groupCommit: "1s" },
] as const;
const DEFAULT_SECONDS = 60;
/** Small blocks are merged in rounds of 10 s, up to the last checkpoint: they are done when two looks so far apart find the same. */
const MERGED_LOOK_MS = 15_000;
const MERGED_LOOKS = 12;
const WARMUP_MS = 2_000;
const CONNECTIONS = 256;
const PAGE_BYTES = 4096;
const FRAME_BYTES = PAGE_BYTES + 24;
/** Records of `write-log.c`. */
const RECORD_BYTES = 8;
const [FRAME, PAGE] = [0, 1];

/** Tables and indexes by what they are for. */
const CAUSES: readonly (readonly [cause: string, names: RegExp])[] = [
  ["blocks", /^blocks$/],
  ["their indexes", /^(blocks_|block_keys)/],
  ["counts", /^(counters|streams)$/],
  ["results", /^(results|query_spans)/],
  ["checkpoints", /checkpoint/],
];

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups(async (cleanup) => {
    const rows = [];
    const { settings } = options;
    const cases = CASES.filter(
      ({ rate, groupCommit }) =>
        Number(settings.get("rate") ?? rate) === rate &&
        (settings.get("commit") ?? groupCommit) === groupCommit,
    );
    for (const each of cases) rows.push(await measure(each, options.seconds ?? DEFAULT_SECONDS, cleanup));
    return {
      name: "writes",
      rows,
      notes: [
        "written / stored: bytes of the node that the kernel sends to the disk (write_bytes of /proc/PID/io) by the compressed",
        "blocks that are kept, under load without the log's rest; with merging: until small blocks are merged, by what is kept then,",
        "with the way of the log's rest into the database; the columns behind it: of it, what SQLite writes",
        "for each, into the log + into the database; pages that changed hands meanwhile are under other, as are SQLite's own",
      ],
    };
  });
}

async function measure({ rate, groupCommit }: (typeof CASES)[number], seconds: number, cleanup: Cleanup) {
  const dir = makeTempDir(cleanup);
  const [library, log] = [join(dir, "write-log.so"), join(dir, "writes")];
  const source = join(REPOSITORY_ROOT, "bench/support/write-log.c");
  execFileSync("cc", ["-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"]);
  const dataDir = join(dir, "data");
  const environment = { LD_PRELOAD: library, WRITE_LOG: log, WRITE_LOG_DIR: dataDir };
  const config = `durability: { groupCommit: ${groupCommit} }${fleetConfig("10s", "1s")}`;
  const node = await spawnNode({ config, dataDir, environment }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const eventsPerBody = Math.max(10, rate / 100);
  const load: OpenLoopOptions = {
    url: node.url,
    path: "/v1/streams/fleet/events",
    connections: CONNECTIONS,
    devices: 1_000,
    // One for each request that may be under way.
    bodies: CONNECTIONS,
    eventsPerBody,
    bodiesPerSecond: rate / eventsPerBody,
    warmupMs: WARMUP_MS,
    measureMs: seconds * 1_000,
  };
  const before = writtenBytes(node.pid);
  const recordsBefore = readFileSync(log).length;
  const child = new Child<OpenLoopMessage>(
    new URL("./support/open-loop-client.ts", import.meta.url),
    load,
    cleanup,
  );
  while ((await child.next()).kind !== "done");
  await sleep(500);
  const written = writtenBytes(node.pid) - before - (readFileSync(log).length - recordsBefore);
  const own = await client.json<StreamSizes>("/v1/streams/fleet");
  await untilMerged(client);
  const { accepted, storedBytes } = await client.json<StreamSizes>("/v1/streams/fleet");
  // The log of writes is the node's too.
  const records = readFileSync(log).subarray(recordsBefore);
  const byNode = writtenBytes(node.pid) - before - records.length;
  const { tables, restBytes } = emptyLog(dataDir);
  await node.stop();
  const byCause = sumByCause(records, tables);
  const share = (bytes: number): string => (bytes / storedBytes).toFixed(2);
  const causes = [...CAUSES.map(([cause]) => cause), "other"].map((cause) => {
    const { logged = 0, moved = 0 } = byCause.get(cause) ?? {};
    return [cause, `${share(logged)} + ${share(moved)}`] as const;
  });
  return {
    "events/s": rate,
    groupCommit,
    events: accepted,
    "stored B/event": (storedBytes / accepted).toFixed(1),
    "written / stored, under load": (written / own.storedBytes).toFixed(2),
    "with merging": share(byNode + restBytes),
    "of it the log's rest": share(restBytes),
    ...Object.fromEntries(causes),
  };
}

interface StreamSizes {
  readonly accepted: number;
  readonly storedBytes: number;
  readonly blocks: number;
}

/** Waits until no more blocks become one. */
async function untilMerged(client: HttpClient): Promise<void> {
  let before = -1;
  for (let look = 0; look < MERGED_LOOKS; look++) {
    await sleep(MERGED_LOOK_MS);
    const { blocks } = await client.json<StreamSizes>("/v1/streams/fleet");
    if (blocks === before && look > 2) return;
    before = blocks;
  }
}

/** Moves what is left in the write-ahead log into the database. @returns the pages of each table, and the bytes of it. */
function emptyLog(dataDir: string): { tables: ReadonlyMap<number, string>; restBytes: number } {
  const db = new Database(join(dataDir, "millrace.db"));
  try {
    const rows = db.prepare("SELECT pageno, name FROM dbstat").all() as { pageno: number; name: string }[];
    const before = writtenBytes(process.pid);
    db.pragma("wal_checkpoint(PASSIVE)");
    const restBytes = writtenBytes(process.pid) - before;
    return { tables: new Map(rows.map(({ pageno, name }) => [pageno, name])), restBytes };
  } finally {
    db.close();
  }
}

function sumByCause(
  records: Buffer,
  tables: ReadonlyMap<number, string>,
): Map<string, { logged: number; moved: number }> {
  const sums = new Map<string, { logged: number; moved: number }>();
  for (let at = 0; at + RECORD_BYTES <= records.length; at += RECORD_BYTES) {
    const kind = records.readUInt32LE(at);
    if (kind !== FRAME && kind !== PAGE) continue;
    const name = tables.get(records.readUInt32LE(at + 4)) ?? "";
    const cause = CAUSES.find(([, names]) => names.test(name))?.[0] ?? "other";
    const sum = sums.get(cause) ?? { logged: 0, moved: 0 };
    if (kind === FRAME) sum.logged += FRAME_BYTES;
    else sum.moved += PAGE_BYTES;
    sums.set(cause, sum);
  }
  return sums;
}

function writtenBytes(pid: number): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1] ?? 0);
}
