import { Random } from "../test/support/random.ts";
import { type CoreModule, instantiateCore } from "../workers/core/module.ts";
import { createParser } from "../workers/core/parse.ts";
import type { StreamPlan } from "../workers/messages.ts";
import type { BenchOptions, BenchReport } from "./report.ts";

const EVENTS = 100_000;
const DEVICES = 10_000;
/** Events of one body, and of one batch. */
const EVENTS_PER_BODY = 4_000;
const DEFAULT_SECONDS = 2;
const ARRIVAL_US = 1_700_000_600_000_000;

const PLAN: StreamPlan = {
  stream: "bench",
  key: ["device", "id"],
  isKeyDeclared: false,
  time: { fields: ["ts", "timestamp", "time"], isDeclared: false, unit: "auto" },
  fields: null,
  extra: "keep",
  maxAheadUs: 300_000_000,
};

type Member = readonly [name: string, json: string];

interface Workload {
  readonly name: string;
  readonly bodies: readonly Uint8Array[];
  readonly lines: readonly string[];
}

function membersOf(random: Random): Member[] {
  const tsMs = 1_700_000_000_000 + random.integer(0, 599_999);
  return [
    ["device", `"m${String(random.integer(0, DEVICES - 1)).padStart(5, "0")}"`],
    ["ts", String(tsMs)],
    ["temp", (20 + random.next() * 79).toFixed(2)],
    ["rpm", String(random.integer(1_000, 1_999))],
    ["on", String(random.chance(0.5))],
  ];
}

function shuffle(members: Member[], random: Random): Member[] {
  for (let i = members.length - 1; i > 0; i--) {
    const j = random.integer(0, i);
    [members[i], members[j]] = [members[j]!, members[i]!];
  }
  return members;
}

function makeWorkload(name: string, format: (members: Member[], random: Random) => string): Workload {
  const random = new Random(7);
  const lines = Array.from({ length: EVENTS }, () => format(membersOf(random), random));
  const bodies: Uint8Array[] = [];
  for (let at = 0; at < lines.length; at += EVENTS_PER_BODY) {
    bodies.push(Buffer.from(`${lines.slice(at, at + EVENTS_PER_BODY).join("\n")}\n`));
  }
  return { name, bodies, lines };
}

function toJson(members: readonly Member[]): string {
  return `{${members.map(([name, json]) => `"${name}":${json}`).join(",")}}`;
}

function toSpacedJson(members: readonly Member[]): string {
  return `{${members.map(([name, json]) => `"${name}": ${json}`).join(", ")}}`;
}

function toNestedJson([device, ts, temp, rpm, on]: readonly Member[]): string {
  return `{${[device, ts].map((member) => `"${member![0]}":${member![1]}`).join(",")},"motor":${toJson([temp!, rpm!, on!])}}`;
}

function withIsoTime(members: readonly Member[]): Member[] {
  return members.map(([name, json]) =>
    name === "ts" ? [name, `"${new Date(Number(json)).toISOString()}"`] : [name, json],
  );
}

/**
 * Runs the passes in turn, each over all events, for about `seconds` each; gives the best rate of each by CPU time, for the machine may
 * be shared.
 */
function measure(seconds: number, passes: readonly (() => number)[]): number[] {
  for (const pass of passes) {
    pass();
    pass();
  }
  const best = passes.map(() => 0);
  const end = performance.now() + seconds * 1_000 * passes.length;
  do {
    passes.forEach((pass, index) => {
      const started = process.cpuUsage();
      const events = pass();
      const { user, system } = process.cpuUsage(started);
      best[index] = Math.max(best[index]!, (events / Math.max(user + system, 1)) * 1e6);
    });
  } while (performance.now() < end);
  return best;
}

/** The rate of each build of the core. */
function parseWithCores(
  cores: readonly CoreModule[],
  { bodies, lines }: Workload,
  seconds: number,
): number[] {
  const parsers = cores.map((core) => createParser(core, PLAN));
  const passes = parsers.map((parser) => () => {
    let accepted = 0;
    for (const body of bodies) {
      parser.begin(ARRIVAL_US);
      accepted += parser.parse("ndjson", body).accepted;
      parser.finish();
    }
    if (accepted !== lines.length) throw new Error(`${accepted} of ${lines.length} events were accepted`);
    return accepted;
  });
  const rates = measure(seconds, passes);
  for (const parser of parsers) parser.dispose();
  return rates;
}

/** The plain way: split the text into lines, `JSON.parse` each. */
function parseWithJson({ bodies }: Workload, seconds: number): number {
  const decoder = new TextDecoder();
  const pass = (): number => {
    let events = 0;
    for (const body of bodies) {
      for (const line of decoder.decode(body).split("\n")) {
        if (line !== "" && typeof JSON.parse(line) === "object") events++;
      }
    }
    return events;
  };
  return measure(seconds, [pass])[0]!;
}

/**
 * How fast events become columns, against `JSON.parse` of each line in the same run. `--against FILE` names another build of the
 * core, which is run in turn with this one.
 */
export async function run(options?: BenchOptions): Promise<BenchReport> {
  const seconds = options?.seconds ?? DEFAULT_SECONDS;
  const against = options?.settings.get("against");
  const cores = [instantiateCore(), ...(against === undefined ? [] : [instantiateCore(against)])];
  const workloads = [
    makeWorkload("fixed field order", toJson),
    makeWorkload("shuffled field order", (members, random) => toJson(shuffle(members, random))),
    makeWorkload("shuffled, with spaces", (members, random) => toSpacedJson(shuffle(members, random))),
    makeWorkload("ISO 8601 times", (members) => toJson(withIsoTime(members))),
    makeWorkload("ISO 8601 times, shuffled", (members, random) =>
      toJson(shuffle(withIsoTime(members), random)),
    ),
    makeWorkload("nested object", toNestedJson),
  ];
  const rows = workloads.map((workload) => {
    const bytes = workload.bodies.reduce((sum, body) => sum + body.length, 0);
    const json = parseWithJson(workload, seconds);
    const [core_ = 0, other] = parseWithCores(cores, workload, seconds);
    return {
      workload: workload.name,
      "bytes/event": bytes / EVENTS,
      "events/s": Math.round(core_),
      "MB/s": (core_ * bytes) / EVENTS / 1e6,
      "JSON.parse events/s": Math.round(json),
      "times as fast": core_ / json,
      ...(other !== undefined && { "other build, events/s": Math.round(other) }),
    };
  });
  return {
    name: "parse",
    rows,
    notes: [
      `One thread; ${EVENTS.toLocaleString("en-US")} events of ${DEVICES.toLocaleString("en-US")} devices in bodies of ${EVENTS_PER_BODY.toLocaleString("en-US")}, from bytes to finished columns; the best of the passes in ${seconds} s, by CPU time.`,
      "JSON.parse: the same bodies decoded, split into lines and parsed, the objects thrown away.",
    ],
  };
}
