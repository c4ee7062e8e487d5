import assert from "node:assert/strict";
import { test } from "node:test";
import { packLateRows } from "../../workers/store/late-rows.ts";
import { scanBoundaries } from "../support/calendar-oracle.ts";
import {
  EngineOracle,
  type OracleEntry,
  type OracleQuery,
  type OracleStream,
} from "../support/engine-oracle.ts";
import { EngineRun } from "../support/engine-run.ts";
import { Random } from "../support/random.ts";
import { type Span, slidingSpans } from "./panes-model.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 2_000);
const SECOND_US = 1_000_000;
/** Clocks are set forward in Berlin the night after. */
const START_MS = Date.UTC(2026, 2, 28);
const START_US = START_MS * 1_000;
const ZONE = "Europe/Berlin";
const DAYS_MS = 60 * 86_400_000;
const DEVICES = ["a", "b", "c", "a device whose name has more than 32 bytes"];

const AGGREGATES = ["sum", "avg", "min", "max", "range", "first", "last", "variance", "stddev"] as const;

function selectOf(field: string): string {
  return `{ n: count(), nv: count(${field}), ${AGGREGATES.map((fn) => `${fn}: ${fn}(${field})`).join(", ")} }`;
}

const days = scanBoundaries(ZONE, "day", 1, 0, [START_MS - DAYS_MS, START_MS + DAYS_MS], 1_800_000).map(
  ({ timeUs }) => timeUs,
);

function daysOf(timeUs: number): readonly Span[] {
  const next = days.findIndex((startUs) => startUs > timeUs);
  return [{ startUs: days[next - 1]!, endUs: days[next]! }];
}

/** A query as text and as the oracle has it. */
interface Drawn {
  readonly lines: readonly string[];
  readonly query: OracleQuery;
}

interface DrawnWindow {
  readonly text: string;
  readonly window: OracleQuery["window"];
  /** Early results must come more often; null: there are none. */
  readonly shortestUs: number | null;
}

/** Durations are multiples of a unit of so many seconds. */
type Duration = (units: number) => { readonly us: number; readonly text: string };

const KINDS = ["tumbling", "sliding", "calendar", "session", "count", "none"] as const;
/** What blocks of a replay may be merged into together. */
const PLAIN_KINDS = ["tumbling", "sliding"] as const;

function drawWindow(
  random: Random,
  kind: (typeof KINDS)[number],
  isPerKey: boolean,
  time: Duration,
): DrawnWindow {
  switch (kind) {
    case "tumbling": {
      const [size, offset] = [time(random.integer(2, 40)), time(random.integer(0, 5))];
      const text = `{ tumbling: ${size.text}, offset: ${offset.text} }`;
      const window = isPerKey
        ? ({ kind, sizeUs: size.us, offsetUs: offset.us } as const)
        : ({ kind: "spans", windowsOf: slidingSpans(size.us, size.us, offset.us) } as const);
      return { text, window, shortestUs: size.us };
    }
    case "sliding": {
      const every = random.integer(1, 12);
      const [size, step] = [time(every + random.integer(1, 30)), time(every)];
      const text = `{ sliding: ${size.text}, every: ${step.text} }`;
      const window = isPerKey
        ? ({ kind, sizeUs: size.us, everyUs: step.us, offsetUs: 0 } as const)
        : ({ kind: "spans", windowsOf: slidingSpans(size.us, step.us, 0) } as const);
      return { text, window, shortestUs: size.us };
    }
    case "calendar":
      return {
        text: `{ tumbling: 1d, timezone: ${ZONE} }`,
        window: { kind: "spans", windowsOf: daysOf },
        shortestUs: 20 * 3_600 * SECOND_US,
      };
    case "session": {
      const gap = time(random.integer(1, 15));
      return {
        text: `{ session: ${gap.text} }`,
        window: { kind, gapUs: gap.us },
        shortestUs: Number.POSITIVE_INFINITY,
      };
    }
    case "count": {
      const size = random.integer(1, 6);
      return {
        text: `{ count: ${size} }`,
        window: { kind, size },
        shortestUs: Number.POSITIVE_INFINITY,
      };
    }
    case "none":
      return { text: "none", window: { kind }, shortestUs: null };
  }
}

/** What counts of an event, as text and as code. */
const FILTERS: readonly {
  readonly lines: readonly string[];
  readonly field: string;
  readonly read: OracleQuery["read"];
}[] = [
  { lines: [], field: "v", read: ({ v }) => ({ value: v }) },
  { lines: ["where: v > 0"], field: "v", read: ({ v }) => (v !== null && v > 0 ? { value: v } : null) },
  {
    lines: ["derive: { w: v * 2 + 1 }"],
    field: "w",
    read: ({ v }) => ({ value: v === null ? null : v * 2 + 1 }),
  },
  {
    lines: ["where: coalesce(limits.least, 0) <= v"],
    field: "v",
    read: ({ v, device }, least) => (v !== null && (least.get(device) ?? 0) <= v ? { value: v } : null),
  },
];

