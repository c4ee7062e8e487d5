import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HttpClient } from "../test/support/http-client.ts";
import { spawnNode } from "../test/support/node-process.ts";
import { type Cleanup, makeTempDir } from "../test/support/temp-dir.ts";
import { type BenchOptions, type BenchReport, describeMachine } from "./report.ts";
import { Child } from "./support/child.ts";
import { withCleanups } from "./support/cleanups.ts";
import { type ClosedLoopRun, FIRST_EVENT_MS, runClosedLoop } from "./support/closed-loop.ts";
import { fleetConfig } from "./support/fleet.ts";
import type { PlainMessage, PlainOptions } from "./support/plain-server.ts";
import { measureStages, type StepTimes } from "./support/stage-rounds.ts";
import { type Baseline, type Measure, type Verdict, verdictsOf } from "./support/verdicts.ts";

/**
 * Has anything become slower? Each stage by what the plain way takes for the same in the same process, and the whole by the
 * plain server's processor time, by turns; then all of them by what they were when `baseline.json` was kept. Machines and
 * their load differ, so a ratio far below says `REGRESSION?`, and only a broken run fails.
 */

const DEFAULT_ROUNDS = 20;
/** In the first no window ends. */
const LEAST_ROUNDS = 2;
const SERVER_ROUNDS = 3;
const DEFAULT_SECONDS = 1.5;
const SERVER_WARMUP_MS = 500;
const EVENTS_PER_BODY = 4_000;
const MS_PER_BODY = 40;
const DEVICES = 10_000;
const WINDOW_MS = 60_000;
const BOUND_MS = 5_000;
const BASELINE = new URL("./baseline.json", import.meta.url);

export function run(options: BenchOptions): Promise<BenchReport> {
  return withCleanups((cleanup) => measure(options, cleanup));
}

async function measure({ seconds, settings }: BenchOptions, cleanup: Cleanup): Promise<BenchReport> {
  const rounds = Number(settings.get("rounds") ?? DEFAULT_ROUNDS);
  if (!(rounds >= LEAST_ROUNDS)) throw new Error(`--rounds takes a number from ${LEAST_ROUNDS} on`);
  const { times, failures: ofStages } = measureStages(rounds);
  const servers = await measureServers((seconds ?? DEFAULT_SECONDS) * 1_000, cleanup);
  const measures = [...stageMeasures(times), ...servers.measures];
  const failures = [...ofStages, ...servers.failures];
  for (const { measure: name, ratio } of measures)
    if (!(ratio > 0)) failures.push(`${name}: ${ratio} is no ratio`);
  const { date, cpu, cores, commit, node } = describeMachine();
  if (settings.has("update")) {
    const ratios = Object.fromEntries(measures.map((each) => [each.measure, Number(each.ratio.toFixed(3))]));
    if (failures.length === 0)
      writeFileSync(
        BASELINE,
        `${JSON.stringify({ date, cpu, cores, node, ratios } satisfies Baseline, null, 2)}\n`,
      );
  }
  const baseline = JSON.parse(readFileSync(BASELINE, "utf8")) as Baseline;
  const verdicts = verdictsOf(measures, baseline);
  const lines = verdicts.map((verdict) =>
    JSON.stringify({ guard: verdict.measure, ...rounded(verdict), commit, date }),
  );
  const record = settings.get("record");
  if (record !== undefined) appendFileSync(record, `${lines.join("\n")}\n`);
  const suspects = verdicts.filter(({ verdict }) => verdict !== "");
  return {
    name: "guard",
    rows: verdicts.map((verdict) => ({ ...verdict })),
    notes: [
      `ratio: how many times as long the plain way takes; baseline of ${baseline.date.slice(0, 10)} on ${baseline.cpu}, ${baseline.cores} cores`,
      "parse to emit: by turns in one process, the time that a fifth of the turns stayed below; node: processor time an event, the node's and the plain server's by turns",
      suspects.length === 0
        ? "nothing is far from its baseline"
        : suspects.map(({ measure: name, verdict }) => `${verdict} ${name}`).join("\n"),
      ...lines,
    ],
    failures,
  };
}

