import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { readLog } from "../../workers/store/log-reader.ts";
import { Reader } from "../../workers/store/reader.ts";
import { Store } from "../../workers/store/store.ts";
import { Random } from "../support/random.ts";
import type { Acknowledged } from "../support/store-child.ts";
import { countLines, makeBatch, makeCheckpoint, makeLate, makeResults } from "../support/store-operations.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const KILLS = Number(process.env.MILLRACE_KILLS ?? 12);
const LONGEST_LIFE_MS = 400;
/** Some lives end while the store is being opened. */
const EARLY_DEATH_SHARE = 0.2;
/** Between some lives nobody looks, so that a log is recovered that a recovery had already written to. */
const LOOK_SHARE = 0.5;
const CHILD = fileURLToPath(new URL("../support/store-child.ts", import.meta.url));
const EVERYTHING = Number.MAX_SAFE_INTEGER;

test(`${KILLS} times kill -9 while committing: what was acknowledged is there, once and whole`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const dir = makeTempDir(context);
  const acknowledged: Acknowledged[] = [];
  for (let life = 0; life < KILLS; life++) {
    const lived = await liveAndDie(dir, life, random);
    assertSeqsGrow(acknowledged, lived);
    acknowledged.push(...lived);
    if (life === KILLS - 1 || random.chance(LOOK_SHARE)) verify(dir, acknowledged);
  }
  context.diagnostic(`${acknowledged.length} operations acknowledged`);
  assert.ok(acknowledged.length > KILLS, "the children got to work");
});

async function liveAndDie(dir: string, life: number, random: Random): Promise<Acknowledged[]> {
  const args = [CHILD, dir, String(life), String(random.integer(0, 2 ** 30))];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
  });
  if (!random.chance(EARLY_DEATH_SHARE))
    await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
  await sleep(random.integer(0, LONGEST_LIFE_MS));
  assert.equal(child.exitCode, null, "the child did not fail by itself");
  child.kill("SIGKILL");
  await once(child, "close");
  const whole = output.slice(0, output.lastIndexOf("\n") + 1);
  return whole
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Acknowledged);
}

/** No seq is given out twice: each life goes on after the last. */
function assertSeqsGrow(earlier: readonly Acknowledged[], lived: readonly Acknowledged[]): void {
  const given = (list: readonly Acknowledged[]) =>
    list.flatMap((each) =>
      (each.kind === "batch" || each.kind === "watermark") && each.seq !== null ? [each.seq] : [],
    );
  const now = given(lived);
  assert.equal(new Set(now).size, now.length);
  const last = Math.max(0, ...given(earlier));
  for (const seq of now) assert.ok(seq > last, `seq ${seq} after ${last}`);
}

function verify(dir: string, acknowledged: readonly Acknowledged[]): void {
  const store = Store.open(dir);
  const reader = new Reader(dir);
  const db = new Database(databaseFile(dir), { readonly: true });
  try {
    assert.deepEqual(db.pragma("integrity_check", { simple: true }), "ok");
    assert.deepEqual(db.pragma("foreign_key_check"), []);
    verifyBatches(store, db, acknowledged);
    verifyLate(reader, acknowledged);
    verifyResults(reader, acknowledged);
    verifyLog(store, acknowledged);
  } finally {
    db.close();
    reader.close();
    store.close();
  }
}