function drawQuery(
  random: Random,
  name: string,
  per: OracleStream["per"],
  time: Duration,
  isPlain: boolean,
): Drawn {
  const isPerKey = per === "key";
  const kind = random.pick(isPlain ? PLAIN_KINDS : KINDS);
  const { text, window, shortestUs } = drawWindow(random, kind, isPerKey, time);
  const early = time(random.integer(1, 20));
  const isEarly = !isPlain && shortestUs !== null && early.us < shortestUs && random.chance(0.3);
  const lateness = time(random.integer(0, 60));
  const isByDevice = random.chance(0.8);
  // Which of two events of one instant comes first in a window of so many tells their values alone where these are as sent.
  const filter = random.pick(
    window.kind === "count" ? FILTERS.filter(({ field }) => field === "v") : FILTERS,
  );
  const hasHaving = random.chance(0.2);
  const isBelow =
    !isPlain && !isPerKey && window.kind !== "none" && window.kind !== "count" && random.chance(0.3);
  const lines = [
    `  ${name}:`,
    "    from: s",
    `    window: ${text}`,
    `    by: ${isByDevice ? "[device]" : "[]"}`,
    `    lateness: ${lateness.text}`,
    ...filter.lines.map((line) => `    ${line}`),
    ...(isEarly ? [`    early: ${early.text}`] : []),
    ...(hasHaving ? ["    having: n % 2 == 1"] : []),
    `    select: ${selectOf(filter.field)}`,
  ];
  const above = isBelow ? drawAbove(random, name, isByDevice, time) : null;
  const query: OracleQuery = {
    name,
    window,
    latenessUs: lateness.us,
    earlyUs: isEarly ? early.us : null,
    isByDevice,
    read: filter.read,
    hasHaving,
    above: above?.query ?? null,
  };
  return { lines: [...lines, ...(above?.lines ?? [])], query };
}

function drawAbove(random: Random, below: string, isByDevice: boolean, time: Duration): Drawn {
  const kind = random.pick(["tumbling", "sliding", "session"] as const);
  const { text, window } = drawWindow(random, kind, false, time);
  const name = `over_${below}`;
  const lines = [
    `  ${name}:`,
    `    from: ${below}`,
    `    window: ${text}`,
    `    by: ${isByDevice ? "[device]" : "[]"}`,
    "    lateness: 0s",
    `    select: ${selectOf("n")}`,
  ];
  const rest = { latenessUs: 0, earlyUs: null, isByDevice, hasHaving: false, above: null } as const;
  return { lines, query: { name, window, read: ({ v }) => ({ value: v }), ...rest } };
}

interface Scenario {
  readonly yaml: string;
  readonly stream: OracleStream;
  readonly entries: readonly OracleEntry[];
}

function drawScenario(random: Random): Scenario {
  const unitSeconds = random.pick([1, 3_600]);
  const time: Duration = (units) => ({
    us: units * unitSeconds * SECOND_US,
    text: `${units * unitSeconds}s`,
  });
  const isPlain = random.chance(0.3);
  const per = isPlain ? "stream" : random.pick(["stream", "source", "key"] as const);
  const [bound, idle] = [time(random.integer(0, 40)), time(random.integer(5, 60))];
  const maxAhead = time(isPlain ? random.integer(8, 80) : 80);
  const drawn = Array.from({ length: random.integer(1, 4) }, (_, n) =>
    drawQuery(random, `q${n}`, per, time, isPlain),
  );
  const yaml = `
streams:
  s:
    key: device
    time: { field: ts, unit: us }
    fields: { v: float }
    watermark: { bound: ${bound.text}, per: ${per}, idle: ${idle.text}, maxAhead: ${maxAhead.text} }
tables:
  limits: { key: device }
queries:
${drawn.flatMap(({ lines }) => lines).join("\n")}
`;
  const queries = drawn.map(({ query }) => query);
  const stream = { per, boundUs: bound.us, idleUs: idle.us, maxAheadUs: maxAhead.us, queries };
  return { yaml, stream, entries: isPlain ? drawFlow(random, time) : drawEntries(random, time) };
}