/** What one does without the core: for what it does beside parsing, there is nothing to compare with but parsing. */
function stageMeasures(times: StepTimes): Measure[] {
  const { parse, apply, encode, compress, merge, emitByRow, jsonParse, plainWindows } = times;
  const by = (measure: string, ns: number, plain: string, plainNs: number): Measure => {
    return { measure, ns, plain, "plain ns": plainNs, ratio: plainNs / ns };
  };
  return [
    by("parse", parse, "JSON.parse", jsonParse),
    by("parse, shuffled fields", times.parseShuffled, "JSON.parse", times.jsonParseShuffled),
    by("encode", encode, "JSON.parse", jsonParse),
    by("compress", compress, "JSON.parse", jsonParse),
    by("apply and merge", apply + merge, "a Map", plainWindows),
    by("emit, by row", emitByRow, "a Map", times.plainFireByRow),
    by(
      "parse to merge",
      parse + apply + encode + compress + merge,
      "JSON.parse and a Map",
      jsonParse + plainWindows,
    ),
  ];
}

/** The node and the plain server, one after the other, several times. */
async function measureServers(
  measureMs: number,
  cleanup: Cleanup,
): Promise<{ measures: Measure[]; failures: string[] }> {
  const node = await spawnNode({ config: fleetConfig("1m", "5s") }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  const options: PlainOptions = {
    file: join(makeTempDir(cleanup), "plain.sqlite"),
    windowMs: WINDOW_MS,
    boundMs: BOUND_MS,
  };
  const plain = new Child<PlainMessage>(
    new URL("./support/plain-server.ts", import.meta.url),
    options,
    cleanup,
  );
  const { url: plainUrl } = await plain.next();
  const ours: ClosedLoopRun[] = [];
  const theirs: ClosedLoopRun[] = [];
  let firstEventMs = FIRST_EVENT_MS;
  for (let round = 0; round < SERVER_ROUNDS; round++) {
    const load = {
      connections: 4,
      devices: DEVICES,
      bodies: 32,
      eventsPerBody: EVENTS_PER_BODY,
      warmupMs: SERVER_WARMUP_MS,
      measureMs,
      maxEvents: null,
      firstEventMs,
      msPerBody: MS_PER_BODY,
    };
    const path = "/v1/streams/fleet/events";
    ours.push(await runClosedLoop({ ...load, url: node.url, path }, node.pid, cleanup));
    theirs.push(await runClosedLoop({ ...load, url: plainUrl, path: "/events" }, plain.pid, cleanup));
    firstEventMs = Math.max(...[...ours, ...theirs].map(({ done }) => done.lastEventMs));
  }
  const sum = (runs: readonly ClosedLoopRun[], of: (run: ClosedLoopRun) => number): number =>
    runs.reduce((total, each) => total + of(each), 0);
  const cpuNs = (runs: readonly ClosedLoopRun[]): number =>
    sum(runs, ({ row, done }) => Number(row["server ns/event"]) * done.events) /
    sum(runs, ({ done }) => done.events);
  const wallNs = (runs: readonly ClosedLoopRun[]): number =>
    (sum(runs, ({ done }) => done.elapsedMs) * 1e6) / sum(runs, ({ done }) => done.events);
  const by = (measure: string, of: typeof cpuNs): Measure => {
    const [ns, plainNs] = [of(ours), of(theirs)];
    return { measure, ns, plain: "plain server", "plain ns": plainNs, ratio: plainNs / ns };
  };
  return {
    measures: [by("node, processor time", cpuNs), by("node, by the clock", wallNs)],
    failures: await findLosses(
      client,
      sum(ours, ({ done }) => done.totalEvents),
    ),
  };
}

/** What was acknowledged is counted by the stream and by the windows. */
async function findLosses(client: HttpClient, sent: number): Promise<string[]> {
  const { accepted } = await client.json<{ accepted: number }>("/v1/streams/fleet");
  await client.watermark("fleet", { end: true });
  const late = (await client.late("fleet")).length;
  let inWindows = 0;
  for (const { values } of await client.results("temp")) inWindows += values.n ?? 0;
  if (accepted === sent && inWindows + late === sent) return [];
  return [
    `${sent} events were acknowledged, ${accepted} are counted, ${inWindows} are in windows and ${late} are late`,
  ];
}

function rounded(verdict: Verdict): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(verdict)
      .filter(([name]) => name !== "measure")
      .map(([name, value]) => [name, typeof value === "number" ? Number(value.toPrecision(4)) : value]),
  );
}
