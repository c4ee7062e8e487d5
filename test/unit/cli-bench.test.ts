import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatProfile, type Profile, profileOf, readUsage } from "../../host/cli/bench/profile.ts";
import { STAGES } from "../../host/pipeline/stages.ts";
import { HttpClient } from "../support/http-client.ts";
import { millrace } from "../support/millrace.ts";
import { REPOSITORY_ROOT, spawnNode } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const POLL_MS = 20;

interface Figures {
  readonly events: number;
  readonly seconds: number;
  readonly ack: { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
  readonly residentBytes: number;
  readonly profile: Profile;
}

/** `/metrics` of a node after so many events, each of which took so long. */
function metrics(events: number, nsEach: number): string {
  const lines = STAGES.flatMap((stage) => [
    `millrace_stage_seconds_total{stage="${stage}"} ${(events * nsEach) / 1e9}`,
    `millrace_stage_events_total{stage="${stage}"} ${stage === "emit" ? events / 100 : events}`,
  ]);
  const cpu = `millrace_process_cpu_seconds_total ${(events * nsEach * 12) / 1e9}`;
  return [...lines, cpu, "millrace_process_resident_memory_bytes 123000000", ""].join("\n");
}

test("a profile is what has grown between two readings, by event", () => {
  const before = readUsage(metrics(1_000, 50), new Map([["ingest", 100_000]]));
  const after = readUsage(
    metrics(3_000, 50),
    new Map([
      ["ingest", 700_000],
      ["storage", 900_000],
      ["query", 0],
    ]),
  );
  assert.equal(after.residentBytes, 123e6);
  const profile = profileOf(before, after, 2_000);
  assert.deepEqual(
    profile.stages.map(({ stage, nsPerEvent, count, nsEach }) => [
      stage,
      Math.round(nsPerEvent),
      count,
      Math.round(nsEach ?? 0),
    ]),
    STAGES.map((stage) => (stage === "emit" ? [stage, 50, 20, 5_000] : [stage, 50, 2_000, 50])),
  );
  assert.equal(Math.round(profile.sumNs), 50 * STAGES.length);
  assert.equal(Math.round(profile.cpuNs), 600);
  const table = formatProfile(profile).split("\n");
  assert.equal(table.length, STAGES.length + 5);
  assert.deepEqual(profile.threads, [
    { thread: "storage", cpuNs: 450 },
    { thread: "ingest", cpuNs: 300 },
  ]);
  assert.match(table[3] ?? "", /^parse +50\.0 +11\.1 % +50\.0 {2}lane$/);
  assert.match(table.at(-3) ?? "", /^process CPU +600\.0 /);
  assert.match(table.at(-1) ?? "", /^ {2}ingest +300\.0$/);
});

test("a node of its own: every stage has its share, and nothing is left behind", async (context) => {
  const dir = makeTempDir(context);
  const run = await millrace("bench", "--seconds", "1", "--batch", "500", "--profile", "--data", dir);
  assert.equal(run.code, 0, run.stderr);
  const { events, ack, residentBytes, profile } = JSON.parse(run.stdout) as Figures;
  assert.ok(events > 0 && events % 500 === 0);
  assert.ok(ack.p50Ms > 0 && ack.p50Ms <= ack.p99Ms && ack.p99Ms <= ack.maxMs);
  assert.ok(residentBytes > 10e6);
  assert.deepEqual(
    profile.stages.map(({ stage }) => stage),
    STAGES,
  );
  for (const { stage, count, nsPerEvent } of profile.stages) {
    if (stage === "emit") continue;
    assert.equal(count, events, `${stage} saw every event of the stretch, and no other`);
    assert.ok(nsPerEvent > 0, stage);
  }
  const sum = profile.stages.reduce((total, { nsPerEvent }) => total + nsPerEvent, 0);
  assert.ok(Math.abs(sum - profile.sumNs) < 1e-6);
  assert.ok(profile.cpuNs > 0);
  if (process.platform === "linux")
    assert.ok(
      profile.threads.some(({ thread }) => thread === "ingest"),
      JSON.stringify(profile.threads),
    );
  assert.deepEqual(readdirSync(dir), []);
});

test("a running node keeps the events, at the rate that was asked for", async (context) => {
  const node = await spawnNode({ config: null }, context);
  const run = await millrace(
    "bench",
    "--url",
    node.url,
    "--seconds",
    "1",
    "--rate",
    "2000",
    "--batch",
    "100",
  );
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stderr, /stream bench of that node/);
  const figures = JSON.parse(run.stdout) as Figures;
  assert.equal(figures.events, 2_000);
  assert.equal(figures.profile, undefined);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const { accepted } = await client.json<{ accepted: number }>("/v1/streams/bench");
  assert.equal(accepted, 4_000, "those of a second of warm-up too");
});

test("what cannot be: no node, no directory, a stream of a node that goes away", async () => {
  const codes = await Promise.all([
    millrace("bench", "--url", "http://127.0.0.1:1", "--seconds", "1"),
    millrace("bench", "--data", "/proc/nothing-here"),
    millrace("bench", "--stream", "machines"),
    millrace("bench", "--seconds", "0"),
    millrace("bench", "--url", "http://127.0.0.1:1", "--data", "/tmp"),
  ]);
  assert.deepEqual(
    codes.map(({ code }) => code),
    [3, 1, 2, 2, 2],
  );
});

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`the node ends with a bench that ${signal} ends`, async (context: TestContext) => {
    const dir = makeTempDir(context);
    const file = join(REPOSITORY_ROOT, "host/cli/bin.js");
    const child = spawn(process.execPath, [file, "bench", "--seconds", "60", "--data", dir], {
      stdio: "ignore",
    });
    const lockOf = (): string => join(dir, readdirSync(dir)[0] ?? "none", "data");
    while (!existsSync(lockOf()) && child.exitCode === null) await sleep(POLL_MS);
    const nodePid = childOf(child.pid ?? 0);
    child.kill(signal);
    await once(child, "exit");
    while (nodePid !== null && isRunning(nodePid)) await sleep(POLL_MS);
    if (signal === "SIGTERM") assert.deepEqual([child.exitCode, readdirSync(dir)], [1, []]);
  });
}

/** From /proc; null where there is none. */
function childOf(pid: number): number | null {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return text === "" ? null : Number(text.split(" ")[0]);
  } catch {
    return null;
  }
}

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