function drawEntries(random: Random, time: Duration): readonly OracleEntry[] {
  const entries: OracleEntry[] = [];
  const steps = random.integer(1, 16);
  for (let step = 0; step < steps; step++) {
    const now = step * 12;
    const at = (units: number): number => START_US + time(units).us;
    // Half a second off, so that no event is exactly as far ahead as is allowed.
    const arrivalUs = at(now) + SECOND_US / 2;
    const what = random.next();
    if (what < 0.08) entries.push({ kind: "watermark", timeUs: at(now + random.integer(-100, 60)) });
    else if (what < 0.16) entries.push({ kind: "tick", atUs: arrivalUs, isResume: random.chance(0.3) });
    else if (what < 0.22) {
      const least = new Map(
        DEVICES.filter(() => random.chance(0.5)).map((device) => [device, random.integer(-9, 9)]),
      );
      entries.push({ kind: "table", least });
    } else {
      const events = Array.from({ length: random.integer(1, random.pick([4, 25])) }, () => ({
        device: random.pick(DEVICES),
        ts: at(now + random.integer(-45, 45) + (random.chance(0.03) ? 200 : 0)),
        v: random.chance(0.15)
          ? null
          : random.pick([random.integer(-9, 9), random.integer(-1e9, 1e9) / 1_000]),
      }));
      entries.push({ kind: "block", arrivalUs, events });
    }
  }
  if (random.chance(0.8)) entries.push({ kind: "watermark", timeUs: START_US + time(steps * 12 + 500).us });
  return entries;
}

/** Blocks that come one soon after another, with little but them in between. */
function drawFlow(random: Random, time: Duration): readonly OracleEntry[] {
  const entries: OracleEntry[] = [];
  const steps = random.integer(1, 60);
  const [pace, spread, oddity] = [random.next() * 3, random.integer(0, 12), random.pick([0, 0.02, 0.2])];
  const isOnTime = random.chance(0.5);
  let now = 0;
  for (let step = 0; step < steps; step++) {
    now += Math.round(random.next() * pace);
    const at = (units: number): number => START_US + time(units).us;
    // Half a second off, so that no event is exactly as far ahead as is allowed.
    const arrivalUs = (isOnTime ? at(now) : START_US) + SECOND_US / 2 + step * 1_000;
    const isOdd = random.chance(oddity);
    if (isOdd && random.chance(0.5)) {
      entries.push({ kind: "watermark", timeUs: at(now + random.integer(-30, 10)) });
      continue;
    }
    const events = Array.from({ length: random.integer(1, 6) }, () => ({
      device: random.pick(DEVICES),
      ts: at(now + random.integer(-spread, spread) - (isOdd ? random.integer(0, 60) : 0)),
      v:
        isOdd && random.chance(0.5)
          ? null
          : random.pick([random.integer(-9, 9), random.integer(-1e9, 1e9) / 1_000]),
    }));
    if (isOdd && random.chance(0.3)) events[0]!.ts = arrivalUs + time(100).us;
    entries.push({ kind: "block", arrivalUs, events });
  }
  if (random.chance(0.8)) entries.push({ kind: "watermark", timeUs: START_US + time(now + 500).us });
  return entries;
}

test(`${RUNS} random streams, queries, lanes and crashes: every row and every late event is the oracle's`, async (context) => {
  const given = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${given.seed}`);
  const counts = { rows: 0, late: 0, crashes: 0, merged: 0, skewedOfSessions: 0, skewedBelow: 0 };
  for (let run = 0; run < RUNS; run++) {
    const seed = (given.seed + run) >>> 0;
    const random = new Random(seed);
    const { yaml, stream, entries } = drawScenario(random);
    const oracle = new EngineOracle(stream);
    const late = new Map<number, string>();
    const found = new EngineRun(yaml, random);
    for (const entry of entries) {
      const isLate = oracle.apply(entry);
      const seq = found.add(entry);
      if (isLate.includes(true))
        late.set(seq, Buffer.from(packLateRows(Uint8Array.from(isLate, Number))).toString("hex"));
      if (random.chance(0.12)) await found.crash();
    }
    found.settle();
    found.close();
    const message = `MILLRACE_SEED=${seed} MILLRACE_RUNS=1\n${yaml}`;
    assert.deepEqual(differences(found.rows, oracle.rows), [], message);
    assert.deepEqual(differences(found.late, late), [], message);
    counts.rows += oracle.rows.size;
    counts.late += oracle.lateEvents;
    counts.skewedOfSessions += oracle.skewedEvents.ofSessions;
    counts.skewedBelow += oracle.skewedEvents.below;
    counts.crashes += found.crashes;
    counts.merged += found.merged;
  }
  context.diagnostic(JSON.stringify(counts));
  const { skewedOfSessions, skewedBelow, ...others } = counts;
  assert.ok(RUNS < 100 || Math.min(...Object.values(others)) > RUNS / 2);
  assert.ok(RUNS < 100 || Math.min(skewedOfSessions, skewedBelow) > RUNS / 10);
});

/** The first few. */
function differences<K>(found: ReadonlyMap<K, string>, expected: ReadonlyMap<K, string>): unknown[] {
  return [...new Set([...found.keys(), ...expected.keys()])]
    .filter((id) => found.get(id) !== expected.get(id))
    .slice(0, 5)
    .map((id) => ({ id, found: found.get(id), expected: expected.get(id) }));
}
