import assert from "node:assert/strict";
import { test } from "node:test";
import type { ResultRow } from "../../workers/messages.ts";
import { type CalendarUnit, scanBoundaries } from "../support/calendar-oracle.ts";
import { computeSessions, type OracleEvent } from "../support/oracle.ts";
import { Random } from "../support/random.ts";
import { StoredNode } from "../support/stored-node.ts";
import { makeTempDir } from "../support/temp-dir.ts";
import type { Span } from "./panes-model.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 25);
const HOUR_MS = 3_600_000;
const HOUR_US = HOUR_MS * 1_000;
const SELECT = "select: { n: count(), total: sum(v) }";
const GAP_HOURS = 5;

/** Zones, and when their clocks were set forward and back. */
const PLACES = [
  ["Europe/Berlin", "2026-03-29T01:00Z"],
  ["Europe/Berlin", "2026-10-25T01:00Z"],
  ["America/Havana", "2026-11-01T05:00Z"],
  ["Australia/Lord_Howe", "2026-04-04T15:00Z"],
] as const;

/** By query: its window, and the slices it is made of. */
const WINDOWS: Readonly<Record<string, { text: string; unit: CalendarUnit; slices: number }>> = {
  days: { text: "tumbling: 1d", unit: "day", slices: 1 },
  three: { text: "sliding: 3d, every: 1d", unit: "day", slices: 3 },
  parts: { text: "tumbling: 6h", unit: { partMs: 6 * HOUR_MS }, slices: 1 },
  weeks: { text: "tumbling: 1w", unit: "week", slices: 1 },
  months: { text: "tumbling: 1mo", unit: "month", slices: 1 },
};

function configOf(zone: string, per: string): string {
  const queries = Object.entries(WINDOWS).map(
    ([name, { text }]) =>
      `  ${name}: { from: s, window: { ${text}, timezone: ${zone} }, by: [device], early: 2h, ${SELECT} }`,
  );
  return `
streams:
  s:
    key: device
    time: { field: ts, unit: us }
    watermark: { bound: 0s, per: ${per}, idle: 3650d, maxAhead: 36500d }
    lateness: 0s
queries:
${queries.join("\n")}
  sessions: { from: s, window: { session: ${GAP_HOURS}h }, by: [device], early: 1h, ${SELECT} }
`;
}

function spansOf(zone: string, unit: CalendarUnit, slices: number, aboutMs: number): Span[] {
  const range = [aboutMs - 70 * 24 * HOUR_MS, aboutMs + 70 * 24 * HOUR_MS] as const;
  const starts = scanBoundaries(zone, unit, 1, 0, range, HOUR_MS / 2).map(({ timeUs }) => timeUs);
  return starts.slice(0, -slices).map((startUs, n) => ({ startUs, endUs: starts[n + slices]! }));
}

function expectedOf(spans: readonly Span[], events: readonly OracleEvent[]): Map<string, unknown> {
  const found = new Map<string, { n: number; total: number }>();
  for (const { key, timeUs, value } of events) {
    for (const { startUs, endUs } of spans) {
      if (timeUs < startUs || timeUs >= endUs) continue;
      const id = `${startUs} ${endUs} ${key}`;
      const { n, total } = found.get(id) ?? { n: 0, total: 0 };
      found.set(id, { n: n + 1, total: total + value! });
    }
  }
  return found;
}

function foundOf(rows: readonly ResultRow[]): Map<string, unknown> {
  return new Map(
    rows.map(({ startUs, endUs, key, values }) => {
      const { device } = JSON.parse(key) as { device: string };
      return [`${startUs} ${endUs} ${device}`, JSON.parse(values)];
    }),
  );
}

test(`${RUNS} streams through changes of clocks: once late events are applied, days, weeks and months have all of theirs`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  let revisions = 0;
  for (let run = 0; run < RUNS; run++) {
    const [zone, at] = random.pick(PLACES);
    const aboutMs = Date.parse(at);
    const per = random.pick(["stream", "source", "key"] as const);
    const node = new StoredNode(makeTempDir(context), configOf(zone, per));
    let nowUs = (aboutMs - random.integer(0, 30 * 24) * HOUR_MS) * 1_000;
    const events: OracleEvent[] = [];
    for (let block = random.integer(2, 10); block > 0; block--) {
      const sent = Array.from({ length: random.integer(1, 9) }, () => {
        nowUs += random.integer(0, 9) * HOUR_US;
        const agoUs = random.chance(0.4) ? random.integer(0, 60) * HOUR_US : 0;
        return { device: `d${random.integer(0, 2)}`, ts: nowUs - agoUs, v: random.integer(-50, 50) };
      });
      node.send(sent, nowUs);
      events.push(...sent.map(({ device, ts, v }) => ({ key: device, timeUs: ts, value: v })));
      if (random.chance(0.3)) revisions += (await node.applyLate(false, () => random.chance(0.7))).revisions;
    }
    if (per === "key") node.watermark(nowUs + 100 * 24 * HOUR_US);
    else node.watermark("end");
    const before = foundOf(node.results("three"));
    revisions += (await node.applyLate()).revisions;
    const message = `run ${run}, ${zone}, per ${per}`;
    assert.ok(
      node.late().every(({ isApplied }) => isApplied),
      message,
    );
    for (const [query, { unit, slices }] of Object.entries(WINDOWS)) {
      const found = foundOf(node.results(query));
      const expected = expectedOf(spansOf(zone, unit, slices, aboutMs), events);
      for (const [id, values] of found) {
        // An event that was too late for some of its windows only counts in the others.
        const isCorrected = slices === 1 || JSON.stringify(before.get(id)) !== JSON.stringify(values);
        if (isCorrected) assert.deepEqual(values, expected.get(id), `${query} ${id}, ${message}`);
      }
      if (slices === 1)
        assert.deepEqual([...found.keys()].sort(), [...expected.keys()].sort(), `${query}, ${message}`);
    }
    checkSessions(node.results("sessions"), events, message);
    node.close();
  }
  assert.ok(revisions > RUNS, `${revisions} revisions`);
});

/**
 * Every event is in one session. One that came when a session on its one side was closed and another on its other side was
 * open is in that one alone, and not late: so a session may be a piece of what it would have been with all in time.
 */
function checkSessions(rows: readonly ResultRow[], events: readonly OracleEvent[], message: string): void {
  const whole = computeSessions(events, GAP_HOURS * HOUR_US);
  let counted = 0;
  for (const { startUs, endUs, key, values } of rows) {
    const { device } = JSON.parse(key) as { device: string };
    const { n, total } = JSON.parse(values) as { n: number; total: number };
    const around = whole.find(
      (session) => session.key === device && session.startUs <= startUs && session.endUs >= endUs,
    );
    assert.ok(around !== undefined, `${startUs} ${endUs} ${key} is in no session, ${message}`);
    if (around.startUs === startUs && around.endUs === endUs && around.events === n)
      assert.equal(total, around.sum);
    else assert.ok(n < around.events, message);
    counted += n;
  }
  assert.equal(counted, events.length, message);
}