/** Every batch is whole or not there at all, those acknowledged are there, and the counts are those of the rows. */
function verifyBatches(store: Store, db: Database.Database, acknowledged: readonly Acknowledged[]): void {
  const lines = new Map<string, number>();
  for (const entry of readLog(store.sql, 0, EVERYTHING))
    if (entry.kind === "block") countLines(entry.block, lines);
  const skewed = new Map<string, number>();
  for (const block of db.prepare("SELECT data, count FROM late WHERE reason = 'clock-skew'").all()) {
    countLines(block as Parameters<typeof countLines>[0], skewed);
  }
  const letters = new Map<string, number>();
  for (const row of db.prepare("SELECT text, count(*) AS n FROM dead_letters GROUP BY text").all()) {
    const { text, n } = row as { text: string; n: number };
    letters.set(text, n);
  }
  for (const name of lines.keys()) {
    const batch = makeBatch(name);
    assert.deepEqual(
      [lines.get(name), skewed.get(name) ?? 0, letters.get(name) ?? 0],
      [batch.lines, batch.skewed, batch.deadLetters],
      `batch ${name} is whole`,
    );
  }
  for (const name of [...skewed.keys(), ...letters.keys()])
    assert.ok(lines.has(name), `${name} has its block`);
  for (const each of acknowledged) {
    if (each.kind === "batch") assert.ok(lines.has(each.name), `${each.name} was acknowledged`);
  }
  const sum = (found: ReadonlyMap<string, number>) => [...found.values()].reduce((a, b) => a + b, 0);
  const counts = store.recovered.streams.map((stream) => stream.counts);
  const total = (name: keyof (typeof counts)[number]) => counts.reduce((all, each) => all + each[name], 0);
  assert.deepEqual(
    [total("accepted"), total("clockSkewed"), total("deadLettered")],
    [sum(lines), sum(skewed), sum(letters)],
  );
  const counters = db.prepare("SELECT dead_letters, idempotency_keys FROM counters").get();
  assert.deepEqual(counters, { dead_letters: sum(letters), idempotency_keys: lines.size });
  const late = db.prepare("SELECT coalesce(sum(count), 0) AS n FROM late WHERE reason = 'late'").get();
  assert.deepEqual(late, { n: total("late") });
}

function verifyLate(reader: Reader, acknowledged: readonly Acknowledged[]): void {
  const stored = new Map(
    ["machines", "doors", "pumps"].flatMap((stream) =>
      reader
        .late(stream, 0, EVERYTHING)
        .flatMap((late) => (late.reason === "late" ? [[late.sourceSeq, late]] : [])),
    ) as [number, ReturnType<Reader["late"]>[number]][],
  );
  for (const each of acknowledged) {
    if (each.kind === "late") assert.ok(stored.has(each.seq), `late events of ${each.seq} were acknowledged`);
  }
  for (const [seq, { block }] of stored) assert.deepEqual(block.data, makeLate(seq).block.data);
}

function verifyResults(reader: Reader, acknowledged: readonly Acknowledged[]): void {
  const none = { fromUs: null, toUs: null, key: null, kind: null, after: null };
  const rows = reader.results({ ...none, query: "temp_1m", revisions: "all", limit: EVERYTHING });
  const stored = new Map(rows.map((row) => [row.key, row]));
  for (const each of acknowledged) {
    if (each.kind !== "results") continue;
    for (const row of makeResults(each.name).rows) assert.deepEqual(stored.get(row.key), row);
  }
}

/** The newest checkpoint is whole, and the log after the one before it still holds what was acknowledged. */
function verifyLog(store: Store, acknowledged: readonly Acknowledged[]): void {
  const { checkpoint, lastSeq } = store.recovered;
  const seqs = (kind: Acknowledged["kind"]) =>
    acknowledged.flatMap((each) =>
      each.kind === kind && "seq" in each && each.seq !== null ? [each.seq] : [],
    );
  assert.ok(lastSeq >= Math.max(0, ...seqs("batch"), ...seqs("watermark")));
  const newest = Math.max(-1, ...seqs("checkpoint"));
  assert.ok((checkpoint?.seq ?? -1) >= newest, `checkpoint ${newest} was acknowledged`);
  if (checkpoint !== null) assert.deepEqual(checkpoint.state, makeCheckpoint(checkpoint.seq).state);
  const { seq: oldest } = store.sql.oldestCheckpoint.get() as { seq: number };
  const log = readLog(store.sql, oldest, EVERYTHING);
  const stored = new Set(log.map(({ seq }) => seq));
  for (const seq of [...seqs("batch"), ...seqs("watermark")]) {
    if (seq > oldest) assert.ok(stored.has(seq), `${seq} is in the log after ${oldest}`);
  }
}
